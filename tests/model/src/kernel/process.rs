//! Threads of the model: how they begin and end, and who kills them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use shuttle::rand::Rng;

use super::death::{self, Killed};
use super::{Plan, me, switch, trace, world};

/// A thread, in a process of its own.
pub(crate) struct Process<T> {
    handle: shuttle::thread::JoinHandle<Option<T>>,
}

impl<T> Process<T> {
    /// Waits until it has ended; `None` if it was killed.
    pub(crate) fn join(self) -> Option<T> {
        self.handle.join().expect("its panics are caught")
    }
}

/// Starts one.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Process<T> {
    start(Plan::Never, work)
}

/// Starts one that is killed at some moment, which may be after its end. `steps` is about how many
/// all threads together make.
pub(crate) fn victim<T: Send + 'static>(
    steps: u32,
    work: impl FnOnce() -> T + Send + 'static,
) -> Process<T> {
    let mut random = shuttle::rand::thread_rng();
    let plan = match random.gen_range(0..8) {
        0..3 => Plan::AtStep(world(|world| world.steps) + random.gen_range(1..=steps)),
        3..6 => Plan::AtOwnStep(random.gen_range(1..=steps / 2)),
        _ => Plan::AtWaking(random.gen_range(0..3)),
    };
    start(plan, work)
}

fn start<T: Send + 'static>(plan: Plan, work: impl FnOnce() -> T + Send + 'static) -> Process<T> {
    me(); // the first thread is there before the others
    world(|world| world.spawned += 1);
    let handle = shuttle::thread::spawn(move || {
        let me = me();
        world(|world| world.task(me).plan = plan);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let result = work();
            // Killed as late as this, it has done its work.
            world(|world| world.task(me).plan = Plan::Never);
            result
        }));
        let woken = world(|world| {
            let task = world.task(me);
            task.panicking = false;
            task.plan = Plan::Never;
            std::mem::take(&mut world.to_unpark)
        });
        woken.into_iter().for_each(unpark);
        let result = match result {
            Ok(result) => {
                death::end(me);
                Some(result)
            }
            Err(payload) if payload.is::<Killed>() => None,
            Err(payload) if payload.is::<Panicked>() => {
                death::end(me);
                None
            }
            Err(payload) => resume_unwind(payload),
        };
        trace!("end");
        world(|world| {
            world.ended += 1;
            let task = world.task(me);
            task.finished = true;
            task.doomed = false;
        });
        tell_settled();
        result
    });
    Process { handle }
}

/// Has the thread be killed before its next step.
fn doom(task: usize) {
    let known = world(|world| match world.tasks.get_mut(task) {
        Some(Some(task)) if !task.finished && !task.dead && !task.dying => {
            task.doomed = true;
            true
        }
        _ => false,
    });
    if known {
        unpark(task);
    }
}

/// Kills a thread now, whatever it does; in any case before it makes another step.
pub(crate) fn kill<T>(process: &Process<T>) {
    doom(process.handle.thread().id().into());
}

/// Whether the thread has ended, and the kernel is done with it.
pub(crate) fn is_gone(tid: u32) -> bool {
    world(|world| {
        world.tasks.iter().flatten().any(|task| task.tid == tid && (task.dead || task.finished))
    })
}

/// Counts a step of a thread, and kills those whose time has come.
pub(super) fn tick(me: usize) {
    let mut due = Vec::new();
    world(|world| {
        world.steps += 1;
        let steps = world.steps;
        let own = world.task(me);
        own.steps += 1;
        let own_steps = own.steps;
        for (index, task) in world.tasks.iter_mut().enumerate() {
            let Some(task) = task else { continue };
            let now = match task.plan {
                Plan::AtStep(at) => at <= steps,
                Plan::AtOwnStep(at) => index == me && at <= own_steps,
                _ => false,
            };
            if now {
                task.plan = Plan::Never;
                due.push(index);
            }
        }
    });
    for task in due {
        if task == me {
            world(|world| world.task(me).doomed = true);
        } else {
            doom(task);
        }
    }
}

pub(super) fn unpark(task: usize) {
    let me = me();
    let now = world(|world| {
        if world.task(me).panicking {
            world.to_unpark.push(task);
        }
        !world.task(me).panicking
    });
    if now {
        let thread = world(|world| world.task(task).thread.clone());
        thread.unpark();
    }
}

/// Wakes who waits until everything has [settled](settle), if it has.
pub(super) fn tell_settled() {
    let waiting = world(|world| if world.is_settled() { world.settling.take() } else { None });
    if let Some(thread) = waiting {
        thread.unpark();
    }
}

/// For the first thread: waits until all others have ended, or sleep without a timeout and nobody
/// has woken them. Says how many sleep: they would do so for ever.
pub(crate) fn settle() -> usize {
    loop {
        let settled = world(|world| world.is_settled());
        if settled {
            break;
        }
        let thread = shuttle::thread::current();
        world(|world| world.settling = Some(thread));
        shuttle::thread::park();
    }
    let asleep = world(|world| world.spawned - world.ended);
    trace!("settled: {asleep} sleep");
    asleep
}

/// What a thread of the model panics with.
struct Panicked;

/// Panics, without a message.
pub(crate) fn panic() -> ! {
    let me = me();
    world(|world| world.task(me).panicking = true);
    resume_unwind(Box::new(Panicked));
}

pub(crate) mod thread {
    //! In the place of `std::thread`.

    use super::{me, world};

    /// Whether the calling thread unwinds, be it because it was killed.
    pub(crate) fn panicking() -> bool {
        let me = me();
        world(|world| {
            let task = world.task(me);
            task.panicking || task.dead
        })
    }
}
