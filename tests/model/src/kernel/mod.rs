//! A model of what the kernel does for the locks: threads that can be killed between any two steps,
//! sleeping on words, and the lists of the words that a thread owns.
//!
//! All threads of the model run on one thread of the system, one at a time; `shuttle` says which. A
//! *step* is where another may go on, and where a thread can die.

mod atomics;
mod check;
mod death;
mod futex;
mod process;
mod trace;

use std::alloc::Layout;
use std::cell::RefCell;
use std::ptr::NonNull;
use std::time::Duration;

use shuttle::rand::Rng;

pub(crate) use atomics::{AtomicU32, AtomicU64, AtomicUsize};
pub(crate) use check::{Check, check};
pub(crate) use death::{Death, deaths, died_unseen, get_robust_list, has_died, has_looked};
pub(crate) use futex::{MAX_WATCHED, alarm, asleep_on, wait, wait_any, wake};
pub(crate) use process::{Process, is_gone, kill, panic, settle, spawn, thread, victim};
pub(crate) use trace::trace;

/// Which kernel it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// Linux 6.2 and later, and stable kernels since December 2022.
    Now,
    /// As before 5.16: no `futex_waitv`.
    NoWaitv,
    /// As before "futex: Resend potentially swallowed owner death notification": when a thread dies
    /// with a pending word, one sleeper is woken only if that word is 0 altogether.
    PendingIfZero,
}

/// When a thread is to be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Never,
    /// When all threads together have made so many steps.
    AtStep(u32),
    /// When it has itself made so many.
    AtOwnStep(u32),
    /// When it is woken for the so many-th time, before it runs.
    AtWaking(u32),
}

/// A thread of the model, each of a process of its own.
struct Task {
    tid: u32,
    thread: shuttle::thread::Thread,
    head: Box<death::Head>,
    plan: Plan,
    steps: u32,
    doomed: bool,
    dying: bool,
    dead: bool,
    panicking: bool,
    /// Sleeps in a system call, without a timeout.
    asleep: bool,
    /// One of the words that it sleeps on was woken.
    woken: bool,
    finished: bool,
    /// How many had been killed when it last looked for something.
    looked: usize,
    /// Who was killed between that and its falling asleep.
    unseen: Vec<Death>,
}

/// All there is in one execution.
struct World {
    release: Release,
    /// Indexed by shuttle's number.
    tasks: Vec<Option<Task>>,
    /// Who sleeps on which word, in the order of their coming.
    sleepers: Vec<(usize, usize)>,
    steps: u32,
    /// How many were spawned, and how many of these have ended.
    spawned: usize,
    ended: usize,
    /// Waits until all others have ended or sleep.
    settling: Option<shuttle::thread::Thread>,
    /// Who was woken by one that unwinds.
    to_unpark: Vec<usize>,
    deaths: Vec<Death>,
    kept: Vec<(NonNull<u8>, Layout)>,
    ids: u64,
    /// Nothing else happens meanwhile: see [`still`].
    still: bool,
    /// How many of the waits return early for no reason: one in so many; 0 for none.
    spurious: u32,
}

impl World {
    const fn new(release: Release) -> Self {
        Self {
            release,
            tasks: Vec::new(),
            sleepers: Vec::new(),
            steps: 0,
            spawned: 0,
            ended: 0,
            settling: None,
            to_unpark: Vec::new(),
            deaths: Vec::new(),
            kept: Vec::new(),
            ids: 0,
            still: false,
            spurious: 0,
        }
    }

    fn task(&mut self, task: usize) -> &mut Task {
        self.tasks[task].as_mut().expect("it has begun")
    }

    /// Whether all but the first thread have ended, or sleep and nobody has woken them.
    fn is_settled(&self) -> bool {
        let others = self.tasks.iter().skip(1).flatten();
        let asleep =
            others.filter(|task| task.asleep && !task.woken && !task.doomed && !task.dying);
        self.ended + asleep.count() == self.spawned
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (start, layout) in self.kept.drain(..) {
            // SAFETY: so was it allocated, and the execution has ended.
            unsafe { std::alloc::dealloc(start.as_ptr(), layout) };
        }
    }
}

std::thread_local! {
    static WORLD: RefCell<World> = const { RefCell::new(World::new(Release::Now)) };
}

fn world<R>(f: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with(|world| f(&mut world.borrow_mut()))
}

/// The calling thread's number, by which its [`Task`] is found.
fn me() -> usize {
    let thread = shuttle::thread::current();
    let me = usize::from(thread.id());
    world(|world| {
        if world.tasks.len() <= me {
            world.tasks.resize_with(me + 1, || None);
        }
        world.tasks[me].get_or_insert_with(|| Task {
            tid: me as u32 + 1,
            thread,
            head: death::Head::new(),
            plan: Plan::Never,
            steps: 0,
            doomed: false,
            dying: false,
            dead: false,
            panicking: false,
            asleep: false,
            woken: false,
            finished: false,
            looked: 0,
            unseen: Vec::new(),
        });
    });
    me
}

pub(crate) fn gettid() -> u32 {
    let me = me();
    world(|world| world.task(me).tid)
}

/// Another thread may go on here.
fn switch() {
    shuttle::thread::sleep(Duration::ZERO);
}

/// Whether something is so, once in so many times.
pub(crate) fn once_in(times: u32) -> bool {
    times > 0 && shuttle::rand::thread_rng().gen_range(0..times) == 0
}

/// Before something that others see. False in a dead thread, which does nothing any more.
#[track_caller]
pub(crate) fn step() -> bool {
    step_of(true)
}

/// Before something that only the thread itself sees, and the kernel when it dies.
#[track_caller]
fn private_step() -> bool {
    step_of(false)
}

#[track_caller]
fn step_of(shared: bool) -> bool {
    let me = me();
    let (dead, panicking) = world(|world| (world.task(me).dead, world.task(me).panicking));
    if dead || world(|world| world.still) {
        return !dead;
    }
    // While one unwinds, no other goes on: shuttle takes it for one that has failed.
    if shared && !panicking {
        switch();
    }
    process::tick(me);
    death::die_if_doomed(me);
    !world(|world| world.task(me).dead)
}

/// Does something in no time: nobody else goes on meanwhile, and nobody is killed. For looking at what
/// things have come to.
pub(crate) fn still<R>(look: impl FnOnce() -> R) -> R {
    world(|world| world.still = true);
    let seen = look();
    world(|world| world.still = false);
    seen
}

pub(crate) fn next_id() -> u64 {
    world(|world| {
        world.ids += 1;
        world.ids
    })
}

/// Keeps a value until the end of the execution. It has no destructor.
pub(crate) fn keep<T: ?Sized>(value: Box<T>) -> NonNull<T> {
    let layout = Layout::for_value(&*value);
    let value = NonNull::from(Box::leak(value));
    if layout.size() > 0 {
        world(|world| world.kept.push((value.cast(), layout)));
    }
    value
}

/// So many zeros, which are kept until the end of the execution.
pub(crate) fn keep_zeroed(layout: Layout) -> NonNull<u8> {
    if layout.size() == 0 {
        return NonNull::new(std::ptr::without_provenance_mut(layout.align())).unwrap();
    }
    // SAFETY: it has a size.
    let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).expect("memory");
    world(|world| world.kept.push((start, layout)));
    start
}
