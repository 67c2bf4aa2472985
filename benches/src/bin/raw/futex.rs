//! The shortest locks that a word and a futex make. No one recovers them from a process that dies.

use std::ptr::null;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

use nix::libc;

use crate::locks::{Barrier, Event, Lock, Place, Semaphore};

/// Sleeps, if the word is `expected`, until it is woken, or for no reason.
pub(crate) fn sleep(word: &AtomicU32, expected: u32) {
    let no_timeout = null::<libc::timespec>();
    // SAFETY: the kernel reads a word that is there.
    unsafe {
        libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, expected, no_timeout);
    }
}

pub(crate) fn wake(word: &AtomicU32, sleepers: i32) {
    // SAFETY: the kernel takes the word's address only.
    unsafe {
        libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, sleepers);
    }
}

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const AWAITED: u32 = 2;

/// A mutex.
pub(crate) struct Mutex(AtomicU32);

impl Place for Mutex {
    fn blank() -> Self {
        Self(FREE.into())
    }
}

impl Lock for Mutex {
    fn lock(&self) {
        if self.0.compare_exchange(FREE, TAKEN, Acquire, Relaxed).is_err() {
            while self.0.swap(AWAITED, Acquire) != FREE {
                sleep(&self.0, AWAITED);
            }
        }
    }

    fn unlock(&self) {
        if self.0.swap(FREE, Release) == AWAITED {
            wake(&self.0, 1);
        }
    }
}

/// A semaphore.
pub(crate) struct Permits {
    free: AtomicU32,
    sleepers: AtomicU32,
}

impl Place for Permits {
    fn blank() -> Self {
        Self { free: 0.into(), sleepers: 0.into() }
    }
}

impl Semaphore for Permits {
    fn set_to(&self, permits: u32) {
        self.free.store(permits, Release);
    }

    fn acquire(&self) {
        let take_one = |free: u32| free.checked_sub(1);
        while self.free.fetch_update(Acquire, Relaxed, take_one).is_err() {
            self.sleepers.fetch_add(1, SeqCst);
            sleep(&self.free, 0);
            self.sleepers.fetch_sub(1, Relaxed);
        }
    }

    fn release(&self) {
        // A sleeper counts itself before the kernel looks at `free`: one of us sees the other.
        self.free.fetch_add(1, SeqCst);
        if self.sleepers.load(SeqCst) > 0 {
            wake(&self.free, 1);
        }
    }
}

/// An event.
pub(crate) struct Flag(AtomicU32);

const CLEAR: u32 = 0;
const SET: u32 = 1;

impl Place for Flag {
    fn blank() -> Self {
        Self(CLEAR.into())
    }
}

impl Event for Flag {
    fn set(&self) {
        if self.0.swap(SET, Release) == AWAITED {
            wake(&self.0, i32::MAX);
        }
    }

    fn clear(&self) {
        let _ = self.0.compare_exchange(SET, CLEAR, Relaxed, Relaxed);
    }

    fn wait(&self) {
        loop {
            match self.0.compare_exchange(CLEAR, AWAITED, Acquire, Acquire) {
                Err(SET) => return,
                _ => sleep(&self.0, AWAITED),
            }
        }
    }
}

/// A barrier.
pub(crate) struct Gate {
    parties: AtomicU32,
    here: AtomicU32,
    round: AtomicU32,
}

impl Place for Gate {
    fn blank() -> Self {
        Self { parties: 0.into(), here: 0.into(), round: 0.into() }
    }
}

impl Barrier for Gate {
    fn set_for(&self, parties: u32) {
        self.parties.store(parties, Release);
    }

    fn wait(&self) {
        let round = self.round.load(Acquire);
        if self.here.fetch_add(1, AcqRel) + 1 == self.parties.load(Relaxed) {
            self.here.store(0, Relaxed);
            self.round.fetch_add(1, Release);
            wake(&self.round, i32::MAX);
        } else {
            while self.round.load(Acquire) == round {
                sleep(&self.round, round);
            }
        }
    }
}
