//! The lock of one writer or many readers.
//!
//! Each reader takes a slot; a writer takes the lock's word, which keeps new readers out, and then
//! waits until every slot is free. Readers so do not disturb each other, and the kernel wakes the
//! writer when one of them dies.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::detector::DeadlockDetector;
use super::errors::{
    Deadlock, LockError, LockTimeoutError, NotLocked, PoisonError, TryLockError, Waiting,
};
use super::holder;
use super::kernel::{self, AtomicU32, OWNER, Thread, WAITERS, Wait};
use super::lock::{Lock, Subject};
use super::slots::{self, Occupancy, Slot};
use crate::error::Result;
use crate::shm::object::{Kind, Object};
use crate::shm::{Shareable, Zeroable};

/// How often a thread looks again before it sleeps.
const SPINS: usize = 100;
/// How many slots a lock has at first.
const FIRST_SLOTS: u32 = 8;
/// The note of a slot that says how many readings it stands for, beside the first. Only its owner
/// looks at it.
const MORE: usize = 0;

/// What the lock consists of in shared memory, beside the readers' slots.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    writer: Lock,
    /// Whether the owner of `writer` has got past the readers.
    writing: AtomicU32,
    slots: AtomicU32,
}

impl Kind for State {
    const NAME: &'static str = "RwLock";
    type Tail = Slot;
    const TAIL_MAX: usize = 16_384;

    #[inline]
    fn tail_len(&self) -> usize {
        self.slots.load(Ordering::SeqCst) as usize
    }

    fn check() -> Result<()> {
        super::check()
    }

    fn is_owned_here(&self, slots: &[Slot]) -> bool {
        self.writer.is_owned_here() || slots::any_owned_here(slots)
    }
}

impl State {
    const fn new() -> Self {
        Self { writer: Lock::new(), writing: AtomicU32::new(0), slots: AtomicU32::new(FIRST_SLOTS) }
    }
}

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
    object: Object<State, T>,
    detector: Option<DeadlockDetector>,
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
        Ok(self.read_guard(slot)?)
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
        Ok(self.read_guard(slot)?)
    }

    /// Waits until nobody writes or waits for writing, for at most `timeout`, by the monotonic
    /// clock, and reads.
    ///
    /// # Errors
    /// [`TimedOut`](LockTimeoutError::TimedOut) if somebody did for all that time; otherwise as
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
    ///         assert!(matches!(late, Err(LockTimeoutError::TimedOut { .. })));
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
        Ok(self.read_guard(slot)?)
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
        Ok(self.write_guard()?)
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
        Ok(self.write_guard()?)
    }

    /// Waits until nobody else reads or writes, for at most `timeout`, by the monotonic clock, and
    /// keeps everybody out.
    ///
    /// # Errors
    /// [`TimedOut`](LockTimeoutError::TimedOut) if somebody did for all that time; otherwise as
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
    ///         assert!(matches!(late, Err(LockTimeoutError::TimedOut { .. })));
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
        Ok(self.write_guard()?)
    }

    /// Whether the lock is poisoned: see [`PoisonError`].
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

    fn subject(&self) -> Subject<'_> {
        Subject {
            what: State::NAME,
            segment: self.object.segment(),
            detector: self.detector.as_ref(),
        }
    }

    /// Takes the writer's word, and gives it back if it is not to write.
    fn take_word(&self, wait: Wait, at: &'static Location<'static>) -> Result<(), NotLocked> {
        let State { writer, writing, .. } = self.object.state();
        // SAFETY: the segment stays mapped for as long as a handle lives, which this borrows, and
        // beyond that if a thread of this process owns the word then.
        unsafe {
            writer.acquire(wait, at, self.subject(), || {
                // One that died on its way past the readers has changed nothing.
                writing.load(Ordering::SeqCst) != 0
            })?;
        }
        writing.store(0, Ordering::SeqCst);
        Ok(())
    }

    fn give_word_back(&self, panicking: bool) {
        let State { writer, writing, .. } = self.object.state();
        writer.release_after(panicking, None, || writing.store(0, Ordering::SeqCst));
    }

    /// Does what is to be done when a writer has died, if nobody has done it yet.
    fn bury_writer(&self) {
        if self.object.state().writer.raw().is_orphaned()
            && self.take_word(Wait::Never, Location::caller()).is_ok()
        {
            self.give_word_back(thread::panicking());
        }
    }

    #[inline]
    fn begin_to_read(
        &self,
        wait: Wait,
        at: &'static Location<'static>,
    ) -> Result<&Slot, NotLocked> {
        let thread = Thread::current();
        if thread.owns_too_many() {
            return Err(NotLocked::TooMany);
        }
        let mut slot = self.take_slot(thread)?;
        // From here on a writer waits for this reader, or this reader sees the writer.
        if !self.object.state().writer.raw().is_free() {
            self.begin_to_read_contended(&mut slot, wait, at)?;
        }
        if let Some(detector) = &self.detector {
            detector.acquired(self.object.segment(), true);
        }
        Ok(slot)
    }

    /// A slot of this thread's own.
    #[inline]
    fn take_slot(&self, thread: Thread) -> Result<&Slot, NotLocked> {
        let count = &self.object.state().slots;
        // SAFETY: as in `take_word`.
        let slot = unsafe {
            slots::take_one_of(&self.object, count, |slots| {
                // Threads begin at different places, and each where it was last.
                let (before, from) = slots.split_at(thread.tid() as usize % slots.len());
                from.iter().chain(before)
            })
        };
        let slot = slot.map_err(NotLocked::NoRoom)?;
        // Of one who died, perhaps.
        slot.note[MORE].store(0, Ordering::Relaxed);
        Ok(slot)
    }

    #[cold]
    fn begin_to_read_contended<'a>(
        &'a self,
        slot: &mut &'a Slot,
        wait: Wait,
        at: &'static Location<'static>,
    ) -> Result<(), NotLocked> {
        let thread = Thread::current();
        let raw = self.object.state().writer.raw();
        let word = raw.word().value();
        let mut spins = if wait == Wait::Never { 0 } else { SPINS };
        let mut announced = None;
        loop {
            if raw.is_free() {
                return Ok(());
            }
            let own = self.slot_elsewhere(thread, slot);
            slot.give_back();
            if let Some(own) = own {
                // No writer gets past that one, if it is kept for as long as this reading lasts.
                let more = own.note[MORE].load(Ordering::Relaxed).checked_add(1);
                own.note[MORE].store(more.expect("fewer guards than that"), Ordering::Relaxed);
                *slot = own;
                return Ok(());
            }
            if raw.is_orphaned() {
                self.bury_writer();
            } else if raw.owner() == Some(thread.tid()) {
                return Err(NotLocked::Deadlock(self.own_deadlock(at)));
            } else if spins > 0 {
                spins -= 1;
                std::hint::spin_loop();
            } else {
                if wait == Wait::Never {
                    return Err(NotLocked::TimedOut(None));
                }
                if let (Some(detector), None, Wait::Forever) = (&self.detector, &announced, wait) {
                    announced = Some(
                        detector
                            .announce(self.subject(), at, false)
                            .map_err(NotLocked::Deadlock)?,
                    );
                }
                if !wait_for_writer(thread, word, wait) {
                    let holder = self.object.state().writer.holder();
                    return Err(NotLocked::TimedOut(holder));
                }
            }
            *slot = self.take_slot(thread)?;
        }
    }

    /// Whether the thread reads.
    fn reads(&self, thread: Thread) -> bool {
        let own = Occupancy::Taken(thread.tid());
        self.object.tail().iter().any(|slot| slot.occupancy() == own)
    }

    /// Another slot than this that the thread has.
    fn slot_elsewhere(&self, thread: Thread, slot: &Slot) -> Option<&Slot> {
        let own = Occupancy::Taken(thread.tid());
        let mut slots = self.object.tail().iter();
        slots.find(|other| !std::ptr::eq(*other, slot) && other.occupancy() == own)
    }

    #[inline]
    fn begin_to_write(&self, wait: Wait, at: &'static Location<'static>) -> Result<(), NotLocked> {
        let thread = Thread::current();
        if !self.object.state().writer.raw().is_free() && self.reads(thread) {
            return Err(NotLocked::Deadlock(self.own_deadlock(at)));
        }
        self.take_word(wait, at)?;
        if let Some(detector) = &self.detector {
            detector.acquired(self.object.segment(), false);
        }
        let result = self.wait_for_readers(wait, at);
        match result {
            Ok(()) => {
                self.object.state().writing.store(1, Ordering::SeqCst);
            }
            Err(_) => {
                if let Some(detector) = &self.detector {
                    detector.released(self.object.segment(), false);
                }
                self.give_word_back(true);
            }
        }
        result
    }

    fn wait_for_readers(
        &self,
        wait: Wait,
        at: &'static Location<'static>,
    ) -> Result<(), NotLocked> {
        let thread = Thread::current();
        if self.reads(thread) {
            return Err(NotLocked::Deadlock(self.own_deadlock(at)));
        }
        let mut announced = None;
        let mut spins = if wait == Wait::Never { 0 } else { SPINS };
        for slot in self.object.tail() {
            loop {
                match slot.occupancy() {
                    Occupancy::Free | Occupancy::Absent => break,
                    Occupancy::Died => {
                        slot.bury();
                        break;
                    }
                    Occupancy::Taken(_) if spins > 0 => {
                        spins -= 1;
                        std::hint::spin_loop();
                    }
                    Occupancy::Taken(tid) => {
                        if let (Some(detector), None, Wait::Forever) =
                            (&self.detector, &announced, wait)
                        {
                            announced = Some(
                                detector
                                    .announce(self.subject(), at, true)
                                    .map_err(NotLocked::Deadlock)?,
                            );
                        }
                        if wait == Wait::Never || !slots::wait_for(slot, tid, wait) {
                            return Err(NotLocked::TimedOut(None));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// This thread reads and wants to write, or the other way round.
    #[cold]
    fn own_deadlock(&self, at: &Location<'_>) -> Deadlock {
        let waiting = Waiting {
            who: holder::own().to_holder(),
            lock: self.subject().describe(),
            at: at.to_string(),
        };
        Deadlock::of_one(waiting, self.subject().advice())
    }

    #[inline(always)]
    fn read_guard<'a>(
        &'a self,
        slot: &'a Slot,
    ) -> Result<RwLockReadGuard<'a, T>, PoisonError<RwLockReadGuard<'a, T>>> {
        let guard = RwLockReadGuard { lock: self, slot, of_thread: PhantomData };
        match self.object.state().writer.poisoned(self.subject()) {
            None => Ok(guard),
            Some(how) => Err(PoisonError::new(guard, how)),
        }
    }

    #[inline(always)]
    fn write_guard(&self) -> Result<RwLockWriteGuard<'_, T>, PoisonError<RwLockWriteGuard<'_, T>>> {
        let guard =
            RwLockWriteGuard { lock: self, panicking: thread::panicking(), of_thread: PhantomData };
        match self.object.state().writer.poisoned(self.subject()) {
            None => Ok(guard),
            Some(how) => Err(PoisonError::new(guard, how)),
        }
    }
}

/// Sleeps until the writer is gone; false when the time is up.
fn wait_for_writer(thread: Thread, word: &AtomicU32, wait: Wait) -> bool {
    let seen = word.load(Ordering::SeqCst);
    if seen & OWNER == 0 {
        return true;
    }
    if seen & WAITERS == 0
        && word.compare_exchange(seen, seen | WAITERS, Ordering::SeqCst, Ordering::SeqCst).is_err()
    {
        return true;
    }
    thread.with_pending(word, || {
        let in_time = kernel::wait(word, seen | WAITERS, wait);
        if word.load(Ordering::SeqCst) & OWNER == 0 {
            // A writer that leaves wakes one, of however many readers: that one wakes the others.
            kernel::wake(word, u32::MAX);
        }
        in_time
    })
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

/// Access to what a [`RwLock`] protects, together with other readers; dropping it ends that.
///
/// It belongs to the thread that reads, so it cannot be moved to another.
#[must_use = "reading ends at once if the guard is not kept"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    slot: &'a Slot,
    of_thread: PhantomData<*const ()>,
}

/// Access to what a [`RwLock`] protects, alone; dropping it lets the others in.
///
/// It belongs to the thread that writes, so it cannot be moved to another.
#[must_use = "writing ends at once if the guard is not kept"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    panicking: bool,
    of_thread: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives out `&T` and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(detector) = &self.lock.detector {
            detector.released(self.lock.object.segment(), true);
        }
        match self.slot.note[MORE].load(Ordering::Relaxed) {
            0 => {
                self.slot.give_back();
            }
            more if self.slot.occupancy() == Occupancy::Taken(Thread::current().tid()) => {
                self.slot.note[MORE].store(more - 1, Ordering::Relaxed);
            }
            _ => {} // in a copy of the reader's process
        }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(detector) = &self.lock.detector {
            detector.released(self.lock.object.segment(), false);
        }
        self.lock.give_word_back(self.panicking);
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value was written when the lock was made, any mixture of bytes that a killed
        // writer has left is one, and no writer gets past this thread's slot.
        unsafe { self.lock.object.content().as_ref() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: as above, and there is neither another writer nor a reader.
        unsafe { self.lock.object.content().as_ref() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed for changes.
        unsafe { self.lock.object.content().as_mut() }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
