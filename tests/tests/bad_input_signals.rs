//! Signals at the wrong moment: just after a start, and to the whole group before one.

use std::os::unix::process::ExitStatusExt;
use std::thread;

use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::unistd::{Pid, setpgid};
use offspring::process;
use tests::each_start_method;
use tests::family::{helpers, server_and_spare, until, zombies};

#[process]
fn sleep() {
    loop {
        thread::park();
    }
}

#[process]
fn square(x: u64) -> u64 {
    x * x
}

const STARTS: usize = 1000;

each_start_method! {
    fn terminate_right_after_the_start_always_ends_the_child() {
        for _ in 0..STARTS {
            let child = sleep().spawn()?;
            child.terminate()?;
            assert_eq!(child.wait()?.signal(), Some(libc::SIGTERM));
        }
        assert_eq!(zombies(), [0u32; 0]);
    }

    fn other_signals_right_after_the_start_end_the_child_as_well() {
        let signals = [Signal::SIGINT, Signal::SIGHUP, Signal::SIGKILL, Signal::SIGUSR1];
        for n in 0..STARTS {
            let signal = signals[n % signals.len()] as i32;
            let child = sleep().spawn()?;
            child.send_signal(signal)?;
            assert_eq!(child.wait()?.signal(), Some(signal));
        }
    }

    fn a_signal_to_a_child_that_has_ended_harms_nobody() {
        for x in 0..200 {
            let child = square(x).spawn()?;
            child.wait()?;
            child.terminate()?;
            child.kill()?;
            assert_eq!(square(x).spawn()?.join()?, x * x);
        }
    }
}

const SENT_TO_GROUPS: [Signal; 4] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

fn dispose(handler: SigHandler) {
    for number in SENT_TO_GROUPS {
        // SAFETY: neither ignoring a signal nor its default runs any code.
        unsafe { signal(number, handler) }.unwrap();
    }
}

/// Whether a process has yet to see what was sent to it.
fn has_pending_signals(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let sets = status.lines().filter_map(|line| line.split_once("Pnd:"));
    sets.into_iter().any(|(_, set)| set.trim().bytes().any(|digit| digit != b'0'))
}

fn send_to_group() {
    for signal in SENT_TO_GROUPS {
        kill(Pid::from_raw(0), signal).unwrap();
    }
}

each_start_method! {
    /// As Ctrl-C in a terminal sends it.
    fn a_signal_to_the_group_does_not_reach_a_child_started_after_it() {
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?; // the harness is not to be hit
        assert_eq!(square(3).spawn()?.join()?, 9);
        dispose(SigHandler::SigIgn);
        for x in 0..100 {
            send_to_group();
            assert_eq!(square(x).spawn()?.join()?, x * x);
        }
        dispose(SigHandler::SigDfl);
        assert_eq!(square(3).spawn()?.join()?, 9);
        assert_eq!(zombies(), [0u32; 0]);
    }

    only [forkserver ForkServer]
    fn a_signal_to_the_group_spares_the_server_and_its_children_made_ahead() {
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        assert_eq!(square(3).spawn()?.join()?, 9);
        let before = server_and_spare();
        dispose(SigHandler::SigIgn);
        for _ in 0..100 {
            send_to_group();
        }
        until(|| !has_pending_signals(before.1));
        dispose(SigHandler::SigDfl);
        // It was made ahead before the signals came, and is none the worse for them.
        let child = sleep().spawn()?;
        assert_eq!(child.pid(), before.1);
        assert_eq!(helpers().servers, [before.0]);
        assert!(child.is_alive());
        child.interrupt()?;
        assert_eq!(child.wait()?.signal(), Some(libc::SIGINT));
    }

    // A fork has what its parent has, blocked signals included.
    only [forkserver ForkServer, spawn Spawn]
    fn a_child_hears_the_signals_that_its_parent_has_blocked() {
        let blocked: SigSet = SENT_TO_GROUPS.into_iter().collect();
        blocked.thread_block()?; // before there is a fork server
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let child = sleep().spawn()?;
            child.send_signal(signal as i32)?;
            assert_eq!(child.wait()?.signal(), Some(signal as i32));
        }
    }
}
