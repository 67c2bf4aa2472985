//! As much of a queue as waiting at it needs: two mutexes, two positions, and who has it. The steps of
//! putting and getting are those of the library's `queue/core.rs`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::waiting::{Common, For, GaveUp, Here, LOOK_AGAIN, Waiter};
use crate::kernel::{self, AtomicU32, gettid};
use crate::shm::object::{Kind, Object};
use crate::sync::gate::Gate;
use crate::sync::raw::RawMutex;
use crate::sync::slots::Slot;
use crate::sys::poll::Wait;

/// What is in shared memory.
#[derive(Debug)]
pub(crate) struct State {
    put: RawMutex,
    get: RawMutex,
    tail: AtomicU32,
    head: AtomicU32,
    pub(crate) items: Gate,
    pub(crate) room: Gate,
    finished: Gate,
    wakings: AtomicU32,
    verdicts: AtomicU32,
    places: AtomicU32,
    closed: AtomicU32,
    capacity: u32,
}

impl Kind for State {
    const NAME: &'static str = "Queue";
    type Tail = Slot;
    const TAIL_MAX: usize = 32;

    fn tail_len(&self) -> usize {
        self.places.load(Ordering::SeqCst) as usize
    }
}

impl State {
    /// Looks at it, without a step.
    pub(crate) fn peek(&self) -> (u32, bool) {
        (self.tail.peek() - self.head.peek(), self.closed.peek() != 0)
    }

    fn is_there_now(&self, what: For) -> bool {
        let (count, closed) = self.peek();
        closed
            || match what {
                For::Item => count > 0,
                For::Room => count < self.capacity,
                _ => unreachable!("nobody waits for it"),
            }
    }
}

/// What everybody knows without looking: who has the queue, and what for.
#[derive(Debug, Default)]
struct Known {
    /// Each process that has it, and its handles: the thread of each, and what it waits for.
    processes: BTreeMap<u32, BTreeMap<u32, Option<For>>>,
    verdicts: u32,
}

/// It is shared by the threads of the model, and looking at it is no step.
#[derive(Clone, Default)]
struct Aside(Arc<Plain>);

#[derive(Default)]
struct Plain(RefCell<Known>);

// SAFETY: threads of the model run one at a time, and none is interrupted in `Aside::with`.
unsafe impl Send for Plain {}
// SAFETY: as above.
unsafe impl Sync for Plain {}

impl Aside {
    fn with<R>(&self, f: impl FnOnce(&mut Known) -> R) -> R {
        f(&mut self.0.0.borrow_mut())
    }
}

/// Handles that no thread has begun to use have these numbers, downwards, in the place of a thread's.
const NOBODY: u32 = u32::MAX;

/// A queue, as all processes see it.
#[derive(Clone)]
pub(crate) struct World {
    object: Object<State, ()>,
    known: Aside,
    /// Whether who waits looks again now and then.
    looks_again: bool,
}

impl World {
    pub(crate) fn new(capacity: u32, looks_again: bool) -> Self {
        let state = State {
            put: RawMutex::new(),
            get: RawMutex::new(),
            tail: AtomicU32::new(0),
            head: AtomicU32::new(0),
            items: Gate::new(),
            room: Gate::new(),
            finished: Gate::new(),
            wakings: AtomicU32::new(0),
            verdicts: AtomicU32::new(0),
            places: AtomicU32::new(1),
            closed: AtomicU32::new(0),
            capacity,
        };
        let object = Object::new(state, (), Location::caller()).unwrap();
        Self { object, known: Aside::default(), looks_again }
    }

    pub(crate) fn state(&self) -> &State {
        self.object.state()
    }

    /// The handle of a new process. It is there from now on, as one that is in a message would be.
    pub(crate) fn process(&self) -> Process {
        let id = kernel::next_id() as u32;
        self.known.with(|known| known.processes.insert(id, BTreeMap::from([(NOBODY, None)])));
        Process { world: self.clone(), id }
    }

    /// Whether somebody was killed in the few instructions in which another who sleeps now had looked, and
    /// did not sleep yet; and was not in charge. Then it takes another look.
    pub(crate) fn needs_another_look(&self) -> bool {
        kernel::died_unseen()
    }

    pub(crate) fn verdicts(&self) -> u32 {
        self.known.with(|known| known.verdicts)
    }

    pub(crate) fn close(&self) {
        let State { closed, items, room, .. } = self.state();
        closed.store(1, Ordering::SeqCst);
        items.open(u32::MAX);
        room.open(u32::MAX);
    }

    /// What those wait for, for as long as it takes, who have a handle; `None` for one who does not.
    fn handles(&self) -> Vec<(u32, Option<For>)> {
        self.known.with(|known| {
            let handles = known.processes.values().flatten();
            let living = handles.filter(|(thread, _)| !kernel::has_died(**thread));
            living.map(|(thread, what)| (*thread, *what)).collect()
        })
    }

    /// Whether nobody but the calling thread will ever do anything to it any more.
    fn all_others_wait_in_vain(&self) -> bool {
        let in_vain = |what: Option<For>| what.is_some_and(|what| !self.state().is_there_now(what));
        self.handles().into_iter().all(|(thread, what)| thread == gettid() || in_vain(what))
    }

    /// Whether somebody waits for what is there.
    pub(crate) fn keeps_waiting(&self) -> bool {
        let waiting = self.handles().into_iter().filter_map(|(_, what)| what);
        waiting.into_iter().any(|what| self.state().is_there_now(what))
    }
}

/// A process that is to have a queue, and its token.
pub(crate) struct Process {
    world: World,
    id: u32,
}

impl Process {
    /// In the process: the queue, with so many handles, each to be [used](Queue::begin) by a thread.
    pub(crate) fn open<const N: usize>(self) -> [Queue; N] {
        let Self { world, id } = self;
        let core = Arc::new(Core { world, id, here: Here::default() });
        // All of them are there before one is used.
        let handles = [(); N].map(|()| Arc::clone(&core));
        core.world.known.with(|known| {
            let threads = (0..N as u32).map(|index| (NOBODY - index, None));
            *known.processes.get_mut(&core.id).unwrap() = threads.collect();
        });
        drop(core);
        let mut thread = NOBODY;
        handles.map(|core| {
            let handle = Queue { core, thread };
            thread -= 1;
            handle
        })
    }
}

/// What a process has of a queue.
pub(crate) struct Core {
    world: World,
    id: u32,
    here: Here,
}

impl Drop for Core {
    fn drop(&mut self) {
        // The last descriptor of its token is closed.
        kernel::step();
        self.world.known.with(|known| known.processes.remove(&self.id));
    }
}

/// What the library's has, too, for its waiting.
impl Core {
    pub(crate) fn object(&self) -> &Object<State, ()> {
        &self.world.object
    }

    pub(crate) fn here(&self) -> &Here {
        &self.here
    }

    pub(crate) fn common(&self) -> Common<'_> {
        let State { wakings, verdicts, places, .. } = self.world.state();
        Common { wakings, verdicts, places }
    }

    /// A process's token goes when the last of it is gone, and so after what its threads own.
    pub(crate) fn has_tokens(&self, count: usize) -> bool {
        kernel::step();
        self.world.known.with(|known| {
            let gone = |handles: &BTreeMap<u32, _>| {
                !handles.is_empty() && handles.keys().all(|thread| kernel::is_gone(*thread))
            };
            known.processes.values().filter(|handles| !gone(handles)).count() == count
        })
    }

    pub(crate) fn gate(&self, what: For) -> Option<&Gate> {
        let state = self.world.state();
        match what {
            For::Item => Some(&state.items),
            For::Room => Some(&state.room),
            For::RoomBeside => None,
            For::Finish => Some(&state.finished),
        }
    }

    pub(crate) fn is_there(&self, what: For) -> bool {
        let state = self.world.state();
        let count = || {
            let head = state.head.load(Ordering::SeqCst);
            state.tail.load(Ordering::SeqCst).wrapping_sub(head)
        };
        kernel::has_looked();
        match what {
            For::Item => count() > 0 || self.is_closed(),
            For::Room => count() < state.capacity || self.is_closed(),
            // Nobody waits for these.
            For::RoomBeside | For::Finish => false,
        }
    }

    pub(crate) fn is_room_beside(&self, _wait: Wait) -> bool {
        unreachable!("nothing goes beside the ring")
    }

    fn is_closed(&self) -> bool {
        self.world.state().closed.load(Ordering::SeqCst) != 0
    }

    /// Called with a verdict: the first must be right.
    pub(crate) fn wake_all(&self) {
        if !kernel::has_died(gettid()) {
            let first = self.world.known.with(|known| {
                known.verdicts += 1;
                known.verdicts == 1
            });
            assert!(
                !first || self.world.all_others_wait_in_vain(),
                "a verdict, and somebody is awake"
            );
        }
        self.open_all();
    }

    fn open_all(&self) {
        let gates = For::ALL.into_iter().filter_map(|what| self.gate(what));
        gates.for_each(|gate| gate.open(u32::MAX));
    }

    /// How long one sleeps at a time, who waits for so long; and whether it is not as long.
    pub(crate) fn at_a_time(&self, wait: Wait) -> (Wait, bool) {
        if self.world.looks_again { wait.no_longer_than(LOOK_AGAIN) } else { (wait, false) }
    }
}

/// A handle.
pub(crate) struct Queue {
    core: Arc<Core>,
    thread: u32,
}

impl Queue {
    /// It is this thread's from now on.
    pub(crate) fn begin(mut self) -> Self {
        let nobody = std::mem::replace(&mut self.thread, gettid());
        self.core.world.known.with(|known| {
            known.processes.get_mut(&self.core.id).unwrap().remove(&nobody);
        });
        self.notes(None);
        self
    }

    fn notes(&self, what: Option<For>) {
        if kernel::has_died(self.thread) {
            return;
        }
        self.core.world.known.with(|known| {
            let process = known.processes.get_mut(&self.core.id).unwrap();
            process.insert(self.thread, what);
        });
    }

    pub(crate) fn get(&self) -> Result<u32, GaveUp> {
        self.get_within(Wait::Forever)
    }

    pub(crate) fn get_within(&self, wait: Wait) -> Result<u32, GaveUp> {
        let state = self.core.world.state();
        let mut waiter = Waiter::new(&self.core, For::Item, wait);
        self.notes((wait == Wait::Forever).then_some(For::Item));
        let result = loop {
            let closed = self.core.is_closed();
            // SAFETY: it is kept until the end of the execution.
            let side = unsafe { state.get.enter() };
            let head = state.head.load(Ordering::SeqCst);
            if state.tail.load(Ordering::SeqCst) != head {
                state.room.open_after(1, || {
                    self.notes(None);
                    state.head.store(head + 1, Ordering::SeqCst);
                });
                drop(side);
                waiter.done();
                break Ok(head);
            }
            drop(side);
            if closed {
                break Err(GaveUp::TimedOut);
            }
            if let Err(error) = waiter.wait() {
                break Err(error);
            }
        };
        self.notes(None);
        result
    }

    pub(crate) fn put(&self) -> Result<(), GaveUp> {
        self.put_within(Wait::Forever)
    }

    pub(crate) fn put_within(&self, wait: Wait) -> Result<(), GaveUp> {
        let state = self.core.world.state();
        let mut waiter = Waiter::new(&self.core, For::Room, wait);
        self.notes((wait == Wait::Forever).then_some(For::Room));
        let result = loop {
            // SAFETY: as above.
            let side = unsafe { state.put.enter() };
            let tail = state.tail.load(Ordering::SeqCst);
            if tail.wrapping_sub(state.head.load(Ordering::SeqCst)) < state.capacity {
                state.items.open_after(1, || {
                    self.notes(None);
                    state.tail.store(tail + 1, Ordering::SeqCst);
                });
                drop(side);
                break Ok(());
            }
            drop(side);
            if self.core.is_closed() {
                break Err(GaveUp::TimedOut);
            }
            if let Err(error) = waiter.wait() {
                break Err(error);
            }
        };
        drop(waiter);
        self.notes(None);
        result
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if !kernel::has_died(self.thread) && Arc::strong_count(&self.core) > 1 {
            self.core.world.known.with(|known| {
                known.processes.get_mut(&self.core.id).unwrap().remove(&self.thread);
            });
        }
        let others = Arc::strong_count(&self.core) - 1;
        if others == 1 || others > 1 && self.core.here.all_wait(&self.core, 1) {
            self.core.open_all();
        }
    }
}
