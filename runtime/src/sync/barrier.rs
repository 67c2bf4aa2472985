//! The barrier: a number of threads that wait for each other.

#![allow(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::kernel::{AtomicU32, Thread, Wait};
use super::raw::{Guard, RawMutex};
use super::slots::{self, Slot};
use super::waiters::{self, Waiters, Woken};
use crate::error::{Error, Result};
use crate::shm::object::{Kind, Object};

/// What becomes of a round. Everything but [`PASSED`] and [`RESET`] breaks the barrier.
const UNDECIDED: u32 = 0;
const PASSED: u32 = 1;
const RESET: u32 = 2;
const TIMED_OUT: u32 = 3;
const ABORTED: u32 = 4;
const WAITER_DIED: u32 = 5;
const ACTION_FAILED: u32 = 6;

/// The round's number is beyond the bits of its outcome.
const OUTCOME_BITS: u32 = 8;

/// What a barrier consists of in shared memory, beside the slots of those who wait.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    /// Held by whoever goes through the slots, and while an action runs.
    mutex: RawMutex,
    slots: AtomicU32,
    parties: u32,
    /// The longest that [`Barrier::wait`] waits, in nanoseconds; 0 for ever.
    timeout: u64,
    /// The number of the round, and, from the moment it is decided until all have been told, its
    /// outcome: whoever finds one here goes on telling.
    round: AtomicU32,
    /// The outcome that broke the barrier, or 0.
    broken: AtomicU32,
}

impl Kind for State {
    const NAME: &'static str = "Barrier";
    type Tail = Slot;
    const TAIL_MAX: usize = 16_384;

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

/// A number of threads, of whatever processes, that wait for each other. Python's `Barrier`.
///
/// When the last of them has arrived, all go on, and the barrier can be used again.
///
/// This is a handle: a clone is another handle to the same barrier, and so is what arrives when a
/// handle is sent to another process.
///
/// # When a process dies
/// If one is killed while it waits, the others would wait for ever. So it breaks the barrier: they,
/// and all who come after them, get [`BarrierError::WaiterDied`] at once, until somebody
/// [resets](Self::reset) it. One that is killed before it comes to the barrier is not missed: where
/// that may happen, wait with a timeout. (On kernels before 5.16, "at once" is a tenth of a second.)
///
/// ```
/// use offspring::{process, sync::Barrier};
///
/// #[process]
/// fn party(barrier: Barrier) -> bool {
///     barrier.wait().unwrap().is_leader()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let barrier = Barrier::new(3)?;
/// let children = [party(barrier.clone()).spawn()?, party(barrier.clone()).spawn()?];
/// let mut leaders = u32::from(barrier.wait()?.is_leader());
/// for child in children {
///     leaders += u32::from(child.join()?);
/// }
/// assert_eq!(leaders, 1);
/// # Ok(())
/// # }
/// ```
pub struct Barrier {
    object: Object<State, ()>,
}

super::handle!(Barrier);

/// What a [`Barrier`] is made of beside its number of parties: see [`Barrier::builder`]. In Python,
/// the arguments of the constructor.
#[derive(Debug, Clone)]
#[must_use = "it makes nothing until `build` is called"]
pub struct BarrierBuilder {
    parties: usize,
    timeout: Option<Duration>,
}

impl BarrierBuilder {
    /// How long [`Barrier::wait`] waits at most. Python's `timeout` in the constructor.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes the barrier.
    ///
    /// # Errors
    /// As [`Barrier::new`].
    #[track_caller]
    pub fn build(&self) -> Result<Barrier> {
        let nanoseconds =
            |timeout: Duration| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1);
        let (parties, max) = (self.parties, State::TAIL_MAX / 2);
        if parties > max {
            return Err(Error::TooLarge { what: "parties of a Barrier", len: parties, max });
        }
        let parties = parties as u32;
        let state = State {
            mutex: RawMutex::new(),
            // Those of the last round may still be leaving when all of the next have come.
            slots: AtomicU32::new(parties.max(4) * 2),
            parties,
            timeout: self.timeout.map_or(0, nanoseconds),
            round: AtomicU32::new(0),
            broken: AtomicU32::new(UNDECIDED),
        };
        Ok(Barrier { object: Object::new(state, (), Location::caller())? })
    }
}

/// Which of the parties this one was: as `std::sync::BarrierWaitResult`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierWaitResult {
    index: usize,
}

impl BarrierWaitResult {
    /// Whether this is the one among the parties that was last to come.
    pub fn is_leader(&self) -> bool {
        self.index == 0
    }

    /// A number below that of the parties, another for each. Python's return value of `wait`.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// Why the parties of a [`Barrier`] did not come together. All of them are told.
///
/// In Python, `BrokenBarrierError`, which does not say why.
///
/// ```
/// use std::time::Duration;
/// use offspring::sync::{Barrier, BarrierError};
///
/// let barrier = Barrier::new(2)?;
/// match barrier.wait_timeout(Duration::from_millis(10)) {
///     Ok(place) => println!("number {}", place.index()),
///     Err(BarrierError::WaiterDied) => println!("go on with one less"),
///     Err(BarrierError::TimedOut) => barrier.reset(),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// One of them did not wait any longer. The barrier is broken.
    #[error(
        "the barrier is broken, as one of its parties did not wait any longer: `reset()` mends it"
    )]
    TimedOut,
    /// Somebody called [`abort`](Barrier::abort). The barrier is broken.
    #[error("the barrier is broken, as it was aborted: `reset()` mends it")]
    Aborted,
    /// One of them was killed, or its thread or process ended otherwise, while it waited. The
    /// barrier is broken.
    #[error(
        "the barrier is broken, as one of its parties died while it waited: `reset()` mends it"
    )]
    WaiterDied,
    /// The [action](Barrier::wait_with) panicked. The barrier is broken.
    #[error("the barrier is broken, as the action panicked: `reset()` mends it")]
    ActionFailed,
    /// Somebody called [`reset`](Barrier::reset) while some had come and others had not. The barrier
    /// is not broken.
    #[error("the barrier was reset while this thread waited")]
    Reset,
    /// There is no memory for so many threads. The barrier is as before.
    #[error("there is no memory for so many threads at the barrier")]
    NoRoom,
    /// This thread holds 2,000 permits and locks already, and the kernel keeps track of no more. The
    /// barrier is as before.
    #[error("{}", super::errors::TOO_MANY)]
    TooMany,
}

impl BarrierError {
    fn of(outcome: u32) -> Self {
        match outcome {
            RESET => Self::Reset,
            TIMED_OUT => Self::TimedOut,
            WAITER_DIED => Self::WaiterDied,
            ACTION_FAILED => Self::ActionFailed,
            _ => Self::Aborted,
        }
    }
}

impl Barrier {
    /// A barrier for so many parties. With 0 it is as with 1: nobody waits.
    ///
    /// # Errors
    /// As [`Mutex::new`](crate::sync::Mutex::new), and [`Error::TooLarge`] for more than 8,192.
    #[track_caller]
    pub fn new(parties: usize) -> Result<Self> {
        Self::builder(parties).build()
    }

    /// A barrier for so many parties, with more to be said about it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::{Barrier, BarrierError};
    ///
    /// let barrier = Barrier::builder(2).timeout(Duration::from_millis(10)).build()?;
    /// assert_eq!(barrier.wait(), Err(BarrierError::TimedOut)); // the other does not come
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn builder(parties: usize) -> BarrierBuilder {
        BarrierBuilder { parties, timeout: None }
    }

    /// Waits until all parties have come, for no longer than the barrier was
    /// [made](BarrierBuilder::timeout) to.
    ///
    /// # Errors
    /// [`BarrierError`] if they do not come together; from then on also at once, until the barrier
    /// is [reset](Self::reset). (Not so after [`Reset`](BarrierError::Reset) and
    /// [`NoRoom`](BarrierError::NoRoom) and [`TooMany`](BarrierError::TooMany), which do not break it.)
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_with(|| {})
    }

    /// As [`wait`](Self::wait), for at most `timeout`, by the monotonic clock: then it breaks the
    /// barrier, for all. Python's `wait(timeout)`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::{Barrier, BarrierError};
    ///
    /// let barrier = Barrier::new(2)?;
    /// let late = barrier.wait_timeout(Duration::from_millis(10));
    /// assert_eq!(late, Err(BarrierError::TimedOut));
    /// assert!(barrier.is_broken());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.come(Wait::at_most(timeout), || {})
    }

    /// As [`wait`](Self::wait). The last to come calls its `action`, before anybody goes on, be it
    /// that their time is up: while it runs, the others, [`abort`](Self::abort) and
    /// [`reset`](Self::reset) wait for its end.
    ///
    /// Python's `action` in the constructor: there all parties have the same.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// If the action does: then the barrier is broken, and the others get
    /// [`BarrierError::ActionFailed`].
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use offspring::sync::Barrier;
    ///
    /// let (barrier, rounds) = (Barrier::new(2)?, AtomicU32::new(0));
    /// let count = || drop(rounds.fetch_add(1, Ordering::Relaxed));
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| barrier.wait_with(count).unwrap());
    ///     scope.spawn(|| barrier.wait_with(count).unwrap());
    /// });
    /// assert_eq!(rounds.into_inner(), 1);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<BarrierWaitResult, BarrierError> {
        let wait = match self.object.state().timeout {
            0 => Wait::Forever,
            nanoseconds => Wait::at_most(Duration::from_nanos(nanoseconds)),
        };
        self.come(wait, action)
    }

    /// Breaks the barrier: all who wait, and all who come, get [`BarrierError::Aborted`].
    ///
    /// ```
    /// use offspring::sync::{Barrier, BarrierError};
    ///
    /// let barrier = Barrier::new(2)?;
    /// barrier.abort();
    /// assert_eq!(barrier.wait(), Err(BarrierError::Aborted));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn abort(&self) {
        let _inside = self.enter();
        self.break_with(ABORTED);
    }

    /// Mends the barrier. Who waits just now gets [`BarrierError::Reset`].
    ///
    /// ```
    /// use offspring::sync::Barrier;
    ///
    /// let barrier = Barrier::new(1)?;
    /// barrier.abort();
    /// assert!(barrier.wait().is_err());
    /// barrier.reset();
    /// assert!(barrier.wait().is_ok());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn reset(&self) {
        let _inside = self.enter();
        self.object.state().broken.store(UNDECIDED, Ordering::SeqCst);
        if self.waiting() > 0 {
            self.decide(RESET);
        }
    }

    /// How many must come.
    pub fn parties(&self) -> usize {
        self.object.state().parties as usize
    }

    /// How many have come, and wait. Python's `n_waiting`.
    pub fn waiting(&self) -> usize {
        self.of_this_round().count()
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.object.state().broken.load(Ordering::SeqCst) != UNDECIDED || self.has_lost_one()
    }

    /// Whether somebody has died who waited, and nobody has dealt with it yet.
    fn has_lost_one(&self) -> bool {
        let round = self.round();
        self.waiters().dead().any(|(ticket, told, _)| ticket == round && told.is_none())
    }

    fn waiters(&self) -> Waiters<'_> {
        Waiters(self.object.tail())
    }

    fn round(&self) -> u32 {
        self.object.state().round.load(Ordering::SeqCst) >> OUTCOME_BITS
    }

    fn of_this_round(&self) -> impl Iterator<Item = &Slot> {
        let round = self.round();
        let waiting = self.waiters().waiting();
        waiting.filter(move |(ticket, _)| *ticket == round).map(|(_, slot)| slot)
    }

    /// Takes the mutex of the slots, and does what those left undone who have died.
    fn enter(&self) -> Guard<'_> {
        let state = self.object.state();
        // SAFETY: the segment stays mapped for as long as a handle lives, which the guard borrows.
        let guard = unsafe { state.mutex.enter() };
        let round = state.round.load(Ordering::SeqCst);
        if round & ((1 << OUTCOME_BITS) - 1) != UNDECIDED {
            self.tell_all(round);
        }
        let broken = state.broken.load(Ordering::SeqCst);
        if broken != UNDECIDED && self.waiting() > 0 {
            self.decide(broken);
        }
        let round = self.round();
        for (ticket, told, slot) in self.waiters().dead() {
            if ticket == round && told.is_none() {
                self.break_with(WAITER_DIED);
            }
            slot.bury();
        }
        guard
    }

    /// Whether somebody has died, and left something undone.
    fn is_unsettled(&self) -> bool {
        let outcome = self.object.state().round.load(Ordering::SeqCst) & ((1 << OUTCOME_BITS) - 1);
        outcome != UNDECIDED || self.waiters().dead().next().is_some()
    }

    /// Ends the round so. Under the mutex of the slots, as what follows.
    fn decide(&self, outcome: u32) {
        let round = self.round() << OUTCOME_BITS | outcome;
        self.object.state().round.store(round, Ordering::SeqCst);
        self.tell_all(round);
    }

    /// Tells all of the round how it has ended. Who is killed meanwhile leaves it to the next who
    /// enters: its own death wakes one.
    fn tell_all(&self, round: u32) {
        let outcome = round & ((1 << OUTCOME_BITS) - 1);
        for slot in self.of_this_round() {
            waiters::tell(slot, outcome);
        }
        if outcome != PASSED && outcome != RESET {
            self.object.state().broken.store(outcome, Ordering::SeqCst);
        }
        let next = (round >> OUTCOME_BITS).wrapping_add(1) << OUTCOME_BITS;
        self.object.state().round.store(next, Ordering::SeqCst);
    }

    fn break_with(&self, outcome: u32) {
        // Whoever is killed meanwhile has done nothing yet, or those are told who wait.
        if self.waiting() > 0 {
            self.decide(outcome);
        }
        self.object.state().broken.store(outcome, Ordering::SeqCst);
    }

    fn come(&self, wait: Wait, action: impl FnOnce()) -> Result<BarrierWaitResult, BarrierError> {
        let state = self.object.state();
        let inside = self.enter();
        match state.broken.load(Ordering::SeqCst) {
            UNDECIDED => {}
            outcome => return Err(BarrierError::of(outcome)),
        }
        let before = self.waiting();
        let slot = self.slot()?;
        let index = self.parties().saturating_sub(before + 1);
        let outcome = if index == 0 {
            self.act(action, slot);
            drop(inside);
            waiters::told(slot).unwrap_or(PASSED)
        } else {
            drop(inside);
            self.sleep(slot, wait)
        };
        slot.leave();
        match outcome {
            PASSED => Ok(BarrierWaitResult { index }),
            outcome => Err(BarrierError::of(outcome)),
        }
    }

    /// Runs the action of the last to come, and lets all go on.
    fn act(&self, action: impl FnOnce(), slot: &Slot) {
        /// Breaks the barrier if the action panics.
        struct Failed<'a>(&'a Barrier, &'a Slot);
        impl Drop for Failed<'_> {
            fn drop(&mut self) {
                self.0.break_with(ACTION_FAILED);
                self.1.leave();
            }
        }
        let failed = Failed(self, slot);
        action();
        std::mem::forget(failed);
        // Unless the action itself has put an end to the round.
        if waiters::told(slot).is_none() {
            self.decide(PASSED);
        }
    }

    /// Waits for the outcome of the round.
    fn sleep(&self, slot: &Slot, wait: Wait) -> u32 {
        loop {
            match self.waiters().sleep(slot, wait) {
                Woken::Told(outcome) => {
                    // The kernel may have woken this one for a death, after it was told; of one who
                    // had not yet told all, perhaps.
                    if self.is_unsettled() {
                        drop(self.enter());
                    }
                    return outcome;
                }
                Woken::NeighbourDied => drop(self.enter()),
                Woken::TimedOut => {
                    let _inside = self.enter();
                    if waiters::told(slot).is_none() {
                        self.break_with(TIMED_OUT);
                    }
                }
            }
        }
    }

    /// A slot for the calling thread, in this round. Under the mutex of the slots.
    fn slot(&self) -> Result<&Slot, BarrierError> {
        if Thread::current().owns_too_many() {
            return Err(BarrierError::TooMany);
        }
        loop {
            // SAFETY: the segment stays mapped for as long as a handle lives, which this borrows,
            // and the thread leaves the slot before it returns to its caller.
            if let Some(slot) = unsafe { self.waiters().enter(self.round()) } {
                if self.waiters().few_free() {
                    self.grow();
                }
                return Ok(slot);
            }
            self.grow().ok_or(BarrierError::NoRoom)?;
        }
    }

    /// Makes room for twice as many. Under the mutex of the slots.
    fn grow(&self) -> Option<()> {
        let slots = &self.object.state().slots;
        let len = slots.load(Ordering::SeqCst);
        self.object.grow_tail(len as usize * 2).ok()?;
        slots.store(len * 2, Ordering::SeqCst);
        Some(())
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("waiting", &self.waiting())
            .field("broken", &self.is_broken())
            .field("made_at", &self.object.place())
            .finish()
    }
}
