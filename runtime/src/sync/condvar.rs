//! The condition: waiting, with a mutex given back meanwhile, until somebody notifies.

#![allow(unsafe_code)]

use std::cmp::Reverse;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::errors::{LockError, NotLocked};
use super::kernel::{AtomicU32, Thread, Wait};
use super::mutex::{MutexGuard, Released};
use super::raw::{Guard, RawMutex};
use super::slots::{self, Slot};
use super::waiters::{self, Waiters, Woken};
use crate::error::Result;
use crate::shm::object::{Kind, Object};

/// How many slots a condition has at first: a page of them.
const FIRST_SLOTS: u32 = 60;

/// What a waiter is told, by another or by itself.
const NOTIFIED: u32 = 1;
const TIMED_OUT: u32 = 2;

/// What a condition consists of in shared memory, beside the slots of those who wait.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    /// Held by whoever goes through the slots.
    mutex: RawMutex,
    slots: AtomicU32,
    next_ticket: AtomicU32,
}

impl Kind for State {
    const NAME: &'static str = "Condvar";
    type Tail = Slot;
    const TAIL_MAX: usize = 15_360;

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

/// Waiting for something to become true that a [`Mutex`](crate::sync::Mutex) protects. Python's `Condition`.
///
/// As `std::sync::Condvar`. A waiter can wake for no reason, so it looks whether what it waits for is
/// so: [`wait_while`](Self::wait_while) does. It may be used with several mutexes at a time.
///
/// This is a handle: a clone is another handle to the same condition, and so is what arrives when a
/// handle is sent to another process.
///
/// # When a process dies
/// A waiter that is killed blocks nobody: notifying never waits for a waiter. If it had been notified
/// already, and was killed before it had the mutex again, its notification is passed on to another
/// waiter, so none is lost. (On kernels before 5.16 that takes up to a tenth of a second.)
/// One that is killed *before* it notifies has not notified, of course: where that may happen, wait
/// with a timeout.
///
/// ```
/// use offspring::{process, sync::{Condvar, Mutex}};
///
/// #[process]
/// fn fill(level: Mutex<u32>, changed: Condvar) {
///     *level.lock().unwrap() = 7;
///     changed.notify_one();
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (level, changed) = (Mutex::new(0)?, Condvar::new()?);
/// fill(level.clone(), changed.clone()).spawn()?;
/// let full = changed.wait_while(level.lock().unwrap(), |level| *level < 7).unwrap();
/// assert_eq!(*full, 7);
/// # Ok(())
/// # }
/// ```
pub struct Condvar {
    object: Object<State, ()>,
}

super::handle!(Condvar);

/// Whether a wait ended because its time was up: as `std::sync::WaitTimeoutResult`. Python's `wait`
/// returns `False` for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was up.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

type WaitResult<'a, T> = Result<MutexGuard<'a, T>, LockError<MutexGuard<'a, T>>>;
type TimedGuard<'a, T> = (MutexGuard<'a, T>, WaitTimeoutResult);

impl Condvar {
    /// A condition that nobody waits for.
    ///
    /// # Errors
    /// As [`Mutex::new`](crate::sync::Mutex::new).
    #[track_caller]
    pub fn new() -> Result<Self> {
        let state = State {
            mutex: RawMutex::new(),
            slots: AtomicU32::new(FIRST_SLOTS),
            next_ticket: AtomicU32::new(0),
        };
        Ok(Self { object: Object::new(state, (), Location::caller())? })
    }

    /// Gives the mutex back, waits until it is notified, and takes the mutex again.
    ///
    /// # Errors
    /// As [`Mutex::lock`](crate::sync::Mutex::lock). If it is another than
    /// [`Poisoned`](LockError::Poisoned), the mutex has been given back:
    /// [`NoRoom`](LockError::NoRoom), without having waited, if 15,360 threads wait already, or there
    /// is no memory for another; [`Deadlock`](LockError::Deadlock), without having waited, if the
    /// guard is one of [`lock_all`](crate::sync::lock_all)'s, and this thread holds another of these
    /// that comes later in the order.
    ///
    /// ```
    /// use offspring::sync::{Condvar, Mutex};
    ///
    /// let (ready, changed) = (Mutex::new(false)?, Condvar::new()?);
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         *ready.lock().unwrap() = true;
    ///         changed.notify_one();
    ///     });
    ///     let mut guard = ready.lock().unwrap();
    ///     while !*guard {
    ///         guard = changed.wait(guard).unwrap();
    ///     }
    /// });
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> WaitResult<'a, T> {
        let (mutex, _) = self.wait_until(guard, Wait::Forever, Location::caller())?;
        Ok(mutex.guard()?)
    }

    /// Waits for as long as `condition` is true. Python's `wait_for`, the other way round.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use offspring::sync::{Condvar, Mutex};
    ///
    /// let (jobs, more) = (Mutex::new(0)?, Condvar::new()?);
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         *jobs.lock().unwrap() += 3;
    ///         more.notify_one();
    ///     });
    ///     let jobs = more.wait_while(jobs.lock().unwrap(), |jobs| *jobs == 0).unwrap();
    ///     assert_eq!(*jobs, 3);
    /// });
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> WaitResult<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Self::wait), for at most `timeout`, by the monotonic clock; then it needs the
    /// mutex again, for which it waits as long as it takes. Python's `wait(timeout)`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::{Condvar, Mutex};
    ///
    /// let (mutex, changed) = (Mutex::new(1)?, Condvar::new()?);
    /// let held = mutex.lock().unwrap();
    /// let (held, waited) = changed.wait_timeout(held, Duration::from_millis(10)).unwrap();
    /// assert!(waited.timed_out()); // nobody notifies
    /// assert_eq!(*held, 1);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> Result<TimedGuard<'a, T>, LockError<TimedGuard<'a, T>>> {
        self.wait_at_most(guard, Wait::at_most(timeout), Location::caller())
    }

    /// As [`wait_while`](Self::wait_while), for at most `timeout`: if the condition is still true
    /// then, the result says that the time was up. Python's `wait_for(..., timeout)`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::{Condvar, Mutex};
    ///
    /// let (ready, changed) = (Mutex::new(false)?, Condvar::new()?);
    /// let (held, timeout) = (ready.lock().unwrap(), Duration::from_millis(10));
    /// let (held, waited) = changed.wait_timeout_while(held, timeout, |ready| !*ready).unwrap();
    /// assert!(waited.timed_out() && !*held);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_timeout_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<TimedGuard<'a, T>, LockError<TimedGuard<'a, T>>> {
        let at = Location::caller();
        let deadline = Instant::now().checked_add(timeout);
        let mut in_time = true;
        while condition(&mut guard) {
            if !in_time {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            let wait = deadline.map_or(Wait::Forever, Wait::Until);
            guard = self.wait_at_most(guard, wait, at)?.0;
            in_time = deadline.is_none_or(|deadline| Instant::now() < deadline);
        }
        Ok((guard, WaitTimeoutResult(false)))
    }

    /// Wakes the one that has waited longest, if any; says how many that is. Python's `notify()`.
    ///
    /// It can be called with the mutex held, and without.
    pub fn notify_one(&self) -> usize {
        self.notify_n(1)
    }

    /// Wakes the `n` that have waited longest, or as many as there are; says how many. Python's
    /// `notify(n)`.
    ///
    /// ```
    /// use offspring::sync::{Condvar, Mutex};
    ///
    /// let (jobs, more) = (Mutex::new(0)?, Condvar::new()?);
    /// std::thread::scope(|scope| {
    ///     for _ in 0..2 {
    ///         scope.spawn(|| *more.wait_while(jobs.lock().unwrap(), |jobs| *jobs == 0).unwrap() -= 1);
    ///     }
    ///     *jobs.lock().unwrap() += 2;
    ///     assert!(more.notify_n(2) <= 2); // fewer, if they do not wait yet
    /// });
    /// assert_eq!(*jobs.lock().unwrap(), 0);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn notify_n(&self, n: usize) -> usize {
        let waiters = self.waiters();
        if waiters.waiting().next().is_none() && waiters.dead().next().is_none() {
            return 0;
        }
        let _inside = self.enter();
        self.notify(n)
    }

    /// Wakes all who wait; says how many. Python's `notify_all()`.
    ///
    /// ```
    /// use offspring::sync::{Condvar, Mutex};
    ///
    /// let (open, opened) = (Mutex::new(false)?, Condvar::new()?);
    /// std::thread::scope(|scope| {
    ///     for _ in 0..3 {
    ///         scope.spawn(|| drop(opened.wait_while(open.lock().unwrap(), |open| !*open)));
    ///     }
    ///     *open.lock().unwrap() = true;
    ///     opened.notify_all();
    /// });
    /// assert_eq!(opened.notify_all(), 0); // nobody waits any more
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn notify_all(&self) -> usize {
        self.notify_n(usize::MAX)
    }

    fn waiters(&self) -> Waiters<'_> {
        Waiters(self.object.tail())
    }

    /// Takes the mutex of the slots, and does what those left undone who have died.
    fn enter(&self) -> Guard<'_> {
        // SAFETY: the segment stays mapped for as long as a handle lives, which the guard borrows;
        // and no code but this room's runs until it is dropped.
        let guard = unsafe { self.object.state().mutex.enter() };
        // Nobody died in peace who was notified: another is, before the slot is free again.
        for (_, told, slot) in self.waiters().dead() {
            if told == Some(NOTIFIED) {
                self.notify(1);
            }
            slot.bury();
        }
        guard
    }

    /// Wakes the `n` that have waited longest. Under the mutex of the slots.
    fn notify(&self, n: usize) -> usize {
        let next = self.object.state().next_ticket.load(Ordering::SeqCst);
        let mut waiting: Vec<_> = self.waiters().waiting().collect();
        waiting.sort_by_key(|(ticket, _)| Reverse(next.wrapping_sub(*ticket)));
        waiting.truncate(n);
        for (_, slot) in &waiting {
            waiters::tell(slot, NOTIFIED);
        }
        waiting.len()
    }

    fn wait_at_most<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        wait: Wait,
        at: &'static Location<'static>,
    ) -> Result<TimedGuard<'a, T>, LockError<TimedGuard<'a, T>>> {
        let (mutex, in_time) = self.wait_until(guard, wait, at)?;
        let result = WaitTimeoutResult(!in_time);
        match mutex.guard() {
            Ok(guard) => Ok((guard, result)),
            Err(poisoned) => Err(poisoned.map(|guard| (guard, result)).into()),
        }
    }

    /// Waits; then the mutex is held again, and whether it was in time.
    fn wait_until<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        wait: Wait,
        at: &'static Location<'static>,
    ) -> Result<(Released<'a, T>, bool), NotLocked> {
        guard.check_wait(at)?;
        let inside = self.enter();
        let slot = self.slot()?;
        drop(inside);
        // Only now that a notification would find it does it give the mutex back.
        let mutex = guard.release_to_wait();
        let in_time = loop {
            match self.waiters().sleep(slot, wait) {
                Woken::Told(told) => {
                    // The kernel may have woken this one for a death, after it was told.
                    if self.waiters().dead().next().is_some() {
                        drop(self.enter());
                    }
                    break told == NOTIFIED;
                }
                Woken::NeighbourDied => drop(self.enter()),
                Woken::TimedOut => {
                    let _inside = self.enter();
                    if waiters::told(slot).is_none() {
                        waiters::tell(slot, TIMED_OUT); // nobody shall notify it any more
                    }
                }
            }
        };
        let result = mutex.acquire(at);
        if result.is_err() && in_time {
            // It cannot act on its notification: another may.
            let _inside = self.enter();
            self.notify(1);
        }
        // Until here it would have passed on its notification by dying.
        slot.leave();
        result.map(|()| (mutex, in_time))
    }

    /// A slot for the calling thread. Under the mutex of the slots.
    fn slot(&self) -> Result<&Slot, NotLocked> {
        if Thread::current().owns_too_many() {
            return Err(NotLocked::TooMany);
        }
        let ticket = self.object.state().next_ticket.fetch_add(1, Ordering::SeqCst);
        loop {
            // SAFETY: the segment stays mapped for as long as a handle lives, which this borrows,
            // and the thread leaves the slot before it returns to its caller.
            if let Some(slot) = unsafe { self.waiters().enter(ticket) } {
                if self.waiters().few_free() {
                    let _ = self.grow(); // the next who comes tries again
                }
                return Ok(slot);
            }
            self.grow().map_err(NotLocked::NoRoom)?;
        }
    }

    /// Makes room for twice as many. Under the mutex of the slots.
    fn grow(&self) -> Result<()> {
        let slots = &self.object.state().slots;
        let len = slots.load(Ordering::SeqCst);
        self.object.grow_tail(len as usize * 2)?;
        slots.store(len * 2, Ordering::SeqCst);
        Ok(())
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar")
            .field("waiting", &self.waiters().waiting().count())
            .field("made_at", &self.object.place())
            .finish()
    }
}
