//! Orderly exit: what becomes of the children when `main` returns or `exit` is called.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::handle::ChildHandle;
use super::table;
use crate::launch;
use crate::sys::poll::Wait;
use crate::sys::signal;

/// How long a daemon that was asked to end is waited for before it is made to.
const GRACE: Duration = Duration::from_secs(1);

/// The process whose exit is prepared. A fork of it inherits the handler, but not the children.
static PREPARED: Mutex<Option<u32>> = Mutex::new(None);

/// Sees to it that this process's exit is orderly.
pub(super) fn prepare() {
    let mut prepared = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = std::process::id();
    if *prepared == Some(pid) {
        return;
    }
    if prepared.replace(pid).is_none() {
        signal::at_exit(at_exit);
    }
}

extern "C" fn at_exit() {
    let prepared = *PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    if prepared == Some(std::process::id()) {
        end_children();
    }
}

/// Waits for the children that are neither daemons nor detached, then ends the daemons.
pub(super) fn end_children() {
    let wait = |child: &ChildHandle, wait| matches!(child.0.wait_for_end(wait), Ok(Some(_)));
    loop {
        let mut waited_for = table::sweep();
        waited_for.retain(|child| !child.0.daemon && !child.0.detached);
        if waited_for.is_empty() {
            break;
        }
        let ended = waited_for.iter().filter(|child| wait(child, Wait::Forever)).count();
        if ended == 0 {
            break; // the system refuses to tell
        }
    }
    let mut daemons = table::sweep();
    daemons.retain(|child| !child.0.detached);
    for daemon in &daemons {
        let _ = daemon.terminate();
    }
    let grace = Wait::at_most(GRACE);
    for daemon in &daemons {
        if !wait(daemon, grace) {
            if daemon.kill().is_err() {
                // It has become another user's. The kernel still ends it by its lifeline.
                daemon.0.lifeline.cut();
                wait(daemon, Wait::at_most(GRACE)); // unless it has lost that: it is left alone
            } else {
                wait(daemon, Wait::Forever);
            }
        }
    }
    launch::end_fork_server();
}
