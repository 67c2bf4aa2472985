//! The mutex.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::detector::DeadlockDetector;
use super::errors::{LockError, LockTimeoutError, NotLocked, PoisonError, TryLockError};
use super::kernel::Wait;
use super::lock::{Lock, Subject};
use super::order;
use crate::error::Result;
use crate::shm::object::{Kind, Object};
use crate::shm::segment::{Id, Segment};
use crate::shm::{Shareable, Zeroable};

impl Kind for Lock {
    const NAME: &'static str = "Mutex";
    type Tail = ();

    fn check() -> Result<()> {
        super::check()
    }

    fn is_owned_here(&self, _tail: &[()]) -> bool {
        self.is_owned_here()
    }
}

/// A value that one thread at a time can use, of all threads of all processes that have a handle.
///
/// As `std::sync::Mutex`, with the value in shared memory. Python's `Lock`, together with the
/// `Value` or `Array` that it protects; for a lock alone, `Mutex<()>`.
///
/// This is a handle: a clone is another handle to the same mutex, and so is what arrives when a
/// handle is sent to another process. Each process that has one holds a descriptor and a page of
/// memory. When the last handle is gone, so is the mutex. (Hence no `get_mut`, `into_inner` or
/// `Default`: no handle knows that it is the only one, and making one can fail.)
///
/// Python's `Lock` may be released by another process than the one that has taken it; this one may
/// not. For that, use a [`Semaphore`](crate::sync::Semaphore) and
/// [`Permit::forget`](crate::sync::Permit::forget).
///
/// The value is plain data, [`Shareable`]. A slice is made by [`from_slice`](Mutex::from_slice) or
/// [`from_fn`](Mutex::from_fn).
///
/// # When a process dies
/// If the holder panics, exits or is killed at whatever moment, the mutex is *poisoned*: the next
/// [`lock`](Self::lock) returns at once, with a [`PoisonError`] that names the holder, and has the
/// guard inside. A process that is killed while it waits harms nobody.
///
/// # Not in a signal handler
/// A handler that interrupts a lock operation must not do another. To wake a thread from a handler,
/// use an [`Event`](crate::sync::Event).
///
/// ```
/// use offspring::{process, sync::Mutex};
///
/// #[process]
/// fn deposit(balance: Mutex<i64>, times: u32) {
///     for _ in 0..times {
///         *balance.lock().unwrap() += 1;
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let balance = Mutex::new(0)?;
/// let children = [deposit(balance.clone(), 500).spawn()?, deposit(balance.clone(), 500).spawn()?];
/// for child in children {
///     child.join()?;
/// }
/// assert_eq!(*balance.lock().unwrap(), 1000);
/// # Ok(())
/// # }
/// ```
pub struct Mutex<T: ?Sized> {
    object: Object<Lock, T>,
    detector: Option<DeadlockDetector>,
}

impl<T: Shareable> Mutex<T> {
    /// A mutex that protects `value`.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) if there is no descriptor left,
    /// [`Error::SharedMemory`](crate::Error::SharedMemory) if there is no memory,
    /// [`Error::NoRobustLocks`](crate::Error::NoRobustLocks) on a system that cannot have one.
    #[track_caller]
    pub fn new(value: T) -> Result<Self> {
        Object::new(Lock::new(), value, Location::caller()).map(Self::of)
    }
}

impl<T: Shareable> Mutex<[T]> {
    /// A mutex that protects a copy of `values`.
    ///
    /// # Errors
    /// As [`new`](Mutex::new).
    ///
    /// ```
    /// use offspring::sync::Mutex;
    ///
    /// let samples = Mutex::from_slice(&[0.5, 1.5])?;
    /// samples.lock().unwrap()[0] += 0.5;
    /// assert_eq!(samples.lock().unwrap().iter().sum::<f64>(), 2.5);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn from_slice(values: &[T]) -> Result<Self>
    where
        T: Copy,
    {
        Object::from_slice(Lock::new(), values, Location::caller()).map(Self::of)
    }

    /// A mutex that protects `len` values: `element(0)`, `element(1)` and so on.
    ///
    /// # Errors
    /// As [`new`](Mutex::new), and [`Error::TooLarge`](crate::Error::TooLarge) for more than any
    /// memory holds.
    ///
    /// ```
    /// use offspring::sync::Mutex;
    ///
    /// let squares = Mutex::from_fn(4, |index| index * index)?;
    /// assert_eq!(*squares.lock().unwrap(), [0, 1, 4, 9]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn from_fn(len: usize, element: impl FnMut(usize) -> T) -> Result<Self> {
        Object::from_fn(Lock::new(), len, Location::caller(), element).map(Self::of)
    }

    /// A mutex that protects so many zeros. Python's `Array('d', len)`.
    ///
    /// # Errors
    /// As [`from_fn`](Mutex::from_fn).
    ///
    /// ```
    /// use offspring::sync::Mutex;
    ///
    /// let totals = Mutex::<[f64]>::zeroed(3)?;
    /// totals.lock().unwrap()[1] = 2.5;
    /// assert_eq!(*totals.lock().unwrap(), [0.0, 2.5, 0.0]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn zeroed(len: usize) -> Result<Self>
    where
        T: Zeroable,
    {
        Object::zeroed(Lock::new(), len, Location::caller()).map(Self::of)
    }
}

impl<T: ?Sized> Mutex<T> {
    fn of(object: Object<Lock, T>) -> Self {
        Self { object, detector: None }
    }

    /// Has waiting for this mutex checked for cycles: see [`DeadlockDetector`]. It holds for this
    /// handle and for what is cloned from it or sent, so do it before there are others.
    #[must_use]
    pub fn detect_deadlocks(mut self, detector: &DeadlockDetector) -> Self {
        self.detector = Some(detector.clone());
        self
    }

    /// Waits for the mutex, and takes it.
    ///
    /// # Errors
    /// [`Poisoned`](LockError::Poisoned), with the guard, if who held it before panicked or died.
    /// [`Deadlock`](LockError::Deadlock), at once, if this thread holds it already, or if waiting
    /// for it would close a cycle that a [`DeadlockDetector`] sees.
    /// [`TooMany`](LockError::TooMany) if this thread holds 2,000 locks.
    // Always (as with the other locks), so that the guard is made where it is used: to pass it
    // through memory costs more than the compare-and-swap.
    #[inline(always)]
    #[track_caller]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, LockError<MutexGuard<'_, T>>> {
        self.acquire(Wait::Forever, Location::caller())?;
        Ok(self.guard()?)
    }

    /// Takes the mutex, if nobody holds it. Python's `acquire(block=False)`.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock) if somebody does, be it this thread; otherwise as
    /// [`lock`](Self::lock).
    ///
    /// ```
    /// use offspring::sync::{Mutex, TryLockError};
    ///
    /// let mutex = Mutex::new(1)?;
    /// let held = mutex.lock().unwrap();
    /// assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
    /// drop(held);
    /// assert_eq!(*mutex.try_lock().unwrap(), 1);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError<MutexGuard<'_, T>>> {
        self.acquire(Wait::Never, Location::caller())?;
        Ok(self.guard()?)
    }

    /// Waits for the mutex for at most `timeout`, by the monotonic clock. Python's
    /// `acquire(timeout=...)`.
    ///
    /// # Errors
    /// [`Timeout`](LockTimeoutError::Timeout) if somebody else held it for all that time;
    /// otherwise as [`lock`](Self::lock).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::{LockTimeoutError, Mutex};
    ///
    /// let mutex = Mutex::new(1)?;
    /// let held = mutex.lock().unwrap();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         let late = mutex.lock_timeout(Duration::from_millis(10));
    ///         assert!(matches!(late, Err(LockTimeoutError::Timeout { .. })));
    ///     });
    /// });
    /// drop(held);
    /// assert!(mutex.lock_timeout(Duration::from_millis(10)).is_ok());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<MutexGuard<'_, T>, LockTimeoutError<MutexGuard<'_, T>>> {
        self.acquire(Wait::at_most(timeout), Location::caller())?;
        Ok(self.guard()?)
    }

    /// Whether the mutex is poisoned: see [`PoisonError`].
    pub fn is_poisoned(&self) -> bool {
        self.lock_state().is_poisoned()
    }

    /// Makes the mutex a sound one again, once what it protects has been put right.
    ///
    /// ```
    /// use offspring::sync::{LockError, Mutex};
    ///
    /// let mutex = Mutex::new(1)?;
    /// std::thread::scope(|scope| {
    ///     let _ = scope.spawn(|| { let _held = mutex.lock(); panic!() }).join();
    /// });
    /// assert!(mutex.is_poisoned());
    ///
    /// let mut guard = mutex.lock().unwrap_or_else(LockError::into_inner);
    /// *guard = 0;
    /// mutex.clear_poison();
    /// drop(guard);
    /// assert!(mutex.lock().is_ok());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn clear_poison(&self) {
        // A holder that has died, and that nobody has been told of, is dealt with as well.
        if self.lock_state().raw().is_orphaned() {
            drop(self.try_lock());
        }
        self.lock_state().heal();
    }

    #[inline]
    pub(super) fn lock_state(&self) -> &Lock {
        self.object.state()
    }

    pub(super) fn id(&self) -> Id {
        self.object.id()
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        self.object.segment()
    }

    #[inline]
    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            what: Lock::NAME,
            segment: self.object.segment(),
            detector: self.detector.as_ref(),
        }
    }

    /// Takes the lock; then there must be a [`guard`](Self::guard).
    #[inline]
    pub(super) fn acquire(
        &self,
        wait: Wait,
        at: &'static Location<'static>,
    ) -> Result<(), NotLocked> {
        // SAFETY: the segment stays mapped for as long as a handle lives, which this borrows, and
        // beyond that if a thread of this process owns the lock then.
        unsafe { self.lock_state().acquire(wait, at, self.subject(), || true)? };
        if let Some(detector) = &self.detector {
            detector.acquired(self.object.segment(), false);
        }
        Ok(())
    }

    /// The guard of the lock that was just taken.
    #[inline(always)]
    pub(super) fn guard(&self) -> Result<MutexGuard<'_, T>, PoisonError<MutexGuard<'_, T>>> {
        self.checked(self.guard_anyway(false))
    }

    #[inline(always)]
    fn checked<'a>(
        &self,
        guard: MutexGuard<'a, T>,
    ) -> Result<MutexGuard<'a, T>, PoisonError<MutexGuard<'a, T>>> {
        match self.lock_state().poisoned(self.subject()) {
            None => Ok(guard),
            Some(how) => Err(PoisonError::new(guard, how)),
        }
    }

    /// The guard of the lock that was just taken, poisoned or not.
    #[inline(always)]
    pub(super) fn guard_anyway(&self, ordered: bool) -> MutexGuard<'_, T> {
        let panicking = thread::panicking();
        MutexGuard { mutex: self, panicking, ordered, of_thread: PhantomData }
    }

    /// Gives the lock back, poisoned if the thread panics now and did not `panicking` then.
    #[inline(always)]
    pub(super) fn release(&self, panicking: bool) {
        let detector = self.detector.as_ref().map(|detector| (detector, &**self.object.segment()));
        self.lock_state().release(panicking, detector);
    }
}

super::handle!(Mutex<T>, with detector);

/// Shows the value, if nobody holds it, and else who does.
impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Mutex");
        let value = match self.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(_) => None,
        };
        match &value {
            Some(guard) => out.field("data", &&**guard),
            None => out.field("locked_by", &super::Shown(self.lock_state().holder())),
        };
        drop(value);
        out.field("poisoned", &self.is_poisoned()).field("made_at", &self.object.place()).finish()
    }
}

/// Access to what a [`Mutex`] protects; dropping it gives the mutex back. In Python, what is in the
/// block of a `with`.
///
/// It belongs to the thread that locked, so it cannot be moved to another.
///
/// ```compile_fail,E0277
/// let mutex = offspring::sync::Mutex::new(0).unwrap();
/// let guard = mutex.lock().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(|| drop(guard));
/// });
/// ```
#[must_use = "the mutex is given back at once if the guard is not kept"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    panicking: bool,
    /// Whether it was taken by [`lock_all`](super::lock_all), which keeps a list.
    ordered: bool,
    of_thread: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives out `&T` and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Whether it may be given back and taken again.
    pub(super) fn check_wait(&self, at: &Location<'_>) -> Result<(), NotLocked> {
        if self.ordered {
            order::check_wait(self.mutex, at).map_err(NotLocked::Deadlock)?;
        }
        Ok(())
    }

    /// Gives the mutex back without poisoning it, to wait for a condition.
    pub(super) fn release_to_wait(self) -> Released<'a, T> {
        let Self { mutex, ordered, .. } = self;
        if ordered {
            order::given_back(mutex.id());
        }
        mutex.release(true);
        std::mem::forget(self);
        Released { mutex, ordered }
    }
}

/// A mutex that is not held while a thread waits for a condition.
pub(super) struct Released<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    ordered: bool,
}

impl<'a, T: ?Sized> Released<'a, T> {
    /// Takes the mutex again; then there must be a [`guard`](Self::guard).
    pub(super) fn acquire(&self, at: &'static Location<'static>) -> Result<(), NotLocked> {
        self.mutex.acquire(Wait::Forever, at)?;
        if self.ordered {
            order::taken_again(self.mutex, at);
        }
        Ok(())
    }

    pub(super) fn guard(self) -> Result<MutexGuard<'a, T>, PoisonError<MutexGuard<'a, T>>> {
        self.mutex.checked(self.mutex.guard_anyway(self.ordered))
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.ordered {
            order::given_back(self.mutex.id());
        }
        self.mutex.release(self.panicking);
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value was written when the mutex was made, any mixture of bytes that a killed
        // process has left is one, and this thread alone holds the lock.
        unsafe { self.mutex.object.content().as_ref() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; and the guard is borrowed for changes.
        unsafe { self.mutex.object.content().as_mut() }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
