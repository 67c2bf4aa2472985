//! The lock that its holder can take again.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::detector::DeadlockDetector;
use super::errors::{LockError, LockTimeoutError, NotLocked, PoisonError, TryLockError};
use super::kernel::{AtomicU32, Thread, Wait};
use super::lock::{Lock, Subject};
use crate::error::Result;
use crate::shm::object::{Kind, Object};
use crate::shm::{Shareable, Zeroable};

/// What the lock consists of in shared memory.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    lock: Lock,
    /// How many guards the holder has beyond the first. Only the holder reads and writes it, and
    /// sets it to 0 when it takes the lock.
    again: AtomicU32,
}

impl Kind for State {
    const NAME: &'static str = "ReentrantLock";
    type Tail = ();

    fn check() -> Result<()> {
        super::check()
    }

    fn is_owned_here(&self, _tail: &[()]) -> bool {
        self.lock.is_owned_here()
    }
}

/// A value that one thread at a time can use, and that this thread can lock again while it holds
/// it. Python's `RLock`.
///
/// The guards give shared access only, as there may be several: what is to be changed is an atomic
/// or a [`Cell`](std::cell::Cell). For a lock alone, `ReentrantLock<()>`.
///
/// This is a handle: a clone is another handle to the same lock, and so is what arrives when a
/// handle is sent to another process.
///
/// # When a process dies
/// As with a [`Mutex`](crate::sync::Mutex): the lock is poisoned, however often the holder had
/// taken it.
///
/// ```
/// use std::cell::Cell;
/// use offspring::{process, sync::ReentrantLock};
///
/// #[process]
/// fn count_down(left: ReentrantLock<Cell<u32>>) {
///     let held = left.lock().unwrap();
///     if held.get() > 0 {
///         held.set(held.get() - 1);
///         count_down(left.clone()).run(); // takes the lock again
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let left = ReentrantLock::new(Cell::new(3))?;
/// count_down(left.clone()).spawn()?.join()?;
/// assert_eq!(left.lock().unwrap().get(), 0);
/// # Ok(())
/// # }
/// ```
pub struct ReentrantLock<T: ?Sized> {
    object: Object<State, T>,
    detector: Option<DeadlockDetector>,
}

super::handle!(ReentrantLock<T>, with detector);

impl<T: Shareable> ReentrantLock<T> {
    /// A lock that protects `value`.
    ///
    /// # Errors
    /// As [`Mutex::new`](crate::sync::Mutex::new).
    #[track_caller]
    pub fn new(value: T) -> Result<Self> {
        let object = Object::new(State::new(), value, Location::caller())?;
        Ok(Self { object, detector: None })
    }
}

impl<T: Shareable> ReentrantLock<[T]> {
    /// A lock that protects a copy of `values`. What can be copied is no `Cell`, so it only keeps others
    /// from what goes with them: to change them, [`from_fn`](ReentrantLock::from_fn).
    ///
    /// # Errors
    /// As [`Mutex::from_slice`](crate::sync::Mutex::from_slice).
    ///
    /// ```
    /// use offspring::sync::ReentrantLock;
    ///
    /// let weights = ReentrantLock::from_slice(&[0.5, 1.5])?;
    /// assert_eq!(weights.lock().unwrap().iter().sum::<f64>(), 2.0);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn from_slice(values: &[T]) -> Result<Self>
    where
        T: Copy,
    {
        let object = Object::from_slice(State::new(), values, Location::caller())?;
        Ok(Self { object, detector: None })
    }

    /// A lock that protects `len` values: `element(0)`, `element(1)` and so on.
    ///
    /// # Errors
    /// As [`Mutex::from_fn`](crate::sync::Mutex::from_fn).
    ///
    /// ```
    /// use std::cell::Cell;
    /// use offspring::sync::ReentrantLock;
    ///
    /// let counts = ReentrantLock::from_fn(3, |_| Cell::new(0))?;
    /// counts.lock().unwrap()[1].set(5);
    /// assert_eq!(counts.lock().unwrap()[1].get(), 5);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn from_fn(len: usize, element: impl FnMut(usize) -> T) -> Result<Self> {
        let object = Object::from_fn(State::new(), len, Location::caller(), element)?;
        Ok(Self { object, detector: None })
    }

    /// A lock that protects so many zeros.
    ///
    /// # Errors
    /// As [`Mutex::from_fn`](crate::sync::Mutex::from_fn).
    ///
    /// ```
    /// use std::cell::Cell;
    /// use offspring::sync::ReentrantLock;
    ///
    /// let counts = ReentrantLock::<[Cell<u32>]>::zeroed(3)?;
    /// counts.lock().unwrap()[1].set(5);
    /// assert_eq!(counts.lock().unwrap()[1].get(), 5);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn zeroed(len: usize) -> Result<Self>
    where
        T: Zeroable,
    {
        let object = Object::zeroed(State::new(), len, Location::caller())?;
        Ok(Self { object, detector: None })
    }
}

impl State {
    const fn new() -> Self {
        Self { lock: Lock::new(), again: AtomicU32::new(0) }
    }
}

impl<T: ?Sized> ReentrantLock<T> {
    /// Has waiting for this lock checked for cycles: see [`DeadlockDetector`]. It holds for this
    /// handle and for what is cloned from it or sent, so do it before there are others.
    #[must_use]
    pub fn detect_deadlocks(mut self, detector: &DeadlockDetector) -> Self {
        self.detector = Some(detector.clone());
        self
    }

    /// Waits for the lock, and takes it. At once, if this thread holds it.
    ///
    /// # Errors
    /// [`Poisoned`](LockError::Poisoned), with the guard, if who held it before panicked or died.
    /// [`Deadlock`](LockError::Deadlock) if waiting would close a cycle that a
    /// [`DeadlockDetector`] sees. [`TooMany`](LockError::TooMany) if this thread holds 2,000 locks.
    ///
    /// # Panics
    /// If this thread has more than four billion guards of it.
    #[inline(always)]
    #[track_caller]
    pub fn lock(&self) -> Result<ReentrantLockGuard<'_, T>, LockError<ReentrantLockGuard<'_, T>>> {
        self.acquire(Wait::Forever, Location::caller())?;
        Ok(self.guard()?)
    }

    /// Takes the lock, if nobody else holds it. Python's `acquire(block=False)`.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock) if somebody else does; otherwise as
    /// [`lock`](Self::lock).
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    ///
    /// ```
    /// use offspring::sync::{ReentrantLock, TryLockError};
    ///
    /// let lock = ReentrantLock::new(7)?;
    /// let held = lock.lock().unwrap();
    /// assert_eq!(*lock.try_lock().unwrap(), 7); // this thread holds it
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock))));
    /// });
    /// # drop(held);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_lock(
        &self,
    ) -> Result<ReentrantLockGuard<'_, T>, TryLockError<ReentrantLockGuard<'_, T>>> {
        self.acquire(Wait::Never, Location::caller())?;
        Ok(self.guard()?)
    }

    /// Waits for the lock for at most `timeout`, by the monotonic clock. Python's
    /// `acquire(timeout=...)`.
    ///
    /// # Errors
    /// [`Timeout`](LockTimeoutError::Timeout) if somebody else held it for all that time;
    /// otherwise as [`lock`](Self::lock).
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::{LockTimeoutError, ReentrantLock};
    ///
    /// let lock = ReentrantLock::new(7)?;
    /// let held = lock.lock().unwrap();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         let late = lock.lock_timeout(Duration::from_millis(10));
    ///         assert!(matches!(late, Err(LockTimeoutError::Timeout { .. })));
    ///     });
    /// });
    /// # drop(held);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ReentrantLockGuard<'_, T>, LockTimeoutError<ReentrantLockGuard<'_, T>>> {
        self.acquire(Wait::at_most(timeout), Location::caller())?;
        Ok(self.guard()?)
    }

    /// Whether the lock is poisoned: see [`PoisonError`].
    pub fn is_poisoned(&self) -> bool {
        self.object.state().lock.is_poisoned()
    }

    /// Makes the lock a sound one again, once what it protects has been put right.
    ///
    /// ```
    /// use offspring::sync::ReentrantLock;
    ///
    /// let lock = ReentrantLock::new(7)?;
    /// std::thread::scope(|scope| {
    ///     let _ = scope.spawn(|| { let _held = lock.lock(); panic!() }).join();
    /// });
    /// assert!(lock.is_poisoned());
    /// lock.clear_poison();
    /// assert!(lock.lock().is_ok());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn clear_poison(&self) {
        if self.object.state().lock.raw().is_orphaned() {
            drop(self.try_lock());
        }
        self.object.state().lock.heal();
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            what: State::NAME,
            segment: self.object.segment(),
            detector: self.detector.as_ref(),
        }
    }

    #[inline]
    fn acquire(&self, wait: Wait, at: &'static Location<'static>) -> Result<(), NotLocked> {
        let State { lock, again } = self.object.state();
        if lock.raw().owner() == Some(Thread::current().tid()) {
            let deeper = again.load(Ordering::Relaxed).checked_add(1);
            again.store(deeper.expect("fewer guards than that"), Ordering::Relaxed);
            return Ok(());
        }
        // SAFETY: the segment stays mapped for as long as a handle lives, which this borrows, and
        // beyond that if a thread of this process owns the lock then.
        unsafe { lock.acquire(wait, at, self.subject(), || true)? };
        again.store(0, Ordering::Relaxed);
        if let Some(detector) = &self.detector {
            detector.acquired(self.object.segment(), false);
        }
        Ok(())
    }

    #[inline(always)]
    fn guard(&self) -> Result<ReentrantLockGuard<'_, T>, PoisonError<ReentrantLockGuard<'_, T>>> {
        let guard = ReentrantLockGuard {
            lock: self,
            panicking: thread::panicking(),
            of_thread: PhantomData,
        };
        match self.object.state().lock.poisoned(self.subject()) {
            None => Ok(guard),
            Some(how) => Err(PoisonError::new(guard, how)),
        }
    }
}

/// Shows the value, if nobody else holds it, and else who does.
impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ReentrantLock");
        let value = match self.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(_) => None,
        };
        match &value {
            Some(guard) => out.field("data", &&**guard),
            None => out.field("locked_by", &super::Shown(self.object.state().lock.holder())),
        };
        drop(value);
        out.field("poisoned", &self.is_poisoned()).field("made_at", &self.object.place()).finish()
    }
}

/// Access to what a [`ReentrantLock`] protects; the lock is given back when the last guard of the
/// thread is dropped. In Python, what is in the block of a `with`.
///
/// It belongs to the thread that locked, so it cannot be moved to another.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct ReentrantLockGuard<'a, T: ?Sized> {
    lock: &'a ReentrantLock<T>,
    panicking: bool,
    of_thread: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives out `&T` and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for ReentrantLockGuard<'_, T> {}

impl<T: ?Sized> Drop for ReentrantLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let State { lock, again } = self.lock.object.state();
        if lock.raw().owner() != Some(Thread::current().tid()) {
            return; // a copy of the holder's process
        }
        match again.load(Ordering::Relaxed) {
            0 => {
                let detector = self.lock.detector.as_ref();
                let detector = detector.map(|detector| (detector, &**self.lock.object.segment()));
                lock.release(self.panicking, detector);
            }
            more => {
                lock.poison_if_panicking(self.panicking);
                again.store(more - 1, Ordering::Relaxed);
            }
        }
    }
}

impl<T: ?Sized> Deref for ReentrantLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value was written when the lock was made, any mixture of bytes that a killed
        // process has left is one, and this thread alone holds the lock. All its guards give out
        // shared references only.
        unsafe { self.lock.object.content().as_ref() }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for ReentrantLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
