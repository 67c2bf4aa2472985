//! Where threads sleep until there may be something for one of them.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use super::kernel::{self, DIED, OWNER, Thread, WAITERS, Wait, Word};

/// A word that sleepers sleep on, and that one of those who were woken owns: the one *in charge*.
///
/// | the word | |
/// |---|---|
/// | 0 | *closed*: nobody sleeps, or somebody was woken who is about to take charge |
/// | [`WAITERS`] | *open*: somebody may sleep, and nobody was woken since |
/// | [`WAITERS`], owner | closed: somebody is in charge |
/// | [`WAITERS`], owner, [`DIED`] | open, beside the one in charge: others have come to sleep since |
/// | [`DIED`], perhaps [`WAITERS`] | open: the one in charge has died |
///
/// Whoever makes something and finds it open wakes a sleeper, and closes it. Who was woken takes charge,
/// unless another has it, until it has got something, or sleeps again: then it opens the gate, as others
/// may sleep still, and wakes one of them if there is more. So whatever is made while it is closed is
/// seen to. If the one in charge is killed, the kernel wakes another in its place; and so it does, by the
/// thread's pending word, for one that was woken and is not in charge yet, or that has made something
/// and has woken nobody.
///
/// Whom the kernel wakes must be asleep. Who has looked, and is just about to sleep, finds that the one
/// in charge has died, as the word is another then; of other deaths in these few instructions it learns
/// nothing. Therefore who sleeps here looks again from time to time.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Gate(Word);

impl Gate {
    pub(crate) const fn new() -> Self {
        Self(Word::new())
    }

    /// Makes something, and wakes so many who wait for it. If the thread dies in between, the
    /// kernel wakes one.
    #[inline]
    pub(crate) fn open_after<R>(&self, count: u32, make: impl FnOnce() -> R) -> R {
        Thread::current().with_pending(self.0.value(), || {
            let made = make();
            self.open(count);
            made
        })
    }

    /// As [`open_after`](Self::open_after), for all, and only if there is then `enough`.
    #[inline]
    pub(crate) fn open_all_after(&self, make: impl FnOnce(), enough: impl FnOnce() -> bool) {
        Thread::current().with_pending(self.0.value(), || {
            make();
            if is_open(self.0.value().load(Ordering::SeqCst)) && enough() {
                self.open(u32::MAX);
            }
        });
    }

    /// Wakes so many who wait.
    #[inline]
    pub(crate) fn open(&self, count: u32) {
        let seen = self.0.value().load(Ordering::SeqCst);
        if is_open(seen) {
            self.close_and_wake(seen, count);
        }
    }

    #[cold]
    fn close_and_wake(&self, mut seen: u32, count: u32) {
        let word = self.0.value();
        while is_open(seen) {
            let closed = if seen & OWNER == 0 { 0 } else { seen & !DIED };
            match word.compare_exchange(seen, closed, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {
                    kernel::wake(word, count);
                    return;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Sleeps, unless it is `ready` once it can be woken; false when the time is up. May return early
    /// for no reason. If the thread is killed from here until it is [`awake`](Self::awake), another is
    /// woken.
    ///
    /// # Safety
    /// The gate must stay where it is until this thread is [`awake`](Self::awake), or has ended.
    pub(crate) unsafe fn sleep(&self, wait: Wait, ready: impl FnOnce() -> bool) -> bool {
        let thread = Thread::current();
        let word = self.0.value();
        let seen = self.leave_open(thread);
        let in_time =
            if ready() { true } else { thread.sleep_with(word, || kernel::wait(word, seen, wait)) };
        // SAFETY: the caller's promise.
        unsafe { self.take_charge(thread) };
        in_time
    }

    /// What a thread does that has slept, and has got what it wanted, or does not want it any more;
    /// `more` says whether there is something for another.
    pub(crate) fn awake(&self, more: impl FnOnce() -> bool) {
        let thread = Thread::current();
        self.leave_open(thread);
        if more() {
            self.open(1);
        }
        thread.awake();
    }

    /// Opens the gate, and is not in charge any more; but if the thread is killed from now on, one is
    /// woken. Gives the word.
    fn leave_open(&self, thread: Thread) -> u32 {
        let word = self.0.value();
        if thread.release_to_pending(&self.0, WAITERS) {
            return WAITERS;
        }
        let mut seen = word.load(Ordering::SeqCst);
        loop {
            let open = if seen & OWNER == 0 { WAITERS } else { seen | DIED };
            match word.compare_exchange(seen, open, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return open,
                Err(now) => seen = now,
            }
        }
    }

    /// Takes charge, unless another has it. Then that one does what there is to do.
    ///
    /// # Safety
    /// As [`sleep`](Self::sleep).
    unsafe fn take_charge(&self, thread: Thread) {
        let mut seen = self.0.value().load(Ordering::SeqCst);
        while seen & OWNER == 0 {
            let flags = if is_open(seen) { WAITERS | DIED } else { WAITERS };
            // SAFETY: the caller's promise.
            match unsafe { thread.claim(&self.0, seen, flags) } {
                Ok(()) => return,
                Err(now) => seen = now,
            }
        }
    }
}

/// Whether somebody may sleep whom nobody has woken.
#[inline]
fn is_open(word: u32) -> bool {
    word & DIED != 0 || word == WAITERS
}
