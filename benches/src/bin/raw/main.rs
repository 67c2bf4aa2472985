//! The bare mechanisms, with no library around them. What is above these figures is what a library
//! costs, or saves.
//!
//! - here: `fork` and `posix_spawn`
//! - [`pipes`]: packet sockets and pipes
//! - [`queues`]: queues made of a pipe, and of [`rings`] in shared memory
//! - [`pools`]: what a pool is at the least
//! - [`locks`]: the locks of glibc, and what processes do with [`futex`]es
//! - [`shared`]: memory that forks share, and memory that is handed over
//! - [`segments`]: making, handing over and mapping the latter

mod futex;
mod locks;
mod pipes;
mod pools;
mod pthread;
mod queues;
mod rings;
mod segments;
mod shared;

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use benches::{Round, measure, memory};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("end") => return,
        Some("idle") => return wait_for_end(),
        _ => {}
    }
    let round = Round::from_args();
    match (round.work.as_str(), round.variant.as_str()) {
        ("I", "fork") => idle_fork(),
        ("I", _) => idle_exec(),
        ("E1", "pipe") => pipes::round_trips_pipe(&round),
        ("E1", _) => pipes::round_trips_socket(&round),
        (work, "pipe") if work.starts_with('E') => pipes::one_way_pipe(&round),
        (work, _) if work.starts_with('E') => pipes::one_way_socket(&round),
        (work, _) if work.starts_with(['C', 'D']) => pools::run(&round),
        (work, _) if work.starts_with('F') => queues::run(&round),
        (work, _) if work.starts_with(['G', 'S']) => locks::run(&round),
        (work, _) if work.starts_with(['M', 'H']) => segments::run(&round),
        (_, "fork") => measure::starts(&round, || forked(|| ()), wait),
        _ => {
            let start = || this_program("end").spawn().unwrap();
            measure::starts(&round, start, |mut child| assert!(child.wait().unwrap().success()));
        }
    }
}

/// A child that does `work` and ends.
fn forked(work: impl FnOnce()) -> Pid {
    // SAFETY: this program never has a second thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            work();
            // SAFETY: it ends the process, whatever state that is in.
            unsafe { nix::libc::_exit(0) }
        }
    }
}

/// Such a child, for what waits in shared memory: it ends with its parent.
fn helper(work: impl FnOnce()) -> Pid {
    forked(move || {
        prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
        work();
    })
}

/// Waits for a child to end.
///
/// # Panics
/// If it failed.
fn wait(child: Pid) {
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
}

/// This program once more. `std` uses `posix_spawn` for it.
fn this_program(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(role);
    command
}

fn wait_for_end() {
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn idle_exec() {
    let mut command = this_program("idle");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    memory::figures(child.id());
    drop(child.stdin.take());
    child.wait().unwrap();
}

fn idle_fork() {
    let (mut ready, mut ready_there) = io::pipe().unwrap();
    let (mut end_there, end) = io::pipe().unwrap();
    // Its own copy of our end would keep the stream from ending.
    let number = end.as_raw_fd();
    let child = forked(|| {
        // SAFETY: the copy of `end` in this process is never used.
        unsafe { nix::libc::close(number) };
        ready_there.write_all(&[1]).unwrap();
        let _ = end_there.read(&mut [0]);
    });
    ready.read_exact(&mut [0]).unwrap();
    memory::figures(child.as_raw().cast_unsigned());
    drop(end);
    wait(child);
}
