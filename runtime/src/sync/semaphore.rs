//! The semaphore, as it is used, and its permits.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kernel::Wait;
use super::semaphore_state::{NotTaken, State, is_free};
use super::slots::{Occupancy, Slot};
use crate::error::{Error, Result, asks};
use crate::shm::object::Object;

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
    pub(super) object: Object<State, ()>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
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
///     Err(AcquireTimeoutError::Timeout) => println!("all are busy"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AcquireTimeoutError {
    /// There was none for the whole time.
    #[error("all permits were taken for the whole time")]
    Timeout,
    /// This thread holds 2,000 permits and locks already, and the kernel keeps track of no more.
    #[error("{}", super::errors::TOO_MANY)]
    TooMany,
}

impl AcquireTimeoutError {
    asks! {
        is_timeout: Timeout;
    }
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
///     Err(ReleaseError::Bounded { wanted, released, .. }) => assert_eq!((wanted, released), (2, 0)),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReleaseError {
    /// A bounded semaphore would have more permits than it was made with.
    #[error(
        "{released} of {wanted} permits released: the semaphore is bounded, and no more are forgotten \
         (a permit that is held comes back when it is dropped)"
    )]
    #[non_exhaustive]
    Bounded {
        /// How many it should have been.
        wanted: usize,
        /// How many were released: 0, unless others released at the same time.
        released: usize,
    },
    /// There would be more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS), or there is no memory for
    /// so many.
    #[error("{released} of {wanted} permits released: {source}")]
    #[non_exhaustive]
    NoRoom {
        /// How many it should have been.
        wanted: usize,
        /// How many were released.
        released: usize,
        /// What there was no room for.
        r#source: Error,
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
            return Err(Error::TooLarge { what: what.into(), len: permits, max });
        }
        Ok(Self { object: Object::new(State::new(permits as u32, bounded), (), place)? })
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
    /// [`AcquireTimeoutError::Timeout`] if there was none in that time; otherwise as
    /// [`acquire`](Self::acquire).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::{AcquireTimeoutError, Semaphore};
    ///
    /// let slots = Semaphore::new(1)?;
    /// let permit = slots.acquire_timeout(Duration::from_millis(10))?;
    /// let late = slots.acquire_timeout(Duration::from_millis(10));
    /// assert!(matches!(late, Err(AcquireTimeoutError::Timeout)));
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, AcquireTimeoutError> {
        self.take(Wait::at_most(timeout)).map_err(|error| match error {
            NotTaken::TooMany => AcquireTimeoutError::TooMany,
            NotTaken::TimedOut => AcquireTimeoutError::Timeout,
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

impl<'a> Permit<'a> {
    /// Of a slot that this thread has taken.
    #[inline(always)]
    pub(super) fn of(semaphore: &'a Semaphore, slot: &'a Slot) -> Self {
        Self { semaphore, slot, of_thread: PhantomData }
    }

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
