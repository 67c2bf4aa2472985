//! A mutex that knows who holds it, and who left it in disorder: what the public locks stand on.

#![allow(unsafe_code)]

use std::panic::Location;
use std::sync::atomic::Ordering;
use std::thread;

use super::detector::DeadlockDetector;
use super::errors::{Deadlock, NotLocked, PoisonCause, Poisoning, Waiting};
use super::holder::{self, Holder, Name, Names, Signature};
use super::kernel::{AtomicU32, AtomicU64, Thread, Wait};
use super::raw::{NotTaken, RawMutex, Taken};
use crate::shm::segment::Segment;
use crate::sys::robust;

const SOUND: u32 = 0;
const PANICKED: u32 = 1;
const DIED: u32 = 2;

/// Beside the token of a holder that gives the lock back. No token has this bit.
const GIVEN_BACK: u64 = 1 << 63;

/// What a lock consists of in shared memory. All that changes with each holder is in one cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Lock {
    raw: RawMutex,
    poison: AtomicU32,
    /// Where the holder has taken it: an address that means something to the holder only.
    place: AtomicU64,
    names: Names,
    /// Who poisoned it.
    culprit: Signature,
}

/// What the words of an error say about a lock.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// `Mutex`, `RwLock`.
    pub(crate) what: &'static str,
    pub(crate) segment: &'a Segment,
    pub(crate) detector: Option<&'a DeadlockDetector>,
}

impl Subject<'_> {
    /// The lock in words: it is told apart by where it was made.
    pub(crate) fn describe(&self) -> String {
        self.segment.describe(self.what)
    }

    /// What is to be done about a thread that wants it and has it.
    pub(crate) fn advice(&self) -> &'static str {
        match self.what {
            "Once" | "OnceLock" => "the work must not ask for itself",
            "RwLock" => "drop its other guard first",
            _ => "drop its guard first, or use a `ReentrantLock`",
        }
    }
}

impl Lock {
    pub(crate) const fn new() -> Self {
        Self {
            raw: RawMutex::new(),
            poison: AtomicU32::new(SOUND),
            place: AtomicU64::new(0),
            names: Names::new(),
            culprit: Signature::new(),
        }
    }

    #[inline]
    pub(crate) fn raw(&self) -> &RawMutex {
        &self.raw
    }

    /// Takes the lock. `orphaned` is told if its last holder died with it, and says whether that
    /// poisons it.
    ///
    /// # Safety
    /// The lock must stay where it is until this thread has given it back, or has ended.
    #[inline]
    pub(crate) unsafe fn acquire(
        &self,
        wait: Wait,
        at: &'static Location<'static>,
        subject: Subject<'_>,
        orphaned: impl FnOnce() -> bool,
    ) -> Result<(), NotLocked> {
        if Thread::current().owns_too_many() {
            return Err(NotLocked::TooMany);
        }
        let token = holder::token();
        let tried_before = self.taking().load(Ordering::Relaxed);
        // Before it has the lock, so that its name is there from the first moment on.
        self.names.sign_in(token, tried_before);
        self.taking().store(token, Ordering::Relaxed);
        let mut announced = None;
        // SAFETY: the caller's promise.
        let taken = unsafe {
            self.raw.lock(wait, || match subject.detector {
                // A wait that ends by itself can be part of no deadlock.
                Some(detector) if announced.is_none() && wait == Wait::Forever => {
                    announced = Some(detector.announce(subject, at, false)?);
                    Ok(())
                }
                _ => Ok(()),
            })
        };
        match taken {
            Ok(Taken::Clean) => {}
            Ok(Taken::FromTheDead) => {
                // Killed within this, it leaves the lock to the next as one that has died with it.
                if orphaned() {
                    self.poison_for(self.dead(token, tried_before));
                }
            }
            Err(NotTaken::TimedOut) if wait == Wait::Never => {
                return Err(NotLocked::TimedOut(None));
            }
            Err(NotTaken::TimedOut) => return Err(NotLocked::TimedOut(self.holder())),
            Err(NotTaken::Refused(deadlock)) => return Err(NotLocked::Deadlock(deadlock)),
            Err(NotTaken::Own) => return Err(NotLocked::Deadlock(self.own(subject, at))),
        }
        // Who held it before stays to be found until this one has said that it holds it: killed in
        // between, it leaves the lock in the state in which the other died.
        let held_before = self.holding().load(Ordering::Relaxed) & !GIVEN_BACK;
        self.names.sign(token, held_before);
        self.holding().store(token, Ordering::Relaxed);
        self.place.store(std::ptr::from_ref(at) as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Gives the lock back; poisoned, if the thread has begun to panic since it took it.
    #[inline]
    pub(crate) fn release(
        &self,
        panicking_before: bool,
        detector: Option<(&DeadlockDetector, &Segment)>,
    ) {
        self.release_after(panicking_before, detector, || {});
    }

    /// As [`release`](Self::release), with a `last` thing to do while it is still held.
    #[inline]
    pub(crate) fn release_after(
        &self,
        panicking_before: bool,
        detector: Option<(&DeadlockDetector, &Segment)>,
        last: impl FnOnce(),
    ) {
        if self.raw.owner() != Some(Thread::current().tid()) {
            return; // a copy of the owner's process
        }
        self.poison_if_panicking(panicking_before);
        if let Some((detector, segment)) = detector {
            detector.released(segment, false);
        }
        last();
        let holding = self.holding().load(Ordering::Relaxed);
        self.holding().store(holding | GIVEN_BACK, Ordering::Relaxed);
        self.raw.unlock();
    }

    /// Poisons the lock if the calling thread, which holds it, has begun to panic.
    #[inline]
    pub(crate) fn poison_if_panicking(&self, panicking_before: bool) {
        if !panicking_before && thread::panicking() {
            self.culprit.set(holder::own());
            self.poison.store(PANICKED, Ordering::SeqCst);
        }
    }

    /// The token of who has written that it holds the lock, until another does; with [`GIVEN_BACK`]
    /// once it gives it back.
    #[inline]
    fn holding(&self) -> &AtomicU64 {
        &self.raw.word().notes()[0]
    }

    /// The token of who was last to try.
    #[inline]
    fn taking(&self) -> &AtomicU64 {
        &self.raw.word().notes()[1]
    }

    /// Who has died with the lock. That is the one that has written that it holds it. If it has
    /// written as well that it gives it back, it may have done so: then it is most likely the last
    /// that has tried since, killed right after it had taken the lock.
    ///
    /// `own` is the calling thread's token, of which there is none before `tried_before`.
    #[cold]
    fn dead(&self, own: u64, tried_before: u64) -> Name {
        let holding = self.holding().load(Ordering::Relaxed);
        let taking = self.taking().load(Ordering::Relaxed);
        let taking = self.names.comer(if taking == own { tried_before } else { taking });
        let held_last = self.names.holder(holding & !GIVEN_BACK);
        if holding & GIVEN_BACK == 0 {
            return held_last;
        }
        match taking {
            Some(taking) if taking.has_ended() => taking,
            _ if held_last.is_known() && held_last.has_ended() => held_last,
            _ => Name::UNKNOWN,
        }
    }

    fn poison_for(&self, name: Name) {
        self.culprit.set(name);
        self.poison.store(DIED, Ordering::SeqCst);
    }

    /// Who has poisoned the lock, if it is.
    #[inline]
    pub(crate) fn poisoned(&self, subject: Subject<'_>) -> Option<Poisoning> {
        match self.poison.load(Ordering::Relaxed) {
            SOUND => None,
            how => Some(self.poisoning(how, subject)),
        }
    }

    #[cold]
    fn poisoning(&self, how: u32, subject: Subject<'_>) -> Poisoning {
        Poisoning {
            lock: subject.describe(),
            holder: self.culprit.get().to_holder(),
            cause: if how == PANICKED { PoisonCause::Panicked } else { PoisonCause::Died },
        }
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.is_poisoned_by_flag() || self.raw.is_orphaned()
    }

    pub(crate) fn is_poisoned_by_flag(&self) -> bool {
        self.poison.load(Ordering::Relaxed) != SOUND
    }

    /// The word that is 0 as long as the lock is sound.
    pub(crate) fn poison_mark(&self) -> &AtomicU32 {
        &self.poison
    }

    pub(crate) fn heal(&self) {
        self.poison.store(SOUND, Ordering::SeqCst);
    }

    /// Who holds it now, as far as can be told.
    pub(crate) fn holder(&self) -> Option<Holder> {
        let tid = self.raw.owner()?;
        let holding = self.holding().load(Ordering::Relaxed) & !GIVEN_BACK;
        let holder = self.names.holder(holding).to_holder();
        // It may just be writing its name.
        (holder.tid() == tid).then_some(holder)
    }

    /// The calling thread waits for itself.
    #[cold]
    fn own(&self, subject: Subject<'_>, at: &Location<'_>) -> Deadlock {
        let place = self.place.load(Ordering::Relaxed) as *const Location<'static>;
        // SAFETY: this thread holds the lock, so it was this process that wrote the address, which
        // is that of a constant of this very program.
        let taken = unsafe { place.as_ref() };
        let taken = taken.map_or_else(String::new, |taken| format!(" (and taken at {taken})"));
        let waiting = Waiting {
            who: holder::own().to_holder(),
            lock: format!("{}{taken}", subject.describe()),
            at: at.to_string(),
        };
        Deadlock::of_one(waiting, subject.advice())
    }

    /// Whether a thread of this process has the lock, so that its memory must stay.
    pub(crate) fn is_owned_here(&self) -> bool {
        self.raw.owner().is_some_and(robust::is_thread_of_this_process)
    }
}
