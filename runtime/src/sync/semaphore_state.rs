//! How the permits of a semaphore are taken and waited for: each is a slot, which its holder owns.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use super::kernel::{self, AtomicU32, Thread, WAITERS, Wait};
use super::semaphore::{Permit, Semaphore};
use super::slots::{self, Occupancy, Slot};
use super::spin::Spin;
use crate::error::Result;
use crate::shm::object::Kind;

/// What a semaphore consists of in shared memory, beside its slots.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    /// How many slots there are: free, taken, or absent.
    pub(super) slots: AtomicU32,
    /// Whether more permits can be released than there were at first.
    pub(super) bounded: bool,
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

impl State {
    pub(super) const fn new(permits: u32, bounded: bool) -> Self {
        Self {
            slots: AtomicU32::new(permits),
            bounded,
            gate: AtomicU32::new(0),
            hint: AtomicU32::new(0),
        }
    }
}

impl Semaphore {
    /// Makes a permit, and wakes so many of those who wait; for who is killed in between, the kernel
    /// wakes one.
    pub(super) fn wake_after(&self, count: u32, make: impl FnOnce() -> bool) -> bool {
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
    pub(super) fn open_gate(&self, count: u32) {
        let gate = &self.object.state().gate;
        if gate.load(Ordering::SeqCst) != 0 {
            gate.store(0, Ordering::SeqCst);
            kernel::wake(gate, count);
        }
    }

    #[inline(always)]
    pub(super) fn take(&self, wait: Wait) -> Result<Permit<'_>, NotTaken> {
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
            return taken.then_some(slot).map(|slot| Permit::of(self, slot));
        }
        let (before, from) = slots.split_at(first);
        let mut in_turn = from.iter().chain(before).enumerate();
        // SAFETY: as above.
        let (turn, slot) = in_turn.find(|(_, slot)| unsafe { slot.take(watched) })?;
        if slots.len() > 1 {
            state.hint.store((first + turn + 1) as u32, Ordering::Relaxed);
        }
        Some(Permit::of(self, slot))
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

pub(super) fn is_free(slot: &Slot) -> bool {
    matches!(slot.occupancy(), Occupancy::Free | Occupancy::Died)
}

/// Why there is no permit.
pub(super) enum NotTaken {
    TimedOut,
    TooMany,
}
