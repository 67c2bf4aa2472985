//! What is done once, by whichever process comes first: the protocol, and [`Once`] itself.

#![allow(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::errors::{Deadlock, NotLocked, PoisonCause, PoisonError};
use super::kernel::{self, AtomicU32, DIED, OWNER, Thread, WAITERS, Wait};
use super::lock::{Lock, Subject};
use crate::error::Result;
use crate::shm::object::{Kind, Object};
use crate::shm::segment::Segment;

/// What says that the work is done. The bits of an owner are 0, so that the kernel can wake a sleeper for
/// one who is killed before it did.
const DONE: u32 = 0x8000_0000;

/// What it consists of in shared memory.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State<const VALUE: bool> {
    lock: Lock,
    done: AtomicU32,
}

impl<const VALUE: bool> Kind for State<VALUE> {
    const NAME: &'static str = if VALUE { "OnceLock" } else { "Once" };
    type Tail = ();

    fn check() -> Result<()> {
        super::check()
    }

    fn is_owned_here(&self, _tail: &[()]) -> bool {
        self.lock.is_owned_here()
    }
}

/// Gives the lock back, poisoned if the work has begun and unwinds.
struct Release<'a> {
    lock: &'a Lock,
    working: bool,
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.lock.release(!self.working, None);
    }
}

impl<const VALUE: bool> State<VALUE> {
    pub(super) const fn new() -> Self {
        Self { lock: Lock::new(), done: AtomicU32::new(0) }
    }

    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire) != 0
    }

    fn subject<'a>(&self, segment: &'a Segment) -> Subject<'a> {
        Subject { what: Self::NAME, segment, detector: None }
    }

    /// Has `work` done by one thread of all. With `force` also if it failed before.
    ///
    /// # Safety
    /// The state must stay where it is until the thread has ended, or has returned from this.
    pub(super) unsafe fn do_once(
        &self,
        segment: &Segment,
        at: &'static Location<'static>,
        force: bool,
        work: impl FnOnce(),
    ) -> Result<(), OnceError> {
        if self.is_done() {
            return Ok(());
        }
        let subject = self.subject(segment);
        // SAFETY: the caller's promise.
        unsafe { self.lock.acquire(Wait::Forever, at, subject, || true)? };
        let mut release = Release { lock: &self.lock, working: false };
        if self.is_done() {
            return Ok(());
        }
        if let Some(how) = self.lock.poisoned(subject)
            && !force
        {
            return Err(OnceError::Poisoned(PoisonError::new((), how)));
        }
        release.working = true;
        work();
        release.working = false;
        self.lock.heal();
        Thread::current().with_pending(&self.done, || {
            // Published last: whoever is killed before this has done nothing that anybody sees.
            self.done.store(DONE, Ordering::SeqCst);
            kernel::wake(&self.done, u32::MAX);
        });
        Ok(())
    }

    /// Waits until the work is done; false when the time is up.
    ///
    /// All who wait here are woken when the work is done. Without a value they are to be told as well if
    /// it is begun and not finished: therefore they sleep on the lock's word, too, of which the kernel, or
    /// who unwinds, wakes *one* sleeper. That one wakes the others, and so does everyone who leaves. None
    /// stays asleep there who should not, because the lock is never free with the work neither done nor
    /// failed, but before it was first begun.
    ///
    /// | killed | those who wait |
    /// |---|---|
    /// | in the middle of the work | are told, or, where there will be a value, sleep on: the next who comes makes it |
    /// | when it has said that it is done, and woken nobody | are woken by the kernel: one, as that word is pending, who wakes the others |
    /// | woken, before it has woken the others | likewise: it sleeps with the word pending; or the word has an owner by then, who wakes one when it gives it back |
    /// | while it waits, otherwise | notice nothing |
    ///
    /// # Safety
    /// As [`do_once`](Self::do_once).
    pub(super) unsafe fn wait(
        &self,
        segment: &Segment,
        at: &'static Location<'static>,
        wait: Wait,
    ) -> Result<bool, OnceError> {
        let thread = Thread::current();
        let word = self.lock.raw().word().value();
        let mut in_time = true;
        loop {
            let seen = word.load(Ordering::SeqCst);
            if self.is_done() {
                return Ok(true);
            }
            let poison = self.lock.poison_mark().load(Ordering::SeqCst);
            if seen & OWNER == thread.tid() || Self::has_failed(seen, poison) {
                let subject = self.subject(segment);
                // SAFETY: the caller's promise.
                match unsafe { self.lock.acquire(Wait::Never, at, subject, || true) } {
                    Ok(()) => {
                        let _release = Release { lock: &self.lock, working: false };
                        if let Some(how) = self.lock.poisoned(subject)
                            && !self.is_done()
                        {
                            return Err(OnceError::Poisoned(PoisonError::new((), how)));
                        }
                    }
                    Err(NotLocked::TimedOut(_)) => {} // somebody is at it again
                    Err(reason) => return Err(reason.into()),
                }
                continue;
            }
            if !in_time {
                return Ok(false);
            }
            in_time = self.sleep(thread, (seen, poison), wait);
        }
    }

    /// Whether those who wait are to be told that the work was begun and not finished, by the lock's word
    /// and its mark.
    fn has_failed(word: u32, poison: u32) -> bool {
        !VALUE && word & OWNER == 0 && (word & DIED != 0 || poison != 0)
    }

    /// Sleeps while nothing is done, and the lock is as it was seen; false when the time is up. May return
    /// early for no reason.
    fn sleep(&self, thread: Thread, (seen, poison): (u32, u32), wait: Wait) -> bool {
        if VALUE {
            return thread.with_pending(&self.done, || {
                let in_time = kernel::wait(&self.done, 0, wait);
                if self.is_done() {
                    kernel::wake(&self.done, u32::MAX);
                }
                in_time
            });
        }
        let word = self.lock.raw().word().value();
        let watched = seen | WAITERS;
        if seen != watched
            && word.compare_exchange(seen, watched, Ordering::SeqCst, Ordering::SeqCst).is_err()
        {
            return true;
        }
        thread.with_pending(word, || {
            // The mark as well: since it was looked at, the word may have changed, and be as it was.
            let mark = self.lock.poison_mark();
            let words = [(&self.done, 0), (word, watched), (mark, poison)];
            let in_time = kernel::wait_any(&words, wait);
            let now = (word.load(Ordering::SeqCst), mark.load(Ordering::SeqCst));
            if self.is_done() || Self::has_failed(now.0, now.1) {
                kernel::wake(word, u32::MAX);
            }
            in_time
        })
    }
}

/// Why [`Once::call_once`] or [`Once::wait`] has not seen to it that the work is done.
///
/// ```
/// use offspring::sync::{Once, OnceError};
///
/// let prepared = Once::new()?;
/// match prepared.call_once(|| println!("preparing")) {
///     Ok(()) => {}
///     Err(OnceError::Poisoned(poisoned)) => println!("{} left it half done", poisoned.holder()),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OnceError {
    /// Who did the work before panicked or died in the middle of it. See
    /// [`call_once_force`](Once::call_once_force).
    #[error(
        "the work of the {} was begun and not finished, as {} {}: look what is there, then call \
         `call_once_force`",
        .0.lock_name(),
        .0.holder(),
        if .0.cause() == PoisonCause::Panicked { "panicked" } else { "died" }
    )]
    Poisoned(PoisonError<()>),
    /// The work itself asked for the work to be done, or waits for it.
    #[error("the work waits for itself: {0}")]
    Deadlock(Deadlock),
    /// This thread holds 2,000 locks already, and the kernel keeps track of no more.
    #[error("{}", super::errors::TOO_MANY)]
    TooMany,
}

impl From<NotLocked> for OnceError {
    fn from(reason: NotLocked) -> Self {
        match reason {
            NotLocked::Deadlock(deadlock) => Self::Deadlock(deadlock),
            NotLocked::TooMany => Self::TooMany,
            NotLocked::TimedOut(_) => unreachable!("it waits for as long as it takes"),
            NotLocked::NoRoom(_) => unreachable!("a lock has no slots"),
        }
    }
}

/// Work that is done once, by whichever thread of whichever process comes first; the others wait
/// until it is done. As `std::sync::Once`. Python has none.
///
/// This is a handle: a clone is another handle to the same, and so is what arrives when a handle is
/// sent to another process.
///
/// # When a process dies
/// If the one that does the work panics or is killed, the others are told, by
/// [`OnceError::Poisoned`]: the work may be half done. [`call_once_force`](Self::call_once_force)
/// does it all the same. Who is killed while it waits harms nobody.
///
/// ```
/// use offspring::{process, sync::{Once, Semaphore}};
///
/// #[process]
/// fn prepare(prepared: Once, count: Semaphore) {
///     prepared.call_once(|| count.release(1).unwrap()).unwrap();
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (prepared, count) = (Once::new()?, Semaphore::new(0)?);
/// let first = prepare(prepared.clone(), count.clone()).spawn()?;
/// let second = prepare(prepared.clone(), count.clone()).spawn()?;
/// first.join()?;
/// second.join()?;
/// assert_eq!(count.available(), 1);
/// # Ok(())
/// # }
/// ```
pub struct Once {
    object: Object<State<false>, ()>,
}

super::handle!(Once);

impl Once {
    /// Work that was not done yet.
    ///
    /// # Errors
    /// As [`Mutex::new`](crate::sync::Mutex::new).
    #[track_caller]
    pub fn new() -> Result<Self> {
        Ok(Self { object: Object::new(State::new(), (), Location::caller())? })
    }

    /// Does the work, if nobody has; returns when it is done.
    ///
    /// # Errors
    /// [`OnceError`]: above all [`Poisoned`](OnceError::Poisoned), if it was begun and not finished.
    ///
    /// # Panics
    /// If `work` does.
    #[track_caller]
    pub fn call_once(&self, work: impl FnOnce()) -> Result<(), OnceError> {
        self.call(false, work)
    }

    /// As [`call_once`](Self::call_once), also if the work was begun by others who did not finish it.
    ///
    /// # Errors
    /// [`OnceError`], but not [`Poisoned`](OnceError::Poisoned).
    ///
    /// # Panics
    /// If `work` does.
    ///
    /// ```
    /// use offspring::sync::Once;
    ///
    /// let once = Once::new()?;
    /// std::thread::scope(|scope| {
    ///     let _ = scope.spawn(|| once.call_once(|| panic!())).join();
    /// });
    /// assert!(once.call_once(|| {}).is_err());
    /// once.call_once_force(|| {})?;
    /// assert!(once.is_completed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn call_once_force(&self, work: impl FnOnce()) -> Result<(), OnceError> {
        self.call(true, work)
    }

    #[track_caller]
    fn call(&self, force: bool, work: impl FnOnce()) -> Result<(), OnceError> {
        // SAFETY: the segment stays mapped for as long as a handle lives, which this borrows.
        unsafe {
            self.object.state().do_once(self.object.segment(), Location::caller(), force, work)
        }
    }

    /// Waits until the work is done, by whomever, and does not do it. Returns at once if it is done.
    ///
    /// # Errors
    /// [`Poisoned`](OnceError::Poisoned) if it was begun and not finished, before or while this waits:
    /// somebody has to call [`call_once_force`](Self::call_once_force). [`Deadlock`](OnceError::Deadlock)
    /// if this thread is just doing it. [`TooMany`](OnceError::TooMany) if it holds 2,000 locks, and so cannot
    /// see what became of the work.
    ///
    /// ```
    /// use offspring::{process, sync::Once};
    ///
    /// #[process]
    /// fn prepare(prepared: Once) {
    ///     prepared.call_once(|| println!("preparing")).unwrap();
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let prepared = Once::new()?;
    /// let child = prepare(prepared.clone()).spawn()?;
    /// prepared.wait()?;
    /// assert!(prepared.is_completed());
    /// # child.join()?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<(), OnceError> {
        self.wait_until(Wait::Forever).map(|_done| ())
    }

    /// As [`wait`](Self::wait), for at most `timeout`, by the monotonic clock; says whether the work is
    /// done.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::Once;
    ///
    /// let once = Once::new()?;
    /// assert!(!once.wait_timeout(Duration::from_millis(10))?);
    /// once.call_once(|| {})?;
    /// assert!(once.wait_timeout(Duration::from_millis(10))?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, OnceError> {
        self.wait_until(Wait::at_most(timeout))
    }

    #[track_caller]
    fn wait_until(&self, wait: Wait) -> Result<bool, OnceError> {
        // SAFETY: as in `call`.
        unsafe { self.object.state().wait(self.object.segment(), Location::caller(), wait) }
    }

    /// Whether the work is done.
    pub fn is_completed(&self) -> bool {
        self.object.state().is_done()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("completed", &self.is_completed())
            .field("made_at", &self.object.place())
            .finish()
    }
}
