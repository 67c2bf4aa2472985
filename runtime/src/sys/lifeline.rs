//! Death with the parent: the kernel kills this process when the other end of a socket closes.
//!
//! A socket can be told to signal a process of its own accord when something happens to it
//! (`O_ASYNC`), and to send any signal for that (`F_SETSIG`). Nothing but its peer's end ever
//! happens to a channel once the child has read its instructions, so SIGKILL is what it sends. No
//! thread or helper is involved, nothing polls, user code cannot block it, and it does not depend
//! on which of the parent's threads started the child, as `PR_SET_PDEATHSIG` does.
//!
//! What must hold for that: after its instructions, nothing is ever sent *to* the child, and the child
//! sends one packet, which always fits. (A socket whose buffer was once found full by a send or a poll
//! also signals that there is room again.) And the parent's end is the parent's alone: close-on-exec,
//! and cut in forks of ours. What the child loses it by: replacing its program by `exec`, or closing
//! descriptors that are not its own.
//!
//! References: `fcntl(2)` on F_SETOWN and F_SETSIG; `send_sigio_to_task` in `fs/fcntl.c`,
//! `sock_wake_async` in `net/socket.c`, `unix_release_sock` in `net/unix/af_unix.c`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

use super::socket::is_hung_up;

// Not in the libc crate.
const F_SETSIG: libc::c_int = 10;

/// Names the victim and the weapon. It takes effect with [`tie_to_peer`].
pub(crate) fn prepare(socket: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: neither call has memory effects.
    unsafe {
        Errno::result(libc::fcntl(socket.as_raw_fd(), libc::F_SETOWN, libc::getpid()))?;
        Errno::result(libc::fcntl(socket.as_raw_fd(), F_SETSIG, libc::SIGKILL))?;
    }
    Ok(())
}

/// Ties this process's life to the peer of a prepared `socket`: from now on it is killed when that
/// closes.
///
/// If the peer is gone already, the process ends here.
pub(crate) fn tie_to_peer(socket: BorrowedFd<'_>) -> nix::Result<()> {
    fcntl(socket.as_fd(), FcntlArg::F_SETFL(OFlag::O_ASYNC))?;
    // What happened before the switch was thrown sends nothing; look once.
    if is_hung_up(socket) {
        super::signal::kill_myself();
    }
    Ok(())
}
