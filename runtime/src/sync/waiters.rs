//! Threads that wait to be told something, one by one, each in a slot of its own: what the condition
//! and the barrier stand on.
//!
//! Whoever tells writes into the slot. The other waiters sleep on the slot too, so that the kernel
//! wakes one of them when a waiter dies: what it was told, and could not act upon, is then somebody
//! else's business. Slots are taken from the lowest on, so that neighbours are there to watch.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use super::kernel::{self, AtomicU32, Thread, Wait};
use super::slots::{self, Occupancy, Slot};

/// How many neighbours on each side a waiter watches.
const WATCHED: usize = 16;

/// Nothing was told yet. The bits of an owner are 0 in all signals, so that the kernel can wake the
/// sleeper for one who is killed before it did.
const WAITING: u32 = 0;
const TOLD: u32 = 0x8000_0000;

/// The notes of a slot.
const SIGNAL: usize = 0;
const TICKET: usize = 1;
const WORD: usize = 2;

/// Why a waiter does not sleep any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// It was told this.
    Told(u32),
    /// A neighbour has died.
    NeighbourDied,
    TimedOut,
}

/// The waiters of one object. All but sleeping and leaving is done under the object's mutex.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiters<'a>(pub(super) &'a [Slot]);

impl<'a> Waiters<'a> {
    /// Takes the first free place, with a ticket; `None` if there is no free one.
    ///
    /// # Safety
    /// The slots must stay where they are until this thread has left, or has ended.
    pub(super) unsafe fn enter(self, ticket: u32) -> Option<&'a Slot> {
        // Free ones only: of the dead there may be something to be learnt.
        let mut free = self.0.iter().filter(|slot| slot.occupancy() == Occupancy::Free);
        // SAFETY: the caller's promise.
        let slot = free.find(|slot| unsafe { slot.take(true) })?;
        slot.note[TICKET].store(ticket, Ordering::SeqCst);
        slot.note[SIGNAL].store(WAITING, Ordering::SeqCst);
        Some(slot)
    }

    /// Those who wait and were not told anything, with their tickets.
    pub(super) fn waiting(self) -> impl Iterator<Item = (u32, &'a Slot)> {
        self.0
            .iter()
            .filter(|slot| matches!(slot.occupancy(), Occupancy::Taken(_)) && told(slot).is_none())
            .map(|slot| (slot.note[TICKET].load(Ordering::SeqCst), slot))
    }

    /// Those who died, with their tickets, and what they had been told. They stay until they are
    /// [buried](Slot::bury).
    pub(super) fn dead(self) -> impl Iterator<Item = (u32, Option<u32>, &'a Slot)> {
        self.0
            .iter()
            .filter(|slot| slot.occupancy() == Occupancy::Died)
            .map(|slot| (slot.note[TICKET].load(Ordering::SeqCst), told(slot), slot))
    }

    /// Sleeps until the owner of `slot`, the calling thread, is told something.
    pub(super) fn sleep(self, slot: &Slot, wait: Wait) -> Woken {
        let start = self.0.as_ptr() as usize;
        let own = (std::ptr::from_ref(slot) as usize - start) / size_of::<Slot>();
        let near = own.saturating_sub(WATCHED)..(own + WATCHED + 1).min(self.0.len());
        let (before, after) = (&self.0[near.start..own], &self.0[own + 1..near.end]);
        let neighbours: Vec<&Slot> = before.iter().chain(after).collect();
        let a_death = || neighbours.iter().any(|slot| slot.occupancy() == Occupancy::Died);
        loop {
            if let Some(word) = told(slot) {
                return Woken::Told(word);
            }
            if a_death() {
                return Woken::NeighbourDied;
            }
            let signal = (&slot.note[SIGNAL], WAITING);
            if !slots::wait_with(signal, neighbours.iter().copied(), wait, a_death) {
                return told(slot).map_or(Woken::TimedOut, Woken::Told);
            }
        }
    }
}

/// Tells the owner of the slot this word, and wakes it. Who is killed in the middle has told it, or
/// has not.
pub(super) fn tell(slot: &Slot, word: u32) {
    slot.note[WORD].store(word, Ordering::SeqCst);
    let signal: &AtomicU32 = &slot.note[SIGNAL];
    Thread::current().with_pending(signal, || {
        signal.store(TOLD, Ordering::SeqCst);
        kernel::wake(signal, 1);
    });
}

/// What the owner of the slot was told.
pub(super) fn told(slot: &Slot) -> Option<u32> {
    (slot.note[SIGNAL].load(Ordering::SeqCst) == TOLD)
        .then(|| slot.note[WORD].load(Ordering::SeqCst))
}
