//! How a round of a barrier is decided, and all of it are told.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use super::barrier::{Barrier, BarrierError, BarrierWaitResult};
use super::kernel::{AtomicU32, Thread, Wait};
use super::raw::{Guard, RawMutex};
use super::slots::{self, Slot};
use super::waiters::{self, Waiters, Woken};
use crate::error::Result;
use crate::shm::object::Kind;

/// What becomes of a round. Everything but [`PASSED`] and [`RESET`] breaks the barrier.
pub(super) const UNDECIDED: u32 = 0;
const PASSED: u32 = 1;
pub(super) const RESET: u32 = 2;
const TIMED_OUT: u32 = 3;
pub(super) const ABORTED: u32 = 4;
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
    pub(super) parties: u32,
    /// The longest that [`Barrier::wait`] waits, in nanoseconds; 0 for ever.
    pub(super) timeout: u64,
    /// The number of the round, and, from the moment it is decided until all have been told, its
    /// outcome: whoever finds one here goes on telling.
    round: AtomicU32,
    /// The outcome that broke the barrier, or 0.
    pub(super) broken: AtomicU32,
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

impl State {
    pub(super) fn new(parties: u32, timeout: u64) -> Self {
        Self {
            mutex: RawMutex::new(),
            // Those of the last round may still be leaving when all of the next have come.
            slots: AtomicU32::new(parties.max(4) * 2),
            parties,
            timeout,
            round: AtomicU32::new(0),
            broken: AtomicU32::new(UNDECIDED),
        }
    }
}

impl BarrierError {
    fn of(outcome: u32) -> Self {
        match outcome {
            RESET => Self::Reset,
            TIMED_OUT => Self::Timeout,
            WAITER_DIED => Self::WaiterDied,
            ACTION_FAILED => Self::ActionFailed,
            _ => Self::Aborted,
        }
    }
}

impl Barrier {
    /// Whether somebody has died who waited, and nobody has dealt with it yet.
    pub(super) fn has_lost_one(&self) -> bool {
        let round = self.round();
        self.waiters().dead().any(|(ticket, told, _)| ticket == round && told.is_none())
    }

    pub(super) fn waiters(&self) -> Waiters<'_> {
        Waiters(self.object.tail())
    }

    fn round(&self) -> u32 {
        self.object.state().round.load(Ordering::SeqCst) >> OUTCOME_BITS
    }

    pub(super) fn of_this_round(&self) -> impl Iterator<Item = &Slot> {
        let round = self.round();
        let waiting = self.waiters().waiting();
        waiting.filter(move |(ticket, _)| *ticket == round).map(|(_, slot)| slot)
    }

    /// Takes the mutex of the slots, and does what those left undone who have died.
    pub(super) fn enter(&self) -> Guard<'_> {
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
    pub(super) fn decide(&self, outcome: u32) {
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

    pub(super) fn break_with(&self, outcome: u32) {
        // Whoever is killed meanwhile has done nothing yet, or those are told who wait.
        if self.waiting() > 0 {
            self.decide(outcome);
        }
        self.object.state().broken.store(outcome, Ordering::SeqCst);
    }

    pub(super) fn come(
        &self,
        wait: Wait,
        action: impl FnOnce(),
    ) -> Result<BarrierWaitResult, BarrierError> {
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
