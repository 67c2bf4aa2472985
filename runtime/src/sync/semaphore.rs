//! The semaphore: each permit is a slot, which its holder owns.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::kernel::{self, AtomicU32, Thread, WAITERS, Wait};
use super::slots::{self, Occupancy, Slot};
use super::spin::Spin;
use crate::error::{Error, Result};
use crate::shm::object::{Kind, Object};

/// What a semaphore consists of in shared memory, beside its slots.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    /// How many slots there are: free, taken, or absent.
    slots: AtomicU32,
    /// Whether more permits can be released than there were at first.
    bounded: bool,
    /// [`WAITERS`] if somebody may sleep, and on this; otherwise 0.
    gate: AtomicU32,
    /// A slot that is worth looking at first.
    hint: AtomicU32,
}

impl Kind for State {
    const NAME: &'static str = "Semaphore";
    type Tail = Slot;
    const TAIL_MAX: usize = Semaphore::MAX_PERMITS;

    #[inline]
    fn tail_len(&self) -> usize {
        self.slots.load(Ordering::SeqCst) as usize
    }

    fn check() -> Result<()> {
        super::check()
    }

    fn is_owned_here(&self, slots: &[Slot]) -> bool {
        slots::any_owned_here(slots)
    }
}

/// A number of permits, of which each thread of any process can take one, and waits while there is
/// none. Python's `Semaphore` and `BoundedSemaphore`.
///
/// This is a handle: a clone is another handle to the same semaphore, and so is what arrives when a
/// handle is sent to another process.
///
/// A permit is a guard: dropping it gives it back. To signal instead (one side makes permits, the
/// other uses them up), begin with 0, [`release`](Self::release) on the one side, and
/// [`forget`](Permit::forget) what was acquired on the other.
///
/// # When a process dies
/// The permits that its threads hold come back at once, also if it is killed. So do those of a thread
/// that ends with a leaked permit. A process that is killed while it waits harms nobody. (On kernels
/// before 5.16, or with more than 126 permits, they come back within a tenth of a second.)
///
/// ```
/// use offspring::{process, sync::Semaphore};
///
/// #[process]
/// fn download(slots: Semaphore) -> u32 {
///     let _permit = slots.acquire().unwrap(); // at most two at once
///     1
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let slots = Semaphore::new(2)?;
/// let children: Vec<_> =
///     (0..4).map(|_| download(slots.clone()).spawn()).collect::<Result<_, _>>()?;
/// for child in children {
///     child.join()?;
/// }
/// assert_eq!(slots.available(), 2);
/// # Ok(())
/// # }
/// ```
pub struct Semaphore {
    object: Object<State, ()>,
}

super::handle!(Semaphore);

/// Why [`acquire`](Semaphore::acquire) gave no permit.
///
/// Python has none.
///
/// ```
/// use offspring::sync::{AcquireError, Semaphore};
///
/// let semaphore = Semaphore::new(3000)?;
/// let permits: Result<Vec<_>, _> = (0..3000).map(|_| semaphore.acquire()).collect();
/// assert!(matches!(permits, Err(AcquireError::TooMany)));
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// This thread holds 2,000 permits and locks already, and the kernel keeps track of no more.
    #[error("{}", super::errors::TOO_MANY)]
    TooMany,
}

/// Why [`try_acquire`](Semaphore::try_acquire) gave no permit.
///
/// In Python, the `False` of `acquire(block=False)`.
///
/// ```
/// use offspring::sync::{Semaphore, TryAcquireError};
///
/// let slots = Semaphore::new(0)?;
/// match slots.try_acquire() {
///     Ok(_permit) => println!("at work"),
///     Err(TryAcquireError::WouldBlock) => println!("later, then"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// There was none.
    #[error("all permits are taken")]
    WouldBlock,
    /// This thread holds 2,000 permits and locks already, and the kernel keeps track of no more.
    #[error("{}", super::errors::TOO_MANY)]
    TooMany,
}

/// Why [`acquire_timeout`](Semaphore::acquire_timeout) gave no permit.
///
/// In Python, the `False` of `acquire(timeout=...)`.
///
/// ```
/// use std::time::Duration;
/// use offspring::sync::{AcquireTimeoutError, Semaphore};
///
/// let slots = Semaphore::new(0)?;
/// match slots.acquire_timeout(Duration::from_millis(10)) {
///     Ok(_permit) => println!("at work"),
///     Err(AcquireTimeoutError::TimedOut) => println!("all are busy"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireTimeoutError {
    /// There was none for the whole time.
    #[error("all permits were taken for the whole time")]
    TimedOut,
    /// This thread holds 2,000 permits and locks already, and the kernel keeps track of no more.
    #[error("{}", super::errors::TOO_MANY)]
    TooMany,
}

/// Why [`release`](Semaphore::release) made fewer permits than it should.
///
/// In Python, the `ValueError` of a `BoundedSemaphore`.
///
/// ```
/// use offspring::sync::{ReleaseError, Semaphore};
///
/// let slots = Semaphore::bounded(2)?;
/// slots.acquire()?.forget();
/// match slots.release(2) {
///     Err(ReleaseError::Bounded { wanted, released }) => assert_eq!((wanted, released), (2, 0)),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// A bounded semaphore would have more permits than it was made with.
    #[error(
        "{released} of {wanted} permits released: the semaphore is bounded, and no more are forgotten \
         (a permit that is held comes back when it is dropped)"
    )]
    Bounded {
        /// How many it should have been.
        wanted: usize,
        /// How many were released: 0, unless others released at the same time.
        released: usize,
    },
    /// There would be more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS), or there is no memory for
    /// so many.
    #[error("{released} of {wanted} permits released: there is no room for more")]
    NoRoom {
        /// How many it should have been.
        wanted: usize,
        /// How many were released.
        released: usize,
        /// What there was no room for.
        source: Error,
    },
}

impl Semaphore {
    /// The most permits that a semaphore can have.
    pub const MAX_PERMITS: usize = 65_535;

    /// A semaphore with so many permits, which can get more. Python's `Semaphore(permits)`.
    ///
    /// # Errors
    /// As [`Mutex::new`](crate::sync::Mutex::new), and
    /// [`Error::TooLarge`] for more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    #[track_caller]
    pub fn new(permits: usize) -> Result<Self> {
        Self::with(permits, false, Location::caller())
    }

    /// A semaphore that never has more than so many permits: to release one too many is an error.
    /// Python's `BoundedSemaphore(permits)`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// ```
    /// use offspring::sync::{ReleaseError, Semaphore};
    ///
    /// let slots = Semaphore::bounded(2)?;
    /// assert!(matches!(slots.release(1), Err(ReleaseError::Bounded { .. })));
    /// assert_eq!(slots.available(), 2);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn bounded(permits: usize) -> Result<Self> {
        Self::with(permits, true, Location::caller())
    }

    fn with(permits: usize, bounded: bool, place: &Location<'_>) -> Result<Self> {
        if permits > Self::MAX_PERMITS {
            let (what, max) = ("permits of a Semaphore", Self::MAX_PERMITS);
            return Err(Error::TooLarge { what, len: permits, max });
        }
        let state = State {
            slots: AtomicU32::new(permits as u32),
            bounded,
            gate: AtomicU32::new(0),
            hint: AtomicU32::new(0),
        };
        Ok(Self { object: Object::new(state, (), place)? })
    }

    /// Waits for a permit, and takes it.
    ///
    /// # Errors
    /// [`AcquireError::TooMany`] if this thread holds 2,000 permits and locks.
    #[inline(always)]
    pub fn acquire(&self) -> Result<Permit<'_>, AcquireError> {
        match self.take(Wait::Forever) {
            Ok(permit) => Ok(permit),
            Err(NotTaken::TooMany) => Err(AcquireError::TooMany),
            Err(NotTaken::TimedOut) => unreachable!("it waits for as long as it takes"),
        }
    }

    /// Takes a permit, if there is one. Python's `acquire(block=False)`.
    ///
    /// # Errors
    /// [`TryAcquireError::WouldBlock`] if there is none; otherwise as [`acquire`](Self::acquire).
    ///
    /// ```
    /// use offspring::sync::{Semaphore, TryAcquireError};
    ///
    /// let slots = Semaphore::new(1)?;
    /// let permit = slots.try_acquire()?;
    /// assert!(matches!(slots.try_acquire(), Err(TryAcquireError::WouldBlock)));
    /// drop(permit);
    /// assert!(slots.try_acquire().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, TryAcquireError> {
        self.take(Wait::Never).map_err(|error| match error {
            NotTaken::TooMany => TryAcquireError::TooMany,
            NotTaken::TimedOut => TryAcquireError::WouldBlock,
        })
    }

    /// Waits for a permit for at most `timeout`, by the monotonic clock. Python's
    /// `acquire(timeout=...)`.
    ///
    /// # Errors
    /// [`AcquireTimeoutError::TimedOut`] if there was none in that time; otherwise as
    /// [`acquire`](Self::acquire).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::{AcquireTimeoutError, Semaphore};
    ///
    /// let slots = Semaphore::new(1)?;
    /// let permit = slots.acquire_timeout(Duration::from_millis(10))?;
    /// let late = slots.acquire_timeout(Duration::from_millis(10));
    /// assert!(matches!(late, Err(AcquireTimeoutError::TimedOut)));
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, AcquireTimeoutError> {
        self.take(Wait::at_most(timeout)).map_err(|error| match error {
            NotTaken::TooMany => AcquireTimeoutError::TooMany,
            NotTaken::TimedOut => AcquireTimeoutError::TimedOut,
        })
    }

    /// Makes `permits` more permits, or brings back so many that were
    /// [forgotten](Permit::forget). Permits that are held come back by being dropped, not by this.
    ///
    /// # Errors
    /// [`ReleaseError::Bounded`] if a bounded semaphore would have too many,
    /// [`ReleaseError::NoRoom`] if there would be more than [`MAX_PERMITS`](Self::MAX_PERMITS), or
    /// there is no memory for them.
    ///
    /// ```
    /// use offspring::sync::Semaphore;
    ///
    /// let jobs = Semaphore::new(0)?;
    /// jobs.release(2)?;
    /// assert_eq!(jobs.available(), 2);
    /// jobs.acquire()?.forget(); // it is used up
    /// assert_eq!(jobs.available(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(&self, permits: usize) -> Result<(), ReleaseError> {
        let state = self.object.state();
        let slots = self.object.tail();
        let wanted = permits;
        if state.bounded {
            let absent = slots.iter().filter(|slot| slot.occupancy() == Occupancy::Absent);
            if absent.count() < wanted {
                return Err(ReleaseError::Bounded { wanted, released: 0 });
            }
        }
        let mut released = 0;
        for slot in slots {
            if released == wanted {
                return Ok(());
            }
            released += usize::from(self.wake_after(1, || slot.restore()));
        }
        while released < wanted {
            if state.bounded {
                return Err(ReleaseError::Bounded { wanted, released });
            }
            let len = state.slots.load(Ordering::SeqCst);
            // As many again, so that what there is room for is made, and what there is not is not.
            let room = (Self::MAX_PERMITS - len as usize).min(len.max(64) as usize);
            let more = (wanted - released).min(room.max(1));
            if let Err(source) = self.object.grow_tail(len as usize + more) {
                return Err(ReleaseError::NoRoom { wanted, released, source });
            }
            // Slots that have never been used are free. Nobody who sleeps watches them yet: all look.
            let longer = len + more as u32;
            let added = self.wake_after(u32::MAX, || {
                state
                    .slots
                    .compare_exchange(len, longer, Ordering::SeqCst, Ordering::SeqCst)
                    .is_ok()
            });
            released += if added { more } else { 0 };
        }
        Ok(())
    }

    /// How many permits can be taken now. Python's `get_value`.
    pub fn available(&self) -> usize {
        self.object.tail().iter().filter(|slot| is_free(slot)).count()
    }

    /// Makes a permit, and wakes so many of those who wait; for who is killed in between, the kernel
    /// wakes one.
    fn wake_after(&self, count: u32, make: impl FnOnce() -> bool) -> bool {
        Thread::current().with_pending(&self.object.state().gate, || {
            let made = make();
            if made {
                self.open_gate(count);
            }
            made
        })
    }

    /// Wakes so many of those who wait.
    #[inline]
    fn open_gate(&self, count: u32) {
        let gate = &self.object.state().gate;
        if gate.load(Ordering::SeqCst) != 0 {
            gate.store(0, Ordering::SeqCst);
            kernel::wake(gate, count);
        }
    }

    #[inline(always)]
    fn take(&self, wait: Wait) -> Result<Permit<'_>, NotTaken> {
        if Thread::current().owns_too_many() {
            return Err(NotTaken::TooMany);
        }
        if let Some(permit) = self.take_free(false) {
            return Ok(permit);
        }
        if wait == Wait::Never { Err(NotTaken::TimedOut) } else { self.wait_and_take(wait) }
    }

    /// Takes a free slot. `watched` says that others may sleep.
    #[inline(always)]
    fn take_free(&self, watched: bool) -> Option<Permit<'_>> {
        let (state, slots) = (self.object.state(), self.object.tail());
        let first = state.hint.load(Ordering::Relaxed) as usize;
        let first = if first < slots.len() { first } else { 0 };
        if let [slot] = slots {
            // SAFETY: the segment stays mapped for as long as a handle lives, which this borrows,
            // and beyond that if a thread of this process owns a slot then.
            let taken = unsafe { slot.take(watched) };
            return taken.then_some(slot).map(|slot| self.permit(slot));
        }
        let (before, from) = slots.split_at(first);
        let mut in_turn = from.iter().chain(before).enumerate();
        // SAFETY: as above.
        let (turn, slot) = in_turn.find(|(_, slot)| unsafe { slot.take(watched) })?;
        if slots.len() > 1 {
            state.hint.store((first + turn + 1) as u32, Ordering::Relaxed);
        }
        Some(self.permit(slot))
    }

    #[inline(always)]
    fn permit<'a>(&'a self, slot: &'a Slot) -> Permit<'a> {
        Permit { semaphore: self, slot, of_thread: PhantomData }
    }

    #[cold]
    fn wait_and_take(&self, wait: Wait) -> Result<Permit<'_>, NotTaken> {
        let gate = &self.object.state().gate;
        let mut spin = Spin::new();
        let mut slept = false;
        'taken: loop {
            if let Some(permit) = self.take_free(slept) {
                if slept {
                    // Others may still sleep, and two wake-ups may have gone to this one.
                    gate.store(WAITERS, Ordering::SeqCst);
                    if self.any_free() {
                        self.open_gate(1);
                    }
                }
                return Ok(permit);
            }
            while !slept && spin.pause() {
                if self.any_free() {
                    spin.paid();
                    continue 'taken;
                }
            }
            gate.store(WAITERS, Ordering::SeqCst);
            let slots = self.object.tail();
            slept = true;
            let more = || {
                if self.object.tail().len() > slots.len() {
                    // The others do not watch the new ones either.
                    kernel::wake(gate, u32::MAX);
                }
            };
            // Who comes to sleep when the gate is closed again, and there are more slots by now,
            // would not watch these.
            let words = [(gate, WAITERS), (&self.object.state().slots, slots.len() as u32)];
            if !slots::wait_with(words, slots.iter(), wait, || self.any_free(), more) {
                // A wake-up that came at the last moment must not be lost.
                let last = self.take_free(true);
                Thread::current().awake();
                return last.ok_or(NotTaken::TimedOut);
            }
        }
    }

    fn any_free(&self) -> bool {
        self.object.tail().iter().any(is_free)
    }
}

fn is_free(slot: &Slot) -> bool {
    matches!(slot.occupancy(), Occupancy::Free | Occupancy::Died)
}

enum NotTaken {
    TimedOut,
    TooMany,
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .field("bounded", &self.object.state().bounded)
            .field("made_at", &self.object.place())
            .finish()
    }
}

/// A permit of a [`Semaphore`]; dropping it gives it back. In Python, what is in the block of a
/// `with`.
///
/// It belongs to the thread that acquired it, whose death gives it back, and so cannot be moved to
/// another. To hand over a right to go on, [`forget`](Self::forget) it, and have the other side
/// [`release`](Semaphore::release).
#[must_use = "the permit is given back at once if it is not kept"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    slot: &'a Slot,
    of_thread: PhantomData<*const ()>,
}

// SAFETY: shared, it gives out nothing.
unsafe impl Sync for Permit<'_> {}

impl Permit<'_> {
    /// Keeps the permit from coming back: the semaphore has one less from now on, until somebody
    /// [releases](Semaphore::release) one.
    ///
    /// ```
    /// use offspring::{process, sync::Semaphore};
    ///
    /// #[process]
    /// fn prepare(ready: Semaphore) {
    ///     ready.release(1).unwrap();
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ready = Semaphore::new(0)?;
    /// let child = prepare(ready.clone()).spawn()?;
    /// ready.acquire()?.forget(); // waits for the child, and uses up what it has released
    /// assert_eq!(ready.available(), 0);
    /// child.join()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn forget(self) {
        self.slot.remove();
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.slot.give_back() {
            self.semaphore.open_gate(1);
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
