//! Who gets which signals.

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{Pid, getpgid, getpgrp, setpgid};

/// Ignores SIGPIPE, as `std` does before `main`.
pub(crate) fn ignore_sigpipe() {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: "ignore" runs no code in a signal handler.
    let _ = unsafe { sigaction(Signal::SIGPIPE, &ignore) };
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

/// What is sent to all processes of a service or a terminal, to tell them to end.
fn endings() -> SigSet {
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGTERM].into_iter().collect()
}

/// Puts off the signals that tell a program to end.
pub(crate) fn put_off_endings() {
    let _ = endings().thread_block();
}

/// Lets through the signals that tell a program to end.
pub(crate) fn let_endings_through() {
    let _ = endings().thread_unblock();
}

/// Leads a new process group: what is sent to the old one, by a terminal or by whoever, no longer
/// arrives.
///
/// Not if the old one is of another pid namespace: there would be no way back into it.
pub(crate) fn leave_process_group() {
    if getpgrp().as_raw() != 0 {
        let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    }
}

/// Takes a child out of the group that `leader` leads, into this process's. False if it is still in
/// there.
pub(crate) fn adopt_from_process_group(leader: u32, child: u32) -> bool {
    let (leader, child) = (Pid::from_raw(leader.cast_signed()), Pid::from_raw(child.cast_signed()));
    getpgid(Some(child)) != Ok(leader) || setpgid(child, getpgrp()).is_ok()
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

/// Has Ctrl-C in a terminal, which reaches all processes of a group, pass by this one. A program that
/// this one executes is interrupted by it as ever.
pub(crate) fn outlive_interrupts() {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing.
    let _ = unsafe { sigaction(Signal::SIGINT, &action) };
}
