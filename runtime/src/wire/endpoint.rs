//! Ends of sockets and pipes that belong to this process alone, and that a fork of it must not hold
//! open.
//!
//! A forked child is a copy, so it would hold every pipe's ends, channels and lifelines of its parent's:
//! no reader would be told of the end of its stream, and no sibling of the parent's death, while
//! that child lives. So each such end is listed, and the child swaps all of them for `/dev/null`.
//! What the child is meant to have comes to it over its own channel, as with every start method.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys;

static LISTED: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

static CUTS: AtomicU32 = AtomicU32::new(0);

/// How often this process was [cut off](cut_off): endpoints that were made when it was another number
/// lead nowhere.
pub(crate) fn cuts() -> u32 {
    CUTS.load(Ordering::Relaxed)
}

fn listed() -> MutexGuard<'static, BTreeSet<RawFd>> {
    LISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One end of a socket or pipe of ours.
#[derive(Debug)]
pub(crate) struct Endpoint(OwnedFd);

impl Endpoint {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        listed().insert(fd.as_raw_fd());
        Self(fd)
    }

    /// Lets go of the connection, while this value lives on.
    pub(crate) fn cut(&self) {
        if let Ok(null) = sys::fd::null() {
            let _ = sys::fd::replace_owned(self.0.as_raw_fd(), null.as_fd());
        }
    }
}

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Before it is closed: its number may be another endpoint's right after.
        listed().remove(&self.0.as_raw_fd());
    }
}

/// Cuts a forked child off from all of its parent's endpoints, and from the `others`.
///
/// The descriptors stay open, as they have owners in the copied memory, but lead nowhere.
pub(crate) fn cut_off(others: &[BorrowedFd<'_>]) -> nix::Result<()> {
    CUTS.fetch_add(1, Ordering::Relaxed);
    let mut endpoints = std::mem::take(&mut *listed());
    endpoints.extend(others.iter().map(AsRawFd::as_raw_fd));
    if !endpoints.is_empty() {
        let null = sys::fd::null()?;
        for number in endpoints {
            sys::fd::replace_owned(number, null.as_fd())?;
        }
    }
    Ok(())
}
