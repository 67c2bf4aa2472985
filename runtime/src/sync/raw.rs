//! Mutual exclusion, and nothing else: a word that a thread owns.
//!
//! The states of the word, and who makes which transition, are in `README.md`.

#![allow(unsafe_code)]

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use super::kernel::{self, DIED, OWNER, Thread, WAITERS, Wait, Word};
use super::spin::Spin;

/// A mutex that tells when its owner has died.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RawMutex {
    word: Word,
}

/// How the mutex was when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Given back by its last owner.
    Clean,
    /// Its last owner died with it. What it protects may be half done.
    FromTheDead,
}

/// Why the mutex was not taken.
#[derive(Debug)]
pub(crate) enum NotTaken<E> {
    /// Not in time.
    TimedOut,
    /// The calling thread has it already.
    Own,
    /// It was held, and the caller then chose not to wait.
    Refused(E),
}

impl RawMutex {
    pub(crate) const fn new() -> Self {
        Self { word: Word::new() }
    }

    /// Takes the mutex. Before it waits, for the first time and after each waking, it asks `refuse`.
    ///
    /// # Safety
    /// The mutex must stay where it is until this thread has given it back, or has ended.
    #[inline]
    pub(crate) unsafe fn lock<E>(
        &self,
        wait: Wait,
        refuse: impl FnMut() -> Result<(), E>,
    ) -> Result<Taken, NotTaken<E>> {
        let thread = Thread::current();
        // SAFETY: the caller's promise.
        match unsafe { thread.claim(&self.word, 0, 0) } {
            Ok(()) => Ok(Taken::Clean),
            // SAFETY: as above.
            Err(seen) => unsafe { self.lock_contended(thread, seen, wait, refuse) },
        }
    }

    /// # Safety
    /// As [`lock`](Self::lock).
    #[cold]
    unsafe fn lock_contended<E>(
        &self,
        thread: Thread,
        mut seen: u32,
        wait: Wait,
        mut refuse: impl FnMut() -> Result<(), E>,
    ) -> Result<Taken, NotTaken<E>> {
        let word = self.word.value();
        let mut spin = if wait == Wait::Never { Spin::none() } else { Spin::new() };
        // Who has slept takes the word with this set: others may still sleep.
        let mut waiters = 0;
        loop {
            if seen & OWNER == 0 {
                // SAFETY: the caller's promise.
                match unsafe { thread.claim(&self.word, seen, seen & WAITERS | waiters) } {
                    Ok(()) if seen & DIED == 0 => {
                        if waiters == 0 {
                            spin.paid();
                        }
                        return Ok(Taken::Clean);
                    }
                    Ok(()) => return Ok(Taken::FromTheDead),
                    Err(now) => seen = now,
                }
                continue;
            }
            if seen & OWNER == thread.tid() {
                thread.awake();
                return Err(NotTaken::Own);
            }
            if seen & WAITERS == 0 && spin.pause() {
                seen = word.load(Ordering::Relaxed);
                continue;
            }
            if wait == Wait::Never {
                return Err(NotTaken::TimedOut);
            }
            if let Err(refusal) = refuse() {
                thread.awake();
                return Err(NotTaken::Refused(refusal));
            }
            if seen & WAITERS == 0
                && let Err(now) =
                    word.compare_exchange(seen, seen | WAITERS, Ordering::SeqCst, Ordering::SeqCst)
            {
                seen = now;
                continue;
            }
            // From here until it has the word, it passes a wake-up on if it is killed.
            let in_time = thread.sleep_with(word, || kernel::wait(word, seen | WAITERS, wait));
            if !in_time {
                thread.awake();
                return Err(NotTaken::TimedOut);
            }
            waiters = WAITERS;
            seen = word.load(Ordering::Relaxed);
        }
    }

    /// Gives the mutex back; does nothing in a copy of its owner's process.
    #[inline]
    pub(crate) fn unlock(&self) {
        Thread::current().release(&self.word);
    }

    /// Whether somebody has it: the thread number, which is of use for nothing but telling.
    #[inline]
    pub(crate) fn owner(&self) -> Option<u32> {
        match self.word.value().load(Ordering::Relaxed) & OWNER {
            0 => None,
            tid => Some(tid),
        }
    }

    /// Whether nobody has it, and nobody has died with it.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.word.value().load(Ordering::SeqCst) & (OWNER | DIED) == 0
    }

    /// Whether its owner has died, and nobody has taken it since.
    #[inline]
    pub(crate) fn is_orphaned(&self) -> bool {
        self.word.value().load(Ordering::Relaxed) & (DIED | OWNER) == DIED
    }

    #[inline]
    pub(crate) fn word(&self) -> &Word {
        &self.word
    }
}

impl RawMutex {
    /// Takes the mutex for a moment. What it protects must be valid at any instruction, as a
    /// thread that dies within it is followed by another.
    ///
    /// The thread may have it already, when a user's code runs under it and calls back: then it is
    /// given back by the outer guard.
    ///
    /// # Safety
    /// As [`lock`](Self::lock); the guard must not be leaked.
    pub(crate) unsafe fn enter(&self) -> Guard<'_> {
        // SAFETY: the caller's promise.
        match unsafe { self.lock(Wait::Forever, || Ok::<_, Infallible>(())) } {
            Ok(_) => Guard(Some(self)),
            Err(NotTaken::Own) => Guard(None),
            Err(NotTaken::TimedOut) => unreachable!("it waits for as long as it takes"),
            Err(NotTaken::Refused(never)) => match never {},
        }
    }
}

impl RawMutex {
    /// As [`enter`](Self::enter), but not beyond this time; `None` as well if the thread has it
    /// already. Tells how the mutex was.
    ///
    /// # Safety
    /// As [`enter`](Self::enter).
    #[inline]
    pub(crate) unsafe fn enter_within(&self, wait: Wait) -> Option<(Guard<'_>, Taken)> {
        // SAFETY: the caller's promise.
        let taken = unsafe { self.lock(wait, || Ok::<_, Infallible>(())) };
        let taken = taken.ok()?;
        // Only now: a guard that is made gives the mutex back.
        Some((Guard(Some(self)), taken))
    }
}

/// Gives a [`RawMutex`] back when it is dropped.
#[derive(Debug)]
pub(crate) struct Guard<'a>(Option<&'a RawMutex>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(mutex) = self.0 {
            mutex.unlock();
        }
    }
}
