//! Where threads sleep until there may be something for one of them.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use super::kernel::{self, AtomicU32, Thread, WAITERS, Wait};

/// A word that is [`WAITERS`] when somebody may sleep at it, and otherwise 0.
///
/// Whoever makes something wakes one sleeper, once, and takes the mark away; whoever has slept, and
/// has got something, puts it back, as others may sleep still, and wakes another if there is more. A
/// thread that is killed after it was woken has the kernel wake another, unless it was just waiting
/// for a lock meanwhile: therefore who sleeps here looks again from time to time.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Gate(AtomicU32);

impl Gate {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Makes something, and wakes so many who wait for it. If the thread dies in between, the
    /// kernel wakes one.
    #[inline]
    pub(crate) fn open_after<R>(&self, count: u32, make: impl FnOnce() -> R) -> R {
        Thread::current().with_pending(&self.0, || {
            let made = make();
            self.open(count);
            made
        })
    }

    /// As [`open_after`](Self::open_after), for all, and only if there is then `enough`.
    #[inline]
    pub(crate) fn open_all_after(&self, make: impl FnOnce(), enough: impl FnOnce() -> bool) {
        Thread::current().with_pending(&self.0, || {
            make();
            if self.0.load(Ordering::SeqCst) != 0 && enough() {
                self.open(u32::MAX);
            }
        });
    }

    /// Wakes so many who wait.
    #[inline]
    pub(crate) fn open(&self, count: u32) {
        if self.0.load(Ordering::SeqCst) != 0 {
            self.0.store(0, Ordering::SeqCst);
            kernel::wake(&self.0, count);
        }
    }

    /// Sleeps, unless it is `ready` once it can be woken; false when the time is up. May return early
    /// for no reason. If the thread is killed from here until it is [`awake`](Self::awake), another is
    /// woken.
    pub(crate) fn sleep(&self, wait: Wait, ready: impl FnOnce() -> bool) -> bool {
        self.0.store(WAITERS, Ordering::SeqCst);
        if ready() {
            return true;
        }
        Thread::current().sleep_with(&self.0, || kernel::wait(&self.0, WAITERS, wait))
    }

    /// What a thread does that has slept, and has got what it wanted, or does not want it any more;
    /// `more` says whether there is something for another.
    pub(crate) fn awake(&self, more: impl FnOnce() -> bool) {
        self.0.store(WAITERS, Ordering::SeqCst);
        if more() {
            self.open(1);
        }
        Thread::current().awake();
    }
}
