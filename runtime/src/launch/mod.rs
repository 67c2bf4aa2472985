//! How a child comes to be.
//!
//! Whatever the start method, the outcome is the same: a process that has nothing of its parent's
//! but one end of a socket, the *channel*, and one end of a pipe, its *lifeline*, and that calls
//! [`ChildMain`] with them. What it is to do comes over the channel, and what came of it goes back
//! the same way; when the parent's end of the lifeline closes, the kernel kills it.
//!
//! - [`method`]: the ways there are
//! - [`reentry`]: what an executed copy of the program does before `main`
//! - [`execute`]: the other side of that: executing the program, and the handshake
//! - [`server`], [`forkserver`]: the fork server, from inside and from outside
//! - [`fork`]: a plain fork of this process
//!
//! `README.md` beside this file has the protocols, and what happens when somebody dies in each
//! step of them.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Error, Result};
use crate::sys;

mod execute;
mod fork;
mod forkserver;
mod method;
pub(crate) mod reentry;
mod server;

pub use forkserver::end_fork_server;
pub(crate) use forkserver::make_one_ahead;
pub use method::{ParseStartMethodError, StartMethod};
pub(crate) use reentry::check_entered as check;

/// What ties a child to its parent.
#[derive(Debug)]
pub(crate) struct Ties {
    /// The child's end of the packet socket between them.
    pub(crate) channel: OwnedFd,
    /// The child's end of what kills it when the parent ends.
    pub(crate) lifeline: OwnedFd,
}

/// What a child does. It never returns to the code around it.
pub(crate) type ChildMain = fn(Ties, Origin) -> !;

/// What a child has to know of how it came to be.
#[derive(Debug)]
pub(crate) enum Origin {
    /// An executed copy of the program, or a copy of the fork server.
    Fresh,
    /// A fork of its parent.
    Forked,
}

/// The environment variables of a process.
pub(crate) type Environment = Vec<(OsString, OsString)>;

/// A process that waits for its instructions.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) channel: OwnedFd,
    /// While this is open, it lives.
    pub(crate) lifeline: OwnedFd,
    /// Its environment is not the one that was asked for: it must be told.
    pub(crate) needs_env: bool,
    /// Its working directory is not this process's: it must be told.
    pub(crate) needs_dir: bool,
}

/// What a launcher needs from the rooms above.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    /// Stands for everything that two processes must agree on to understand one another.
    pub(crate) fingerprint: fn() -> Result<u64>,
    /// What an executed copy does first, so that its children need not.
    pub(crate) prepare: fn(),
    pub(crate) child_main: ChildMain,
}

/// Makes a process that waits for its instructions.
///
/// `name` is what it will be called. `private` are descriptors that the caller holds for the moment, and that a fork of this process
/// must not hold as well.
pub(crate) fn start(
    method: StartMethod,
    program: Program,
    name: &str,
    env: &Environment,
    private: &[BorrowedFd<'_>],
) -> Result<Started> {
    match method {
        StartMethod::ForkServer => forkserver::start(program, env),
        StartMethod::Spawn => execute::start(program, name, env),
        StartMethod::Fork => fork::start(program.child_main, name, env, private),
    }
}

/// A descriptor for a child that this process has just made by its number.
///
/// The number can be trusted if the child still lives after the descriptor was opened: it was
/// never free in between. It lives as long as its end of the channel is open.
fn pidfd_of_new_child(
    name: &str,
    pid: u32,
    channel: OwnedFd,
    lifeline: OwnedFd,
) -> Result<(OwnedFd, OwnedFd, OwnedFd)> {
    let pidfd = sys::pidfd::open(pid);
    if sys::socket::is_hung_up(channel.as_fd()) {
        drop(lifeline);
        return Err(died_at_start(name, pid));
    }
    match pidfd {
        Ok(pidfd) => Ok((pidfd, channel, lifeline)),
        Err(error) => {
            drop((channel, lifeline)); // it is killed by that
            let _ = sys::pidfd::await_and_reap_by_number(pid);
            Err(Error::os(format!("open a descriptor for process {pid}"), error))
        }
    }
}

/// Reaps a child that ended before it could be given any work.
fn died_at_start(name: &str, pid: u32) -> Error {
    let status = sys::pidfd::await_and_reap_by_number(pid).ok().flatten();
    Error::DiedAtStart { process: name.into(), pid, status }
}
