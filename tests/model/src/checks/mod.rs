//! What must hold, whatever the order of events, and whoever is killed.

mod barrier;
mod board;
mod condvar;
mod detector;
mod event;
mod mutex;
mod once;
mod queue;
mod raw;
mod rwlock;
mod semaphore;

use std::cell::Cell;
use std::sync::Arc;

use crate::kernel;

/// A value that threads of the model share, without steps: for what a check itself keeps in mind.
struct Noted<T>(Arc<Plain<T>>);

struct Plain<T>(Cell<T>);

// SAFETY: threads of the model run one at a time, and none is interrupted in a `Cell`'s methods.
unsafe impl<T> Send for Plain<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Plain<T> {}

impl<T> Clone for Noted<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Copy> Noted<T> {
    fn new(value: T) -> Self {
        Self(Arc::new(Plain(Cell::new(value))))
    }

    fn get(&self) -> T {
        self.0.0.get()
    }

    fn set(&self, value: T) {
        self.0.0.set(value);
    }
}

impl Noted<u32> {
    fn add(&self, more: u32) -> u32 {
        self.set(self.get() + more);
        self.get()
    }
}

/// Who is inside of something that one thread at a time may be in.
#[derive(Clone)]
struct Inside(Noted<u32>);

impl Inside {
    fn new() -> Self {
        Self(Noted::new(0))
    }

    /// Is inside for a moment, in which it may be killed.
    fn pass(&self) {
        let tid = kernel::gettid();
        let before = self.0.get();
        assert!(before == 0 || is_dead(before), "{tid} and {before} are both inside");
        self.0.set(tid);
        kernel::step();
        assert_eq!(self.0.get(), tid, "another came inside");
        kernel::step();
        self.0.set(0);
    }
}

fn is_dead(tid: u32) -> bool {
    kernel::deaths().iter().any(|death| death.tid == tid)
}

/// How many were killed while they owned the word.
fn died_owning(word: usize) -> usize {
    kernel::deaths().iter().filter(|death| death.owned.contains(&word)).count()
}
