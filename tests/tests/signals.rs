//! Signals sent to a child and signals that come meanwhile: Python's `test_terminate` and its
//! like, `_TestPollEintr` and `TestIgnoreEINTR`.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use std::{fs, thread};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::Pid;
use offspring::{
    Builder, ChildHandle, Duplex, Fd, JoinError, Receiver, Sender, active_children,
    pipe::TrySendError, process,
};
use tests::each_start_method;

/// Lives until the case lets go of it, or fails.
#[process]
fn parked(until: Receiver<()>) {
    let _ = until.recv();
}

/// As Python's `_kill_process`: ends a child that lives, and says how it ended.
fn end(by: impl FnOnce(&ChildHandle) -> offspring::Result<()>) -> offspring::Result<ExitStatus> {
    let (_hold, until) = offspring::pipe()?;
    let child = Builder::new().daemon(true).spawn(parked(until))?;
    let listed = || active_children().iter().any(|other| other.pid() == child.pid());
    assert!(child.is_alive() && listed());
    assert_eq!(child.wait_timeout(Duration::ZERO)?, None);
    assert!(child.is_alive());

    by(&child)?;
    let status = child.wait()?;
    assert!(!child.is_alive() && !listed());
    assert_eq!(child.wait_timeout(Duration::ZERO)?, Some(status));
    match child.join() {
        Err(JoinError::Exited(exit)) => assert_eq!(exit.status(), status),
        other => panic!("{other:?}"),
    }
    Ok(status)
}

each_start_method! {
    /// `test_terminate`
    fn test_terminate_ends_with_signal_15() {
        assert_eq!(end(ChildHandle::terminate)?.signal(), Some(15));
    }

    /// `test_kill`
    fn test_kill_ends_with_signal_9() {
        assert_eq!(end(ChildHandle::kill)?.signal(), Some(9));
    }

    /// `test_interrupt_no_handler`
    fn test_interrupt_no_handler_ends_with_signal_2() {
        assert_eq!(end(ChildHandle::interrupt)?.signal(), Some(2));
    }

    /// `test_terminate`, with other signals.
    fn test_terminate_by_any_signal() {
        for number in [libc::SIGUSR1, libc::SIGHUP, libc::SIGABRT, libc::SIGRTMIN() + 1] {
            assert_eq!(end(|child| child.send_signal(number))?.signal(), Some(number));
        }
    }

    /// `test_terminate`, with a number that is none.
    fn test_terminate_by_no_signal_is_refused() {
        let (hold, until) = offspring::pipe()?;
        let child = parked(until).spawn()?;
        let error = child.send_signal(-1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error}");
        drop(hold);
        child.join()?;
    }

    /// `test_terminate`
    fn test_terminate_of_one_that_has_ended_is_no_error() {
        let (hold, until) = offspring::pipe()?;
        let child = parked(until).spawn()?;
        drop(hold);
        offspring::wait(&[&child])?; // ended, not yet reaped
        child.terminate()?;
        assert_eq!(child.wait()?.code(), Some(0));
        child.terminate()?;
        child.interrupt()?;
        child.kill()?;
        child.join()?;
    }
}

/// Where the handler writes a byte for each signal.
static ACKNOWLEDGE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn acknowledge(_: libc::c_int) {
    let errno = nix::errno::Errno::last_raw();
    // SAFETY: `handle` put the number of an open pipe there, which nobody closes.
    let pipe = unsafe { BorrowedFd::borrow_raw(ACKNOWLEDGE.load(Ordering::Relaxed)) };
    let _ = nix::unistd::write(pipe, &[1]);
    nix::errno::Errno::set_raw(errno);
}

/// Has `signal` handled, so that it interrupts what this process waits in.
fn handle(signal: Signal, acknowledgements: PipeWriter) {
    ACKNOWLEDGE.store(acknowledgements.into_raw_fd(), Ordering::Relaxed);
    let handler = SigHandler::Handler(acknowledge);
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing but what is allowed in one.
    unsafe { sigaction(signal, &action) }.unwrap();
}

#[process]
fn outlast_signals(by: Fd<PipeWriter>, pipe: Duplex<String, String>) -> String {
    handle(Signal::SIGINT, by.into_inner());
    pipe.send("ready".into()).unwrap();
    pipe.recv().unwrap()
}

each_start_method! {
    /// `test_interrupt`: with a handler, it is the handler that says.
    fn test_interrupt_with_a_handler_runs_it() {
        let (mut acknowledged, by) = io::pipe()?;
        let (here, there) = offspring::duplex()?;
        let child = outlast_signals(by.into(), there).spawn()?;
        here.recv()?;
        for _ in 0..3 {
            child.interrupt()?;
            acknowledged.read_exact(&mut [0])?;
        }
        here.send("done".into())?;
        assert_eq!(child.join()?, "done");
    }
}

/// Sends a signal again and again, each when the last was handled and the process waits in
/// something: a handler interrupts nothing else.
fn signal_repeatedly(pid: u32, rounds: usize, mut acknowledged: impl Read) {
    let stat = format!("/proc/{pid}/stat");
    let is_waiting = || {
        let stat = fs::read_to_string(&stat).unwrap();
        assert!(!stat.contains(") Z "), "it has ended");
        stat.contains(") S ")
    };
    for _ in 0..rounds {
        while !is_waiting() {
            thread::yield_now();
        }
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGUSR1).unwrap();
        acknowledged.read_exact(&mut [0]).unwrap();
    }
}

/// Does that, then lets another end.
#[process]
fn pester(rounds: usize, pid: u32, mut acknowledged: Fd<PipeReader>, last: Sender<()>) {
    signal_repeatedly(pid, rounds, &mut *acknowledged);
    drop(last);
}

/// Does something while signals come.
fn pestered(
    rounds: usize,
    what: impl FnOnce(Receiver<()>),
) -> Result<(), Box<dyn std::error::Error>> {
    let (acknowledged, by) = io::pipe()?;
    handle(Signal::SIGUSR1, by);
    let (last, until) = offspring::pipe()?;
    let pesterer = pester(rounds, std::process::id(), acknowledged.into(), last).spawn()?;
    what(until);
    pesterer.join()?;
    Ok(())
}

each_start_method! {
    /// `test_poll_eintr`
    fn test_poll_eintr_does_not_end_a_join() {
        pestered(50, |until| parked(until).spawn().unwrap().join().unwrap())?;
    }

    /// `test_poll_eintr`, of a wait for several things, and of one with a limit.
    fn test_poll_eintr_does_not_end_a_wait() {
        pestered(50, |until| {
            let child = parked(until).spawn().unwrap();
            assert_eq!(offspring::wait(&[&child]).unwrap(), [0]);
        })?;
        pestered(50, |until| {
            let child = parked(until).spawn().unwrap();
            let status = child.wait_timeout(Duration::from_secs(600)).unwrap();
            assert_eq!(status.and_then(|status| status.code()), Some(0));
        })?;
    }

    /// `test_poll_eintr`, of starting.
    fn test_poll_eintr_does_not_disturb_a_start() {
        pestered(500, |until| {
            while !until.poll(Duration::ZERO).unwrap() {
                assert_eq!(nothing().spawn().unwrap().join().unwrap(), 1);
            }
        })?;
    }
}

#[process]
fn nothing() -> u32 {
    1
}

/// Echoes a number, fills a pipe, says so, and sends on.
#[process]
fn echo_then_flood(by: Fd<PipeWriter>, pipe: Duplex<u64, u64>, flooded: Sender<u64>) {
    handle(Signal::SIGUSR1, by.into_inner());
    pipe.send(0).unwrap();
    let number = pipe.recv().unwrap();
    pipe.send(number).unwrap();
    let fit = (0..).find(|&n| matches!(flooded.try_send(n), Err(TrySendError::Full(_)))).unwrap();
    pipe.send(fit).unwrap();
    (fit..2 * fit).for_each(|n| flooded.send(n).unwrap());
    flooded.send_bytes(&vec![b'x'; 16 << 20]).unwrap();
}

each_start_method! {
    /// `test_ignore`
    fn test_ignore_signals_in_recv_and_in_a_full_pipe() {
        let (mut acknowledged, by) = io::pipe()?;
        let (here, there) = offspring::duplex()?;
        let (to, flood) = offspring::pipe()?;
        let child = echo_then_flood(by.into(), there, to).spawn()?;
        let mut pester = || signal_repeatedly(child.pid(), 50, &mut acknowledged);
        assert_eq!(here.recv()?, 0); // the handler is in place
        pester(); // in its `recv`
        here.send(1234)?;
        assert_eq!(here.recv()?, 1234);
        let fit = here.recv()?;
        pester(); // in its `send`, as the pipe is full and nobody receives
        for n in 0..2 * fit {
            assert_eq!(flood.recv()?, n);
        }
        assert!(flood.recv_bytes()? == vec![b'x'; 16 << 20]);
        child.join()?;
    }
}

each_start_method! {
    /// `test_resource_tracker_blocked_signals`: starting blocks none in the thread that starts.
    fn test_blocked_signals_are_as_before_after_a_start() {
        let blocked: SigSet = [Signal::SIGUSR2, Signal::SIGCHLD].into_iter().collect();
        blocked.thread_set_mask()?;
        nothing().spawn()?.join()?;
        assert_eq!(SigSet::thread_get_mask()?, blocked);
    }
}
