//! Processes by descriptor: a pidfd names one process for ever, however often its number is reused.
//!
//! References: `pidfd_open(2)`, `pidfd_send_signal(2)`, `waitid(2)`; `fs/pidfs.c`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use super::fd::{above_stdio, retry};
use super::poll::{self, Wait};

/// A descriptor for the process that has this number now.
pub(crate) fn open(pid: u32) -> nix::Result<OwnedFd> {
    // SAFETY: pidfd_open has no memory effects.
    let raw = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    above_stdio(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Sends a signal; `ESRCH` if the process has ended and was reaped.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    // SAFETY: a null siginfo is allowed and asks the kernel to fill one in.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    Errno::result(sent).map(drop)
}

/// Reaps a child if it has ended; `ECHILD` if somebody else did.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> nix::Result<Option<ExitStatus>> {
    wait_id(libc::P_PIDFD, pidfd.as_raw_fd().cast_unsigned(), libc::WEXITED | libc::WNOHANG)
}

/// Blocks until a child has ended, and leaves it to be reaped.
pub(crate) fn await_end(pidfd: BorrowedFd<'_>) -> nix::Result<()> {
    let flags = libc::WEXITED | libc::WNOWAIT;
    wait_id(libc::P_PIDFD, pidfd.as_raw_fd().cast_unsigned(), flags).map(drop)
}

/// Whether it is a child of ours that has ended and that nobody has reaped.
pub(crate) fn is_zombie(pidfd: BorrowedFd<'_>) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    wait_id(libc::P_PIDFD, pidfd.as_raw_fd().cast_unsigned(), flags)
        .is_ok_and(|status| status.is_some())
}

/// Kills and reaps a child that nobody has any use for.
///
/// If it may not be killed (it has become another user's), it is given a moment to end by itself.
pub(crate) fn end(pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    const MOMENT: Duration = Duration::from_secs(1);
    let wait = match send_signal(pidfd, libc::SIGKILL) {
        Ok(()) => Wait::Forever,
        Err(_) => Wait::at_most(MOMENT),
    };
    match poll::readable(pidfd, wait) {
        Ok(true) => reap(pidfd).ok().flatten(),
        _ => None,
    }
}

/// Blocks until the child of this number has ended, and reaps it.
///
/// Only for a child whose descriptor was never to be had, and which is about to end by itself.
pub(crate) fn await_and_reap_by_number(pid: u32) -> nix::Result<Option<ExitStatus>> {
    wait_id(libc::P_PID, pid, libc::WEXITED)
}

/// Blocks until each child of this process group has ended, and reaps them.
pub(crate) fn await_and_reap_group(leader: u32) {
    while wait_id(libc::P_PGID, leader, libc::WEXITED).is_ok() {}
}

// Not nix's `waitid`: it fails on a child that was killed by a real-time signal, having reaped it.
fn wait_id(
    kind: libc::idtype_t,
    id: libc::id_t,
    flags: libc::c_int,
) -> nix::Result<Option<ExitStatus>> {
    // SAFETY: all zeroes is a valid siginfo_t, and says "nobody" where the kernel writes nothing.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` outlives the call.
    retry(|| Errno::result(unsafe { libc::waitid(kind, id, &raw mut info, flags) }))?;
    // SAFETY: waitid fills in the fields of a SIGCHLD siginfo, or leaves the zeroes.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(ExitStatus::from_raw(match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    })))
}

/// The exit status of a process that somebody else has reaped.
///
/// The kernel keeps it for as long as a pidfd is open, since Linux 6.15.
pub(crate) fn status_after_reaping(pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    // SAFETY: all zeroes is a valid `pidfd_info`.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    info.mask = libc::PIDFD_INFO_EXIT.into();
    // SAFETY: the request's number carries the size of `info`, which outlives the call.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    let known = done == 0 && info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0;
    known.then(|| ExitStatus::from_raw(info.exit_code))
}
