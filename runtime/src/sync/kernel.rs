//! The kernel, as the locks see it: words that a thread owns, and sleeping on words.
//!
//! Everything that the state machines of this room share with other processes goes through here,
//! so that a model of the kernel can take its place, which tries all orders of events and kills
//! threads between any two of them.

pub(super) use std::sync::atomic::{AtomicU32, AtomicU64};

pub(super) use crate::sys::futex::{MAX_WATCHED, wait, wait_any, wake};
pub(super) use crate::sys::poll::Wait;
pub(super) use crate::sys::robust::{DIED, OWNER, Thread, WAITERS, Word};
