//! Threads that wait to be told something, one by one, each in a slot of its own: what the condition
//! and the barrier stand on.
//!
//! Whoever tells writes into the slot. The other waiters sleep on the slot too, so that the kernel
//! wakes one of them when a waiter dies: what it was told, and could not act upon, is then somebody
//! else's business. Slots are taken from the lowest on, so that neighbours are there to watch.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use super::kernel::{self, AtomicU32, MAX_WATCHED, Thread, Wait};
use super::slots::{LOOK_AGAIN, Occupancy, Slot};
use super::spin::Spin;

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

    /// Whether so few places are free that there should be more: those who sleep watch the next two.
    pub(super) fn few_free(self) -> bool {
        self.0.iter().filter(|slot| slot.occupancy() == Occupancy::Free).take(2).count() < 2
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
        let mut spin = Spin::new();
        while told(slot).is_none() && spin.pause() {}
        if told(slot).is_some() {
            spin.paid();
        }
        loop {
            if let Some(word) = told(slot) {
                return Woken::Told(word);
            }
            let mut watched = [(&slot.note[SIGNAL], WAITING); MAX_WATCHED];
            let Some((count, all)) = self.watch(slot, &mut watched[1..]) else {
                return Woken::NeighbourDied;
            };
            let (now, early) = if all { (wait, false) } else { wait.no_longer_than(LOOK_AGAIN) };
            // Killed after it was woken, and before it could act on it, it passes that on.
            let in_time = Thread::current()
                .with_pending(watched[0].0, || kernel::wait_any(&watched[..=count], now));
            if !in_time && !early {
                return told(slot).map_or(Woken::TimedOut, Woken::Told);
            }
        }
    }

    /// Puts the other waiters' words into `watched`, and those of the two slots that will be taken
    /// next; says how many, and whether these are all. `None` if one of the waiters has died.
    ///
    /// So whoever dies has all on its word who have come to sleep after it, and, if it was one of
    /// the two that were next, those who slept before. (Who takes a slot announces by itself that it
    /// is slept on.)
    fn watch(self, slot: &Slot, watched: &mut [(&'a AtomicU32, u32)]) -> Option<(usize, bool)> {
        let mut free = 0;
        let mut count = 0;
        for other in self.0 {
            let (value, occupancy) = other.look();
            match occupancy {
                _ if std::ptr::eq(other, slot) => continue,
                Occupancy::Died => return None,
                Occupancy::Taken(_) => {}
                _ if free == 2 => continue,
                _ => free += 1,
            }
            if count == watched.len() {
                return Some((count, false));
            }
            watched[count] = (other.word().value(), value);
            count += 1;
        }
        Some((count, true))
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
