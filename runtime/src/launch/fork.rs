//! A plain fork of this process.

#![allow(unsafe_code)]

use std::io::Write;
use std::os::fd::BorrowedFd;

use super::{ChildMain, Environment, Origin, Started, Ties, pidfd_of_new_child};
use crate::error::{Error, Result};
use crate::shm::segment;
use crate::sys::{self, lifeline, socket};
use crate::wire::endpoint;

/// Forks this process, if it has one thread.
pub(super) fn start(
    child_main: ChildMain,
    name: &str,
    env: &Environment,
    private: &[BorrowedFd<'_>],
) -> Result<Started> {
    if sys::threads::is_single_threaded() != Some(true) {
        return Err(Error::Multithreaded);
    }
    let failed = |error| Error::os("make a socket and a pipe for a child", error);
    let (parents, childs) = socket::pair().map_err(failed)?;
    let (held, tied) = lifeline::pair().map_err(failed)?;
    // What lies in the buffers would otherwise be printed twice.
    let _ = std::io::stdout().flush();
    sys::startup::flush_c_streams();
    let hidden = segment::hide_what_is_owned();
    // SAFETY: just seen, and nothing here has started a thread since.
    let forked = unsafe { sys::startup::fork_single_threaded() };
    match &forked {
        Ok(None) => std::mem::forget(hidden), // which are not there
        _ => drop(hidden),
    }
    match forked {
        Err(error) => Err(Error::os("fork this process", error)),
        Ok(None) => {
            drop((parents, held));
            if endpoint::cut_off(private).is_err() {
                sys::signal::exit_now(1);
            }
            child_main(Ties { channel: childs, lifeline: tied }, Origin::Forked)
        }
        Ok(Some(pid)) => {
            drop((childs, tied));
            let (pidfd, channel, lifeline) = pidfd_of_new_child(name, pid, parents, held)?;
            let needs_env = !std::env::vars_os().eq(env.iter().cloned());
            Ok(Started { pid, pidfd, channel, lifeline, needs_env, needs_dir: false })
        }
    }
}
