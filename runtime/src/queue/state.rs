//! What a queue consists of in shared memory, beside its records.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::ring;
use crate::sync::gate::Gate;

/// How many places a queue has at first for those that say that they wait.
const FIRST_PLACES: u32 = 8;

#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    pub(super) ring: ring::State,
    /// Where consumers wait for items.
    pub(super) items: Gate,
    /// Where producers wait for room.
    pub(super) room: Gate,
    /// Where those wait who want all items to be done.
    pub(super) finished: Gate,
    /// Grows when a process wakes that said that it waits.
    pub(super) wakings: AtomicU32,
    /// Grows when all who had the queue waited for it, so that all are told.
    pub(super) verdicts: AtomicU32,
    /// How many places there are for those that say that they wait.
    pub(super) places: AtomicU32,
    /// How many items were [done](crate::Queue::task_done), going round at 2³².
    pub(super) done: AtomicU32,
    /// Somebody waits for the bell, and not at the gate.
    pub(super) bell_wanted: AtomicU32,
    pub(super) closed: AtomicU32,
}

impl State {
    /// `None` for any number of items.
    pub(super) fn new(capacity: Option<u32>) -> Self {
        Self {
            ring: ring::State::new(capacity),
            items: Gate::new(),
            room: Gate::new(),
            finished: Gate::new(),
            wakings: AtomicU32::new(0),
            verdicts: AtomicU32::new(0),
            places: AtomicU32::new(FIRST_PLACES),
            done: AtomicU32::new(0),
            bell_wanted: AtomicU32::new(0),
            closed: AtomicU32::new(0),
        }
    }

    pub(super) fn capacity(&self) -> Option<u32> {
        self.ring.capacity()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) != 0
    }

    /// How many items are in it.
    pub(super) fn count(&self) -> u32 {
        self.ring.count()
    }

    pub(super) fn is_full(&self) -> bool {
        self.ring.is_full()
    }

    /// Whether all items that were put are done.
    pub(super) fn is_finished(&self) -> bool {
        self.done.load(Ordering::SeqCst) == self.ever_put()
    }

    /// How many items were ever put, going round at 2³².
    pub(super) fn ever_put(&self) -> u32 {
        self.ring.ever_put()
    }
}
