//! The lock of one writer or many readers, as it is used.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::detector::DeadlockDetector;
use super::errors::{LockError, LockTimeoutError, TryLockError};
use super::kernel::Wait;
use super::rwlock_guard::{RwLockReadGuard, RwLockWriteGuard};
use super::rwlock_state::State;
use super::slots::{Occupancy, Slot};
use crate::error::Result;
use crate::shm::object::Object;
use crate::shm::{Shareable, Zeroable};

/// A value that one thread can change, or any number can read, of all threads of all processes that
/// have a handle.
///
/// As `std::sync::RwLock`, with the value in shared memory. Python's module has none. This is a
/// handle: a clone is another handle to the same lock, and so is what arrives when a handle is sent
/// to another process.
///
/// A writer that waits keeps new readers out, so that writers are never starved. A thread that reads
/// already may read again, even then.
///
/// # When a process dies
/// A reader that panics, exits or is killed at whatever moment blocks nobody, and poisons nothing:
/// it has changed nothing. A writer poisons the lock, as that of a [`Mutex`](crate::sync::Mutex)
/// does. Who is killed while it waits harms nobody.
///
/// ```
/// use offspring::{process, sync::RwLock};
///
/// #[process]
/// fn look(prices: RwLock<[u32; 3]>) -> u32 {
///     prices.read().unwrap().iter().sum()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let prices = RwLock::new([1, 2, 3])?;
/// prices.write().unwrap()[0] = 10;
///
/// let reading = prices.read().unwrap(); // others read at the same time
/// assert_eq!(look(prices.clone()).spawn()?.join()?, 15);
/// # drop(reading);
/// # Ok(())
/// # }
/// ```
pub struct RwLock<T: ?Sized> {
    pub(super) object: Object<State, T>,
    pub(super) detector: Option<DeadlockDetector>,
}

super::handle!(RwLock<T: Sync>, with detector);

// Many read at once, so `T` is `Sync` wherever one comes from: here, and in `Deserialize`.
impl<T: Shareable + Sync> RwLock<T> {
    /// A lock that protects `value`.
    ///
    /// # Errors
    /// As [`Mutex::new`](crate::sync::Mutex::new).
    #[track_caller]
    pub fn new(value: T) -> Result<Self> {
        Object::new(State::new(), value, Location::caller()).map(Self::of)
    }
}

impl<T: Shareable + Sync> RwLock<[T]> {
    /// A lock that protects a copy of `values`.
    ///
    /// # Errors
    /// As [`Mutex::from_slice`](crate::sync::Mutex::from_slice).
    ///
    /// ```
    /// use offspring::sync::RwLock;
    ///
    /// let prices = RwLock::from_slice(&[0.5, 1.5])?;
    /// prices.write().unwrap()[0] = 1.0;
    /// assert_eq!(prices.read().unwrap().iter().sum::<f64>(), 2.5);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn from_slice(values: &[T]) -> Result<Self>
    where
        T: Copy,
    {
        Object::from_slice(State::new(), values, Location::caller()).map(Self::of)
    }

    /// A lock that protects `len` values: `element(0)`, `element(1)` and so on.
    ///
    /// # Errors
    /// As [`Mutex::from_fn`](crate::sync::Mutex::from_fn).
    ///
    /// ```
    /// use offspring::sync::RwLock;
    ///
    /// let squares = RwLock::from_fn(4, |index| index * index)?;
    /// assert_eq!(*squares.read().unwrap(), [0, 1, 4, 9]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn from_fn(len: usize, element: impl FnMut(usize) -> T) -> Result<Self> {
        Object::from_fn(State::new(), len, Location::caller(), element).map(Self::of)
    }

    /// A lock that protects so many zeros.
    ///
    /// # Errors
    /// As [`Mutex::from_fn`](crate::sync::Mutex::from_fn).
    ///
    /// ```
    /// use offspring::sync::RwLock;
    ///
    /// let totals = RwLock::<[u32]>::zeroed(3)?;
    /// assert_eq!(*totals.read().unwrap(), [0, 0, 0]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn zeroed(len: usize) -> Result<Self>
    where
        T: Zeroable,
    {
        Object::zeroed(State::new(), len, Location::caller()).map(Self::of)
    }
}

impl<T: ?Sized> RwLock<T> {
    fn of(object: Object<State, T>) -> Self {
        Self { object, detector: None }
    }

    /// Has waiting for this lock checked for cycles: see [`DeadlockDetector`]. It holds for this
    /// handle and for what is cloned from it or sent, so do it before there are others.
    #[must_use]
    pub fn detect_deadlocks(mut self, detector: &DeadlockDetector) -> Self {
        self.detector = Some(detector.clone());
        self
    }

    /// Waits until nobody writes or waits for writing, and reads.
    ///
    /// # Errors
    /// [`Poisoned`](LockError::Poisoned), with the guard, if a writer panicked or died.
    /// [`Deadlock`](LockError::Deadlock), at once, if this thread writes, or if waiting would close
    /// a cycle that a [`DeadlockDetector`] sees. [`TooMany`](LockError::TooMany) if this thread
    /// holds 2,000 locks, [`NoRoom`](LockError::NoRoom) if the lock has 16,384 readers, or there is no
    /// memory for more.
    #[inline(always)]
    #[track_caller]
    pub fn read(&self) -> Result<RwLockReadGuard<'_, T>, LockError<RwLockReadGuard<'_, T>>> {
        let slot = self.begin_to_read(Wait::Forever, Location::caller())?;
        Ok(RwLockReadGuard::new(self, slot)?)
    }

    /// Reads, if nobody writes or waits for writing.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock) if somebody does, be it this thread; otherwise as
    /// [`read`](Self::read).
    ///
    /// ```
    /// use offspring::sync::{RwLock, TryLockError};
    ///
    /// let lock = RwLock::new(1)?;
    /// let writing = lock.write().unwrap();
    /// assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
    /// drop(writing);
    /// assert_eq!(*lock.try_read().unwrap(), 1);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, TryLockError<RwLockReadGuard<'_, T>>> {
        let slot = self.begin_to_read(Wait::Never, Location::caller())?;
        Ok(RwLockReadGuard::new(self, slot)?)
    }

    /// Waits until nobody writes or waits for writing, for at most `timeout`, by the monotonic
    /// clock, and reads.
    ///
    /// # Errors
    /// [`Timeout`](LockTimeoutError::Timeout) if somebody did for all that time; otherwise as
    /// [`read`](Self::read).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::{LockTimeoutError, RwLock};
    ///
    /// let lock = RwLock::new(1)?;
    /// let writing = lock.write().unwrap();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         let late = lock.read_timeout(Duration::from_millis(10));
    ///         assert!(matches!(late, Err(LockTimeoutError::Timeout { .. })));
    ///     });
    /// });
    /// drop(writing);
    /// assert!(lock.read_timeout(Duration::from_millis(10)).is_ok());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn read_timeout(
        &self,
        timeout: Duration,
    ) -> Result<RwLockReadGuard<'_, T>, LockTimeoutError<RwLockReadGuard<'_, T>>> {
        let slot = self.begin_to_read(Wait::at_most(timeout), Location::caller())?;
        Ok(RwLockReadGuard::new(self, slot)?)
    }

    /// Waits until nobody else reads or writes, and keeps everybody out.
    ///
    /// # Errors
    /// [`Poisoned`](LockError::Poisoned), with the guard, if a writer panicked or died.
    /// [`Deadlock`](LockError::Deadlock), at once, if this thread writes or reads, or if waiting would
    /// close a cycle that a [`DeadlockDetector`] sees. [`TooMany`](LockError::TooMany) if this thread
    /// holds 2,000 locks.
    #[inline(always)]
    #[track_caller]
    pub fn write(&self) -> Result<RwLockWriteGuard<'_, T>, LockError<RwLockWriteGuard<'_, T>>> {
        self.begin_to_write(Wait::Forever, Location::caller())?;
        Ok(RwLockWriteGuard::new(self)?)
    }

    /// Keeps everybody out, if nobody reads or writes.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock) if somebody does, be it this thread; otherwise as
    /// [`write`](Self::write).
    ///
    /// ```
    /// use offspring::sync::{RwLock, TryLockError};
    ///
    /// let lock = RwLock::new(1)?;
    /// let reading = lock.read().unwrap();
    /// assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
    /// drop(reading);
    /// *lock.try_write().unwrap() = 2;
    /// assert_eq!(*lock.read().unwrap(), 2);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_write(
        &self,
    ) -> Result<RwLockWriteGuard<'_, T>, TryLockError<RwLockWriteGuard<'_, T>>> {
        self.begin_to_write(Wait::Never, Location::caller())?;
        Ok(RwLockWriteGuard::new(self)?)
    }

    /// Waits until nobody else reads or writes, for at most `timeout`, by the monotonic clock, and
    /// keeps everybody out.
    ///
    /// # Errors
    /// [`Timeout`](LockTimeoutError::Timeout) if somebody did for all that time; otherwise as
    /// [`write`](Self::write).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::{LockTimeoutError, RwLock};
    ///
    /// let lock = RwLock::new(1)?;
    /// let reading = lock.read().unwrap();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         let late = lock.write_timeout(Duration::from_millis(10));
    ///         assert!(matches!(late, Err(LockTimeoutError::Timeout { .. })));
    ///     });
    /// });
    /// drop(reading);
    /// *lock.write_timeout(Duration::from_millis(10)).unwrap() = 2;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn write_timeout(
        &self,
        timeout: Duration,
    ) -> Result<RwLockWriteGuard<'_, T>, LockTimeoutError<RwLockWriteGuard<'_, T>>> {
        self.begin_to_write(Wait::at_most(timeout), Location::caller())?;
        Ok(RwLockWriteGuard::new(self)?)
    }

    /// Whether the lock is poisoned: see [`PoisonError`](crate::sync::PoisonError).
    pub fn is_poisoned(&self) -> bool {
        let state = self.object.state();
        state.writer.is_poisoned_by_flag()
            || state.writer.raw().is_orphaned() && state.writing.load(Ordering::SeqCst) != 0
    }

    /// Makes the lock a sound one again, once what it protects has been put right.
    ///
    /// ```
    /// use offspring::sync::{LockError, RwLock};
    ///
    /// let lock = RwLock::new(1)?;
    /// std::thread::scope(|scope| {
    ///     let _ = scope.spawn(|| { let _writing = lock.write(); panic!() }).join();
    /// });
    /// assert!(lock.is_poisoned());
    ///
    /// let mut guard = lock.write().unwrap_or_else(LockError::into_inner);
    /// *guard = 0;
    /// lock.clear_poison();
    /// drop(guard);
    /// assert!(lock.read().is_ok());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn clear_poison(&self) {
        self.bury_writer();
        self.object.state().writer.heal();
    }
}

/// Shows the value, if nobody writes, and else who does.
impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RwLock");
        let value = match self.try_read() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(_) => None,
        };
        match &value {
            Some(guard) => out.field("data", &&**guard),
            None => {
                let State { writer, writing, .. } = self.object.state();
                let writes = writing.load(Ordering::SeqCst) != 0;
                let what = if writes { "locked_by" } else { "waited_for_by" };
                out.field(what, &super::Shown(writer.holder()))
            }
        };
        drop(value);
        let reads = |slot: &&Slot| matches!(slot.occupancy(), Occupancy::Taken(_));
        out.field("readers", &self.object.tail().iter().filter(reads).count());
        out.field("poisoned", &self.is_poisoned()).field("made_at", &self.object.place()).finish()
    }
}
