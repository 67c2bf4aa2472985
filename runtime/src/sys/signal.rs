//! Signal dispositions, for processes that are ours from their first instruction.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

use super::poll::{self, Wait};

/// What a terminal or a service manager sends to a whole group of processes.
///
/// The fork server and the children it has made ahead must sit these out. But a child must not
/// miss one that is meant for it, and that may come in the moment after it was given its work.
const SENT_TO_GROUPS: [Signal; 4] =
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGTERM];

/// Those that have come since [`HeldSignals::await_readable`] began, as bits.
static CAME: AtomicU32 = AtomicU32::new(0);

extern "C" fn note(signal: c_int) {
    CAME.fetch_or(1 << signal, Ordering::Relaxed);
}

fn group_signals() -> SigSet {
    SENT_TO_GROUPS.into_iter().collect()
}

fn set(signal: Signal, action: &SigAction) -> nix::Result<SigAction> {
    // SAFETY: what is set here is "ignore", a handler that stores to an atomic, or what the process
    // had before it ran any code of its own.
    unsafe { sigaction(signal, action) }
}

/// The group's signals are blocked in this process, and this is what they did before.
#[derive(Debug)]
pub(crate) struct HeldSignals(Vec<(Signal, SigAction)>);

impl HeldSignals {
    /// Blocks the group's signals, in this process and in its copies.
    pub(crate) fn hold() -> Self {
        let _ = group_signals().thread_block();
        let note = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
        let replace = |signal| set(signal, &note).ok().map(|before| (signal, before));
        Self(SENT_TO_GROUPS.into_iter().filter_map(replace).collect())
    }

    /// Waits until `socket` can be read, and forgets the signals that come before that.
    ///
    /// One that is sent by whoever has written to the socket, after that, is not forgotten: if the
    /// socket is readable when a signal has come, the signal is put back, to wait for
    /// [`release`](Self::release).
    pub(crate) fn await_readable(&self, socket: BorrowedFd<'_>) {
        let mut fds = [PollFd::new(socket, PollFlags::POLLIN)];
        // Signals come through only within the ppoll, so each that comes interrupts one.
        while ppoll(&mut fds, None, Some(SigSet::empty())) == Err(Errno::EINTR) {
            let came = CAME.swap(0, Ordering::Relaxed);
            if poll::readable(socket, Wait::Never) == Ok(false) {
                continue;
            }
            for signal in SENT_TO_GROUPS {
                if came & (1 << signal as c_int) != 0 {
                    let _ = raise(signal);
                }
            }
        }
    }

    /// Lets the signals do what they did before, those included that have come meanwhile.
    pub(crate) fn release(&self) {
        for (signal, action) in &self.0 {
            let _ = set(*signal, action);
        }
        let _ = group_signals().thread_unblock();
    }
}

/// Ignores SIGPIPE, as `std` does before `main`.
pub(crate) fn ignore_sigpipe() {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    let _ = set(Signal::SIGPIPE, &ignore);
}

/// Ends this process at once, by SIGKILL.
pub(crate) fn kill_myself() -> ! {
    // SAFETY: neither call has memory effects.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
        libc::_exit(libc::EXIT_FAILURE)
    }
}

/// Ends this process at once, running nothing.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no memory effects.
    unsafe { libc::_exit(code) }
}

/// Leads a new session: what is sent to the old one's terminal or group no longer arrives.
pub(crate) fn leave_session() -> nix::Result<()> {
    nix::unistd::setsid().map(drop)
}

/// Has `handler` run when the program ends in an orderly way.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the handler does not unwind: that is an abort, by its type.
    unsafe { libc::atexit(handler) };
}
