//! Death with the parent: the kernel kills this process when its parent is gone.
//!
//! A pipe can be told to signal a process of its own accord when something happens to it
//! (`O_ASYNC`), and to send any signal for that (`F_SETSIG`). Nothing is ever written to a lifeline,
//! so all that can happen to it is that its other end closes, with the parent. SIGKILL is what it
//! sends. No thread or helper is involved, nothing polls, user code cannot block it, and it does not
//! depend on which of the parent's threads started the child, as `PR_SET_PDEATHSIG` does.
//!
//! It cannot be the socket over which a child gets its instructions: the kernel queues a packet
//! first and signals its arrival after that, so that a receiver which is quick enough to throw the
//! switch in between is killed by the packet it has read already (seen: once in 50,000 starts).
//!
//! What must hold: the parent's end is the parent's alone, close-on-exec, and cut in forks of ours.
//! What the child loses it by: replacing its program by `exec`; closing descriptors that are not its
//! own; becoming another user by a capability alone or as root of a user namespace; and being the
//! first process of a pid namespace, which the kernel protects.
//!
//! References: `fcntl(2)` on F_SETOWN and F_SETSIG; `send_sigio_to_task` in `fs/fcntl.c`,
//! `pipe_release` in `fs/pipe.c`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags};
use nix::unistd::pipe2;

use super::fd::above_stdio;
use super::poll::{self, Wait};

// Not in the libc crate.
const F_SETSIG: libc::c_int = 10;

/// A lifeline: the end that the parent holds, and the end that the child ties itself to.
pub(crate) fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (tied, held) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((above_stdio(held)?, above_stdio(tied)?))
}

/// Ties this process's life to a lifeline: from now on it is killed when the other end closes.
///
/// If that has happened already, the process ends here.
pub(crate) fn tie(lifeline: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: none of these has memory effects.
    unsafe {
        Errno::result(libc::fcntl(lifeline.as_raw_fd(), libc::F_SETOWN, libc::getpid()))?;
        Errno::result(libc::fcntl(lifeline.as_raw_fd(), F_SETSIG, libc::SIGKILL))?;
    }
    fcntl(lifeline.as_fd(), FcntlArg::F_SETFL(OFlag::O_ASYNC))?;
    // What happened before the switch was thrown sends nothing; look once.
    if poll::readable(lifeline, Wait::Never)? {
        super::signal::kill_myself();
    }
    Ok(())
}

/// Lets go of a lifeline, for a process that is to outlive its parent.
pub(crate) fn untie(lifeline: OwnedFd) {
    // Closing it is not enough if some other process has a copy.
    let _ = fcntl(&lifeline, FcntlArg::F_SETFL(OFlag::empty()));
}

/// Waits until the child at the other end has let go, or has ended.
pub(crate) fn await_untied(held: BorrowedFd<'_>, child: BorrowedFd<'_>) -> nix::Result<()> {
    // A pipe that nobody can read any more has an error, which needs not be asked for.
    let mut fds = [PollFd::new(held, PollFlags::empty()), PollFd::new(child, PollFlags::POLLIN)];
    poll::poll(&mut fds, Wait::Forever).map(drop)
}
