//! Running one peer for one work, and reading what it says.

use std::collections::HashMap;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::group;
use crate::peers::{Peer, Program};
use crate::works::Work;

/// After so long a peer is taken to hang.
const LIMIT: Duration = Duration::from_secs(120);

/// What a peer measured: name and value.
pub(crate) type Figures = HashMap<String, f64>;

/// Runs `peer` once. The reason why it failed, if it did.
pub(crate) fn run(peer: &Peer, work: &Work, count: usize) -> Result<Figures, String> {
    let mut command = match peer.program {
        Program::Binary(path) => Command::new(path),
        Program::Python => {
            let mut python = Command::new("python3");
            python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peers.py"));
            python
        }
    };
    let (name, pinned) = match work.name.strip_suffix('p') {
        Some(name) => (name, true),
        None => (work.name, false),
    };
    command.args([name, peer.variant, &count.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let spawn = if pinned { spawn_pinned } else { Command::spawn };
    let (mut child, group) =
        group::start(&mut command, spawn).map_err(|error| error.to_string())?;
    let cleanup = thread::spawn(move || end_what_is_left_of(group));
    let read = read_in_time(&mut child, group);
    let _ = cleanup.join();
    group::forget();
    let status = child.wait().map_err(|error| error.to_string())?;
    let (output, errors) = read?;
    if !status.success() {
        let mut lines: Vec<_> = errors.lines().filter(|line| !line.trim().is_empty()).collect();
        match peer.program {
            Program::Binary(_) => lines.truncate(4),
            // After a traceback.
            Program::Python => _ = lines.drain(..lines.len().saturating_sub(1)),
        }
        return Err(format!("{status}: {}", lines.join(" / ")));
    }
    Ok(output.lines().filter_map(parse).collect())
}

/// Spawns on one core: a process inherits where the thread that starts it may run.
fn spawn_pinned(command: &mut Command) -> io::Result<Child> {
    let this_thread = Pid::from_raw(0);
    let everywhere = sched_getaffinity(this_thread)?;
    let mut first = CpuSet::new();
    let cpus = (0..CpuSet::count()).filter(|&cpu| everywhere.is_set(cpu).unwrap_or(false));
    cpus.take(1).try_for_each(|cpu| first.set(cpu))?;
    sched_setaffinity(this_thread, &first)?;
    let child = command.spawn();
    sched_setaffinity(this_thread, &everywhere)?;
    child
}

/// `name value unit`
fn parse(line: &str) -> Option<(String, f64)> {
    let mut words = line.split(' ');
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

/// Once a group's leader has ended: what it has started and left would hold its output, and wait
/// for ever for what it does no more.
fn end_what_is_left_of(group: Pid) {
    let leader_stays_to_be_waited_for = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    let _ = waitid(Id::Pid(group), leader_stays_to_be_waited_for);
    let _ = killpg(group, Signal::SIGKILL);
}

/// All that the child writes, unless it hangs: then it is killed, with its group.
fn read_in_time(child: &mut Child, group: Pid) -> Result<(String, String), String> {
    let (tx, rx) = mpsc::channel();
    let read = |mut stream: Box<dyn Read + Send>, which: usize| {
        let tx = tx.clone();
        thread::spawn(move || {
            let mut text = String::new();
            let result = stream.read_to_string(&mut text);
            let _ = tx.send((which, result.map(|_| text)));
        });
    };
    if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
        read(Box::new(stdout), 0);
        read(Box::new(stderr), 1);
    }
    let mut texts = [String::new(), String::new()];
    for _ in 0..2 {
        match rx.recv_timeout(LIMIT) {
            Ok((which, text)) => texts[which] = text.map_err(|error| error.to_string())?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let _ = killpg(group, Signal::SIGKILL);
                return Err(format!("no end after {} s", LIMIT.as_secs()));
            }
        }
    }
    let [output, errors] = texts;
    Ok((output, errors))
}
