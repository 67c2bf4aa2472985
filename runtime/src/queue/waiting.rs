//! Waiting at a queue: for what, where, and until when; and the verdict that it would be for ever.
//!
//! `README.md` tells who is counted, and why nobody is told so who could still get something
//! ("Who is left").

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::core::Core;
use crate::sync::gate::Gate;
use crate::sync::slots::{self, Occupancy, Slot};
use crate::sync::spin::Spin;
use crate::sys::poll::Wait;
use crate::sys::robust::Thread;
use crate::wire::endpoint::Endpoint;

/// How often a thread that waits looks whether anybody is left.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Item,
    Room,
    /// In the socket.
    RoomBeside,
    Finish,
}

impl For {
    pub(super) const ALL: [Self; 4] = [Self::Item, Self::Room, Self::RoomBeside, Self::Finish];

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Why a wait was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GaveUp {
    TimedOut,
    Disconnected,
}

/// One thread's waiting, from the first look to the end.
pub(super) struct Waiter<'a> {
    core: &'a Arc<Core>,
    what: For,
    wait: Wait,
    spin: Option<Spin>,
    /// The verdicts before it began to wait.
    verdicts: u32,
    /// Where it has slept, and others may sleep still.
    slept: Option<&'a Gate>,
}

impl<'a> Waiter<'a> {
    #[inline]
    pub(super) fn new(core: &'a Arc<Core>, what: For, wait: Wait) -> Self {
        Self { core, what, wait, spin: None, verdicts: 0, slept: None }
    }

    /// Waits until it may be there.
    #[cold]
    pub(super) fn wait(&mut self) -> Result<(), GaveUp> {
        if self.wait == Wait::Never {
            return Err(GaveUp::TimedOut);
        }
        let core: &'a Arc<Core> = self.core;
        let verdicts = &core.common().verdicts;
        let ready = || core.is_there(self.what);
        let first = self.spin.is_none();
        let spin = self.spin.get_or_insert_with(Spin::long);
        while spin.pause() {
            if ready() {
                spin.paid();
                return Ok(());
            }
        }
        if first {
            self.verdicts = verdicts.load(Ordering::SeqCst);
        } else if self.verdicts != verdicts.load(Ordering::SeqCst) && !ready() {
            return Err(GaveUp::Disconnected);
        }
        let idle = (self.wait == Wait::Forever).then(|| Idle::new(core, self.what));
        let before = verdicts.load(Ordering::SeqCst);
        // Who was the last to be there may have left something: so look at that afterwards.
        if core.nobody_is_left(idle.as_ref()) && !ready() {
            // Only for those who wait now: if another was quicker, they were told.
            let (old, new) = (before, before.wrapping_add(1));
            let _ = verdicts.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst);
            core.wake_all();
            return Err(GaveUp::Disconnected);
        }
        let (now, early) = self.wait.no_longer_than(LOOK_AGAIN);
        let in_time = match core.gate(self.what) {
            Some(gate) => {
                self.slept = Some(gate);
                // SAFETY: the gate stays mapped for as long as a handle lives, which is borrowed, and
                // this is `done` before that ends, at the latest when it is dropped.
                unsafe { gate.sleep(now, ready) }
            }
            None => core.is_room_beside(now),
        };
        drop(idle);
        if in_time || early || ready() { Ok(()) } else { Err(GaveUp::TimedOut) }
    }

    /// Has got what it wanted, or gives up: if there is something for another, that one is woken.
    #[inline]
    pub(super) fn done(&mut self) {
        if let Some(gate) = self.slept.take() {
            gate.awake(|| self.core.is_there(self.what));
        }
    }
}

impl Drop for Waiter<'_> {
    #[inline]
    fn drop(&mut self) {
        self.done();
    }
}

/// What all who have the queue tell each other about their waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common<'a> {
    /// Grows when a process wakes that has said that it waits, or waits for something else as well.
    pub(super) wakings: &'a AtomicU32,
    /// Grows when all who had the queue waited for it, so that all are told.
    pub(super) verdicts: &'a AtomicU32,
    /// How many places there are for processes that say that they wait.
    pub(super) places: &'a AtomicU32,
}

/// What the threads of this process tell each other about their waiting.
#[derive(Debug, Default)]
pub(super) struct Here(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// How many of this process's handles are waited with, for as long as it takes, and for what.
    handles: [usize; For::ALL.len()],
    /// The place in which this process says what it waits for, and the thread whose place it is.
    place: Option<(usize, u32)>,
    /// Whether it says so: it had no other handles then.
    said: bool,
    /// The tokens of handles that have come later, and that are perhaps not counted yet.
    tokens: Vec<Endpoint>,
}

impl Here {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle has come, with this token. It is counted already.
    pub(super) fn keep(&self, token: Endpoint) {
        // Others may think that this process waits, for a while.
        self.lock().tokens.push(token);
    }

    /// Whether this process has one handle; then it needs one token.
    pub(super) fn has_one_handle(&self, core: &Arc<Core>) -> bool {
        if Arc::strong_count(core) > 1 {
            return false;
        }
        let mut here = self.lock();
        // Who receives another handle has it before it leaves its token here.
        let one = Arc::strong_count(core) == 1;
        if one {
            here.tokens.clear();
        }
        one
    }

    /// Whether all of this process's handles but `but` are waited with.
    pub(super) fn all_wait(&self, core: &Arc<Core>, but: usize) -> bool {
        self.lock().handles.iter().sum::<usize>() + but == Arc::strong_count(core)
    }
}

/// The notes of a place: what its owner's process waits for, and then who the owner is, if that is
/// said: so it is not what another has left there.
const FOR: usize = 0;
const BY: usize = 1;

/// A thread waits with a handle of this process's, for as long as it takes. If the others do so as
/// well, this process will not do anything to the queue until others have, and says so.
pub(super) struct Idle<'a> {
    core: &'a Arc<Core>,
    what: For,
    said: bool,
}

impl<'a> Idle<'a> {
    fn new(core: &'a Arc<Core>, what: For) -> Self {
        let mut here = core.here().lock();
        here.handles[what as usize] += 1;
        let said = here.handles.iter().sum::<usize>() == Arc::strong_count(core);
        let said = said && here.say(core).is_some();
        Self { core, what, said }
    }

    /// Whether this process has said that it waits, when this thread had begun to.
    fn has_said_so(&self) -> bool {
        self.said
    }
}

impl Waiting {
    /// Says what this process waits for, which has no handles but those that are counted. `None` if
    /// there is no place.
    fn say(&mut self, core: &Arc<Core>) -> Option<()> {
        let (index, tid) = match self.place {
            Some(place) => place,
            None => {
                // SAFETY: the segment stays mapped for as long as a handle lives, which is borrowed,
                // and the place is left before that ends.
                let place = unsafe { core.take_place() }?;
                let mut places = core.places().iter();
                let index = places.position(|other| std::ptr::eq(other, place))?;
                *self.place.insert((index, Thread::current().tid()))
            }
        };
        let place = &core.places()[index];
        let waited_for = For::ALL.into_iter().filter(|what| self.handles[*what as usize] > 0);
        place.note[FOR].store(waited_for.map(For::bit).sum(), Ordering::SeqCst);
        place.note[BY].store(tid, Ordering::SeqCst);
        if std::mem::replace(&mut self.said, true) {
            // It has said so while it had fewer handles: who counts has perhaps seen what it said then.
            core.common().wakings.fetch_add(1, Ordering::SeqCst);
        }
        // Whoever had one of these handles waits now. Last, so that until now there was one token more
        // than there were processes that said so.
        self.tokens.clear();
        Some(())
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        let mut here = self.core.here().lock();
        here.handles[self.what as usize] -= 1;
        let said = std::mem::take(&mut here.said);
        let Some((index, tid)) = here.place else { return };
        let place = &self.core.places()[index];
        place.note[BY].store(0, Ordering::SeqCst);
        if said {
            // Who counts and has seen the note sees this before it sees what is done next: so it must
            // come after the one and before the other.
            self.core.common().wakings.fetch_add(1, Ordering::SeqCst);
        }
        if tid == Thread::current().tid() {
            place.leave();
            here.place = None;
        }
    }
}

impl Core {
    /// Whether this thread's handle is the only one.
    pub(super) fn is_alone(self: &Arc<Self>) -> bool {
        let one = || self.here().has_one_handle(self);
        one() && self.has_tokens(1) && one()
    }

    /// Whether nobody has a handle who might ever use it: all have said that they wait.
    fn nobody_is_left(self: &Arc<Self>, idle: Option<&Idle<'_>>) -> bool {
        if !idle.is_some_and(Idle::has_said_so) {
            return self.is_alone();
        }
        let wakings = self.common().wakings;
        let before = wakings.load(Ordering::SeqCst);
        let Some((processes, waited_for)) = self.who_waits() else { return false };
        let waits_in_vain = |what: For| waited_for & what.bit() == 0 || !self.is_there(what);
        // Nobody has woken in between, and nobody was killed, whose place would have gone before its
        // token: so the tokens are those of these processes, which have done nothing since.
        self.has_tokens(processes.len())
            && For::ALL.into_iter().all(waits_in_vain)
            && self.who_waits().is_some_and(|(now, _)| now == processes)
            && wakings.load(Ordering::SeqCst) == before
    }

    /// The processes that say that they wait, each by its place and its thread there; and for what.
    /// `None` if one with a place does not say so, or not any more.
    fn who_waits(&self) -> Option<(Vec<(usize, u32)>, u32)> {
        let mut processes = Vec::new();
        let mut waited_for = 0;
        for (index, place) in self.places().iter().enumerate() {
            if let Occupancy::Taken(tid) = place.occupancy() {
                if place.note[BY].load(Ordering::SeqCst) != tid {
                    return None;
                }
                waited_for |= place.note[FOR].load(Ordering::SeqCst);
                processes.push((index, tid));
            }
        }
        Some((processes, waited_for))
    }

    /// A place for this process, which the calling thread then owns. `None` if there is no memory.
    ///
    /// # Safety
    /// The places must stay mapped until it has been left.
    unsafe fn take_place(&self) -> Option<&Slot> {
        // SAFETY: the caller's promise.
        unsafe { slots::take_one_of(self.object(), self.common().places, <[Slot]>::iter) }.ok()
    }

    fn places(&self) -> &[Slot] {
        self.object().tail()
    }
}
