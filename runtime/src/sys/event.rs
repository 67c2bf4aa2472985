//! Counters that can be waited for as descriptors.
//!
//! References: `eventfd(2)`.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{read, write};

use super::fd::above_stdio;

/// One that cannot be read yet.
pub(crate) fn new_event() -> nix::Result<OwnedFd> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    above_stdio(EventFd::from_flags(flags)?.into())
}

/// From now on it can be read, until it [was](still).
pub(crate) fn ring(event: impl AsFd) -> nix::Result<()> {
    match write(event, &1_u64.to_ne_bytes()) {
        Ok(_) | Err(nix::Error::EAGAIN) => Ok(()), // it has rung very often
        Err(error) => Err(error),
    }
}

/// Reads it. Says whether it had rung.
pub(crate) fn still(event: impl AsFd) -> bool {
    let mut count = [0; 8];
    read(event, &mut count).is_ok()
}
