//! Places in shared memory, each of which one thread at a time can own: a reader's, a permit's, a
//! waiter's.
//!
//! Whoever waits for something that others hold sleeps on their slots too, so that the kernel wakes
//! it when one of them dies.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::kernel::{self, AtomicU32, DIED, MAX_WATCHED, OWNER, Thread, WAITERS, Wait, Word};
use crate::error::Result;
use crate::shm::object::{Kind, Object};
use crate::sys::robust;

/// How long a thread sleeps that could not watch all it should.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One place. On a cache line of its own, so that owners of two do not disturb each other.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    word: Word,
    /// What the owner says about itself; left as it was when the slot is given back.
    pub(crate) note: [AtomicU32; 4],
}

/// A slot that nobody can take: it is not there. No thread has this number.
pub(crate) const ABSENT: u32 = OWNER;

/// How a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occupancy {
    Free,
    /// By the thread of this number.
    Taken(u32),
    /// Its owner died, and nobody has dealt with it.
    Died,
    Absent,
}

#[inline]
fn occupancy(word: u32) -> Occupancy {
    match word & OWNER {
        ABSENT => Occupancy::Absent,
        0 if word & DIED != 0 => Occupancy::Died,
        0 => Occupancy::Free,
        tid => Occupancy::Taken(tid),
    }
}

impl Slot {
    #[inline]
    pub(crate) fn occupancy(&self) -> Occupancy {
        occupancy(self.word.value().load(Ordering::SeqCst))
    }

    /// What its word is, and what that means.
    #[inline]
    pub(crate) fn look(&self) -> (u32, Occupancy) {
        let word = self.word.value().load(Ordering::SeqCst);
        (word, occupancy(word))
    }

    pub(crate) fn word(&self) -> &Word {
        &self.word
    }

    /// Takes the slot if it is free, or its owner died. `watched` says that others may sleep on it.
    ///
    /// # Safety
    /// The slot must stay where it is until this thread has given it back, or has ended.
    #[inline]
    pub(crate) unsafe fn take(&self, watched: bool) -> bool {
        let (seen, occupancy) = self.look();
        let watched = if watched { WAITERS } else { 0 };
        let free = matches!(occupancy, Occupancy::Free | Occupancy::Died);
        // SAFETY: the caller's promise.
        free && unsafe { Thread::current().claim(&self.word, seen, seen & WAITERS | watched) }
            .is_ok()
    }

    /// Gives the slot back, and wakes one who sleeps on it, if somebody does: then true.
    #[inline]
    pub(crate) fn give_back(&self) -> bool {
        Thread::current().release(&self.word).is_some_and(|woken| woken > 0)
    }

    /// Gives the slot back, and disturbs nobody: those who sleep on it want to know of a death only.
    pub(crate) fn leave(&self) {
        Thread::current().release_quietly(&self.word, 0);
    }

    /// Gives the slot back as one that is not there any more.
    pub(crate) fn remove(&self) {
        Thread::current().release_quietly(&self.word, ABSENT);
    }

    /// Makes a slot that is not there a free one. False if it is there.
    pub(crate) fn restore(&self) -> bool {
        let word = self.word.value();
        loop {
            let seen = word.load(Ordering::SeqCst);
            if occupancy(seen) != Occupancy::Absent {
                return false;
            }
            if word
                .compare_exchange(seen, seen & WAITERS, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
            {
                return true;
            }
        }
    }

    /// Makes the slot free if its owner died. False if another was quicker, or it is not so.
    pub(crate) fn bury(&self) -> bool {
        let word = self.word.value();
        let seen = word.load(Ordering::SeqCst);
        occupancy(seen) == Occupancy::Died
            && word
                .compare_exchange(seen, seen & WAITERS, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }

    /// Announces a sleeper, so that giving the slot back, and dying with it, wake one. Gives what
    /// the word is then, for [`wait_any`](kernel::wait_any).
    fn watch(&self) -> u32 {
        self.word.value().fetch_or(WAITERS, Ordering::SeqCst) | WAITERS
    }
}

/// Takes one of the object's slots: the first free one that comes in the order that `order` gives them.
/// If none is free, `count` says twice as many from then on.
///
/// # Errors
/// If there is no memory for more.
///
/// # Safety
/// As [`Slot::take`], for each of the object's slots.
#[inline]
pub(crate) unsafe fn take_one_of<'a, S: Kind<Tail = Slot>, T: ?Sized, I>(
    object: &'a Object<S, T>,
    count: &AtomicU32,
    order: impl Fn(&'a [Slot]) -> I,
) -> Result<&'a Slot>
where
    I: Iterator<Item = &'a Slot>,
{
    loop {
        let slots = object.tail();
        // SAFETY: the caller's promise.
        if let Some(slot) = order(slots).find(|slot| unsafe { slot.take(false) }) {
            return Ok(slot);
        }
        let len = slots.len() as u32;
        object.grow_tail(len as usize * 2)?;
        // Or another has, by now.
        let _ = count.compare_exchange(len, len * 2, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// Sleeps while `main` is `expected` and none of `slots` is given back or dies; false when the time
/// is up. May return early for no reason.
///
/// `ready` is asked after the sleep was announced on all of them: if it then is so, there is none.
/// `woken` is called at the end of the sleep. The caller takes a slot then, or calls
/// [`Thread::awake`]: until that it passes the wake-up on if it is killed.
/// If there are more slots than the kernel can watch, it returns ten times a second.
pub(crate) fn wait_with<'a>(
    words: [(&'a AtomicU32, u32); 2],
    slots: impl ExactSizeIterator<Item = &'a Slot>,
    wait: Wait,
    ready: impl FnOnce() -> bool,
    woken: impl FnOnce(),
) -> bool {
    let (main, _) = words[0];
    let mut watched: [(&AtomicU32, u32); MAX_WATCHED] = [words[0]; MAX_WATCHED];
    watched[1] = words[1];
    let all = slots.len() + 2 <= MAX_WATCHED;
    let mut count = 2;
    for (place, slot) in watched[2..].iter_mut().zip(slots) {
        let value = slot.watch();
        if value & OWNER == 0 {
            return true; // it must not sleep for as long as the slot is free
        }
        *place = (slot.word.value(), value);
        count += 1;
    }
    if ready() {
        return true;
    }
    let (now, early) = if all { (wait, false) } else { wait.no_longer_than(LOOK_AGAIN) };
    // From here until it has taken something, or is `awake`, it passes a wake-up on if it is killed.
    let in_time = Thread::current().sleep_with(main, || {
        let in_time = kernel::wait_any(&watched[..count], now);
        woken();
        in_time
    });
    in_time || early
}

/// Sleeps while the slot is in the hands of `tid`; false when the time is up.
pub(crate) fn wait_for(slot: &Slot, tid: u32, wait: Wait) -> bool {
    let word = slot.word.value();
    let seen = word.load(Ordering::SeqCst);
    if seen & OWNER != tid {
        return true;
    }
    let watched = seen | WAITERS;
    if seen != watched
        && word.compare_exchange(seen, watched, Ordering::SeqCst, Ordering::SeqCst).is_err()
    {
        return true;
    }
    kernel::wait(word, watched, wait)
}

/// Whether a thread of this process owns one of them.
pub(crate) fn any_owned_here(slots: &[Slot]) -> bool {
    slots.iter().any(|slot| match slot.occupancy() {
        Occupancy::Taken(tid) => robust::is_thread_of_this_process(tid),
        _ => false,
    })
}
