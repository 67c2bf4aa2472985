//! All children that this process has started and not yet seen end.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::poll::{PollFd, PollFlags};

use super::exit;
use super::handle::{ChildHandle, Shared};
use crate::sys::poll::{self, Wait};

/// In the order in which they were started.
struct Table {
    children: BTreeMap<u64, Arc<Shared>>,
    next_id: u64,
    /// How many there may be before the ended ones are looked for.
    sweep_at: usize,
}

/// So few are looked at on each start. With more, the work is spread: so that a program that
/// starts children and forgets them keeps few zombies, and one that holds thousands pays little.
const FEW: usize = 16;

static TABLE: Mutex<Table> =
    Mutex::new(Table { children: BTreeMap::new(), next_id: 0, sweep_at: FEW });

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enters a new child, made with its place in the table.
pub(super) fn insert(child: impl FnOnce(u64) -> Shared) -> ChildHandle {
    exit::prepare();
    let mut table = table();
    let id = table.next_id;
    table.next_id += 1;
    let child = Arc::new(child(id));
    table.children.insert(id, Arc::clone(&child));
    ChildHandle(child)
}

/// Forgets a child that has ended.
pub(super) fn remove(id: u64) {
    // The last owner must not go while the table is locked: its descriptors close.
    let removed = table().children.remove(&id);
    drop(removed);
}

/// Reaps children that have ended and that perhaps nobody waits for.
pub(super) fn sweep_sometimes() {
    let due = {
        let table = table();
        let len = table.children.len();
        len > 0 && (len <= FEW || len >= table.sweep_at)
    };
    if due {
        sweep();
    }
}

/// Reaps the children that have ended; gives the others.
pub(super) fn sweep() -> Vec<ChildHandle> {
    let children: Vec<_> = table().children.values().cloned().collect();
    let mut fds: Vec<_> =
        children.iter().map(|child| PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)).collect();
    let ended: Vec<_> = match poll::poll(&mut fds, Wait::Never) {
        Ok(_) => fds.iter().map(|fd| fd.any().unwrap_or(false)).collect(),
        Err(_) => return children.into_iter().map(ChildHandle).collect(),
    };
    drop(fds);
    let mut alive = Vec::with_capacity(children.len());
    for (child, ended) in children.into_iter().zip(ended) {
        if ended {
            let _ = child.wait_for_end(Wait::Never);
        } else {
            alive.push(ChildHandle(child));
        }
    }
    let mut table = table();
    table.sweep_at = (2 * table.children.len()).max(FEW);
    drop(table);
    alive
}

/// Leaves a forked child without its parent's children.
pub(super) fn forget_parents() {
    let children = std::mem::take(&mut table().children);
    drop(children);
}

/// The children of this process that are alive, in the order they were started.
///
/// Those that were started by this crate, that is; those that have ended are reaped, as a call to
/// [`wait`](ChildHandle::wait) would. Python's `active_children()`.
///
/// ```
/// #[offspring::process]
/// fn idle() {
///     std::thread::sleep(std::time::Duration::from_secs(600));
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// idle().spawn()?; // the handle is dropped, the child runs on
/// for child in offspring::active_children() {
///     println!("{} has pid {}", child.name(), child.pid());
///     child.terminate()?;
///     child.wait()?;
/// }
/// assert!(offspring::active_children().is_empty());
/// # Ok(())
/// # }
/// ```
pub fn active_children() -> Vec<ChildHandle> {
    sweep()
}
