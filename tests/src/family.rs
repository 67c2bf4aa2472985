//! Who descends from a process, the helpers that the library starts for itself included.

use std::fs;
use std::io::Write;
use std::os::unix::process::parent_id;

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::wait::waitpid;
use offspring::{Builder, Child, Process, Result, StartMethod};

use crate::children_of;

/// Makes this process the one that orphans among its descendants are given to.
///
/// So [`await_descendants`] hears of all of them, grandchildren and fork servers included.
pub fn adopt_orphans() {
    prctl::set_child_subreaper(true).unwrap();
}

/// Starts the root of a tree: a child that shares nothing with its siblings, and without a fork
/// server in this process.
pub fn root<P: Process>(process: P) -> Result<Child<P::Output>> {
    Builder::new().start_method(StartMethod::Spawn).spawn(process)
}

/// Reaps every child and every orphan until none is left.
///
/// It hangs, and the watchdog barks, if one of them lives on.
pub fn await_descendants() {
    loop {
        match waitpid(None, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return,
            Err(other) => panic!("waitpid: {other}"),
        }
    }
}

/// Goes on when `condition` holds; for what no descriptor tells. The watchdog bounds it.
pub fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

/// A word of `/proc/PID/stat`, counted as in `proc_pid_stat(5)`, from the third on.
fn stat_field(pid: u32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3).map(Into::into)
}

/// The state of a process as one letter: `T` is stopped, `Z` a zombie. `None` if there is none.
pub fn state_of(pid: u32) -> Option<char> {
    stat_field(pid, 3)?.chars().next()
}

/// Whether the thread of this process that has this name is asleep until an event comes: it has nothing to
/// do, and holds no lock.
pub fn awaits_events(name: &str) -> bool {
    #[cfg(target_arch = "x86_64")]
    const WAITS: [i64; 2] = [libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
    #[cfg(not(target_arch = "x86_64"))]
    const WAITS: [i64; 1] = [libc::SYS_epoll_pwait];
    let read = |thread: &fs::DirEntry, what| fs::read_to_string(thread.path().join(what));
    let mut threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap());
    let thread = threads.find(|thread| read(thread, "comm").is_ok_and(|comm| comm.trim() == name));
    let call = read(&thread.expect("a thread of this name"), "syscall").unwrap();
    // "running" where it is in none.
    let call = call.split_whitespace().next().and_then(|number| number.parse().ok());
    call.is_some_and(|call| WAITS.contains(&call))
}

/// What the library keeps beside the processes that a program has started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Helpers {
    /// Fork servers.
    pub servers: Vec<u32>,
    /// Children that a fork server has made ahead.
    pub spares: Vec<u32>,
}

/// Those of this process.
pub fn helpers() -> Helpers {
    // A copy that has not executed anything since it was cloned: PF_FORKNOEXEC.
    const COPY: u64 = 0x40;
    let mut helpers = Helpers::default();
    for pid in children_of(std::process::id()) {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let flags = stat_field(pid, 9).and_then(|flags| flags.parse::<u64>().ok());
        match flags {
            Some(flags) if name.trim() == "offspring-fork" && state_of(pid) != Some('Z') => {
                let list =
                    if flags & COPY == 0 { &mut helpers.servers } else { &mut helpers.spares };
                list.push(pid);
            }
            _ => {}
        }
    }
    helpers
}

/// The one fork server of this process, and a child that it has made ahead, the first of one or two.
///
/// They are made while the program goes on, so this may take a moment.
pub fn server_and_spare() -> (u32, u32) {
    loop {
        if let Helpers { servers, spares } = helpers()
            && let ([server], [spare] | [spare, _]) = (&servers[..], &spares[..])
        {
            return (*server, *spare);
        }
        std::thread::yield_now();
    }
}

/// Children that have ended and that nobody has reaped.
pub fn zombies() -> Vec<u32> {
    let own = children_of(std::process::id());
    own.into_iter().filter(|&pid| state_of(pid) == Some('Z')).collect()
}

/// Says what was not tested, so that nobody overlooks it: on the standard error of the process above this
/// one, since what a test prints itself is not shown if it passes.
pub fn not_tested(what: &str, why: impl std::fmt::Display) {
    let text = format!("\n!!! NOT TESTED: {what}: {why} !!!\n\n");
    let above = fs::OpenOptions::new().append(true).open(format!("/proc/{}/fd/2", parent_id()));
    if above.and_then(|mut above| above.write_all(text.as_bytes())).is_err() {
        eprint!("{text}");
    }
}
