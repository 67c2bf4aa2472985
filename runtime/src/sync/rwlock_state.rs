//! How readers and writers of a lock get past each other.
//!
//! Each reader takes a slot; a writer takes the lock's word, which keeps new readers out, and then
//! waits until every slot is free. Readers so do not disturb each other, and the kernel wakes the
//! writer when one of them dies.

#![allow(unsafe_code)]

use std::panic::Location;
use std::sync::atomic::Ordering;
use std::thread;

use super::errors::{Deadlock, NotLocked, Waiting};
use super::holder;
use super::kernel::{self, AtomicU32, OWNER, Thread, WAITERS, Wait};
use super::lock::{Lock, Subject};
use super::rwlock::RwLock;
use super::slots::{self, Occupancy, Slot};
use crate::error::Result;
use crate::shm::object::Kind;

/// How often a thread looks again before it sleeps.
const SPINS: usize = 100;
/// How many slots a lock has at first.
const FIRST_SLOTS: u32 = 8;
/// The note of a slot that says how many readings it stands for, beside the first. Only its owner
/// looks at it.
pub(super) const MORE: usize = 0;

/// What the lock consists of in shared memory, beside the readers' slots.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    pub(super) writer: Lock,
    /// Whether the owner of `writer` has got past the readers.
    pub(super) writing: AtomicU32,
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
    pub(super) const fn new() -> Self {
        Self { writer: Lock::new(), writing: AtomicU32::new(0), slots: AtomicU32::new(FIRST_SLOTS) }
    }
}

impl<T: ?Sized> RwLock<T> {
    pub(super) fn subject(&self) -> Subject<'_> {
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

    pub(super) fn give_word_back(&self, panicking: bool) {
        let State { writer, writing, .. } = self.object.state();
        writer.release_after(panicking, None, || writing.store(0, Ordering::SeqCst));
    }

    /// Does what is to be done when a writer has died, if nobody has done it yet.
    pub(super) fn bury_writer(&self) {
        if self.object.state().writer.raw().is_orphaned()
            && self.take_word(Wait::Never, Location::caller()).is_ok()
        {
            self.give_word_back(thread::panicking());
        }
    }

    #[inline]
    pub(super) fn begin_to_read(
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
    pub(super) fn begin_to_write(
        &self,
        wait: Wait,
        at: &'static Location<'static>,
    ) -> Result<(), NotLocked> {
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
