//! Where programs are not at their best: locks in destructors while a process panics, at the end of
//! a thread, and in exit handlers.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::unistd::gettid;
use offspring::sync::{
    Barrier, Condvar, DeadlockDetector, Event, Mutex, Once, ReentrantLock, RwLock, Semaphore,
    lock_all,
};
use offspring::{Sender, pipe, process};
use serde::{Deserialize, Serialize};
use tests::crew::until_asleep;
use tests::each_start_method;

/// One of everything, to be used where programs are not at their best.
#[derive(Clone, Serialize, Deserialize)]
struct Everything {
    mutex: Mutex<u32>,
    watched: Mutex<u32>,
    ordered: [Mutex<u32>; 2],
    reentrant: ReentrantLock<Cell<u32>>,
    rwlock: RwLock<u32>,
    semaphore: Semaphore,
    condvar: Condvar,
    event: Event,
    barrier: Barrier,
    once: Once,
    once_lock: offspring::sync::OnceLock<u32>,
}

impl Everything {
    fn new() -> offspring::Result<Self> {
        Ok(Self {
            mutex: Mutex::new(0)?,
            watched: Mutex::new(0)?.detect_deadlocks(&DeadlockDetector::new()?),
            ordered: [Mutex::new(0)?, Mutex::new(0)?],
            reentrant: ReentrantLock::new(Cell::new(0))?,
            rwlock: RwLock::new(0)?,
            semaphore: Semaphore::new(1)?,
            condvar: Condvar::new()?,
            event: Event::new()?,
            barrier: Barrier::new(1)?,
            once: Once::new()?,
            once_lock: offspring::sync::OnceLock::new()?,
        })
    }

    fn use_all(&self) {
        *self.mutex.lock().unwrap() += 1;
        *self.watched.lock().unwrap() += 1;
        lock_all(&self.ordered).unwrap().iter_mut().for_each(|value| **value += 1);
        let outer = self.reentrant.lock().unwrap();
        outer.set(self.reentrant.lock().unwrap().get() + 1);
        *self.rwlock.write().unwrap() += 1;
        let reading = self.rwlock.read().unwrap();
        assert_eq!(*reading, *self.rwlock.read().unwrap());
        drop(self.semaphore.acquire().unwrap());
        let waited = self.condvar.wait_timeout(self.mutex.lock().unwrap(), Duration::ZERO);
        assert!(waited.unwrap().1.timed_out());
        self.condvar.notify_all();
        self.event.set();
        self.event.wait();
        assert!(self.barrier.wait().unwrap().is_leader());
        self.once.call_once(|| {}).unwrap();
        self.once_lock.get_or_init(|| 1);
    }

    /// Checks that it was used so often, and that all is as it was.
    fn check_used(&self, times: u32) {
        assert_eq!((*self.mutex.lock().unwrap(), *self.watched.lock().unwrap()), (times, times));
        assert_eq!(lock_all(&self.ordered).unwrap().iter().map(|value| **value).max(), Some(times));
        assert_eq!(
            (self.reentrant.lock().unwrap().get(), *self.rwlock.write().unwrap()),
            (times, times)
        );
        assert_eq!((self.semaphore.available(), self.barrier.waiting()), (1, 0));
        assert!(self.event.is_set() && self.once.is_completed() && !self.barrier.is_broken());
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.0.use_all();
    }
}

/// Uses everything when it is dropped.
struct Used(Everything);

thread_local! {
    static LATE: RefCell<Option<Used>> = const { RefCell::new(None) };
}

#[process]
fn panic_with(everything: Everything) {
    let _used = Used(everything);
    resume_unwind(Box::new("on purpose"));
}

static AT_EXIT: OnceLock<Everything> = OnceLock::new();

extern "C" fn use_at_exit() {
    AT_EXIT.get().unwrap().use_all();
}

#[process]
fn exit_with(everything: Everything, held: bool, exit: bool) {
    let everything = AT_EXIT.get_or_init(|| everything);
    // SAFETY: the handler is a function of this program, which is there until the end.
    assert_eq!(unsafe { libc::atexit(use_at_exit) }, 0);
    if exit {
        // Another thread may hold it: the handler waits.
        thread::scope(|scope| {
            let (is_held, wait) = std::sync::mpsc::channel();
            let tid = gettid().as_raw();
            if held {
                scope.spawn(move || {
                    let _held = everything.mutex.lock();
                    is_held.send(()).unwrap();
                    until_asleep(tid);
                });
                wait.recv().unwrap();
            }
            std::process::exit(0);
        });
    }
}

each_start_method! {
    fn a_destructor_may_use_everything_while_its_process_panics() {
        let everything = Everything::new()?;
        assert!(panic_with(everything.clone()).spawn()?.join().is_err());
        everything.check_used(1);
        let unwound = everything.clone();
        let _ = catch_unwind(AssertUnwindSafe(|| panic_with(unwound).run()));
        everything.check_used(2);
    }

    only [spawn Spawn]
    fn a_destructor_at_a_threads_end_may_use_everything() {
        let everything = Everything::new()?;
        for first in [true, false] {
            let late = everything.clone();
            thread::spawn(move || {
                // What is kept for the thread by others is gone before, or after.
                if first {
                    LATE.with(|late| late.take());
                }
                late.use_all();
                LATE.with(|kept| kept.replace(Some(Used(late))));
            })
            .join()
            .unwrap();
        }
        everything.check_used(4);
    }

    fn an_exit_handler_may_use_everything() {
        let everything = Everything::new()?;
        for held in [false, true] {
            exit_with(everything.clone(), held, true).spawn()?.wait()?;
        }
        everything.check_used(2);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn an_exit_handler_may_use_everything_when_the_work_returns() {
        let everything = Everything::new()?;
        exit_with(everything.clone(), false, false).spawn()?.join()?;
        everything.check_used(1);
    }
}

/// Where the handler says what it was told.
static TOLD_AT_EXIT: OnceLock<(Mutex<u32>, Sender<String>)> = OnceLock::new();

extern "C" fn lock_at_exit() {
    let (mutex, to) = TOLD_AT_EXIT.get().unwrap();
    to.send(mutex.lock().unwrap_err().to_string()).unwrap();
}

#[process]
fn exit_while_holding(mutex: Mutex<u32>, to: Sender<String>) {
    let (mutex, _) = TOLD_AT_EXIT.get_or_init(|| (mutex, to));
    // SAFETY: the handler is a function of this program, which is there until the end.
    assert_eq!(unsafe { libc::atexit(lock_at_exit) }, 0);
    let _held = mutex.lock().unwrap();
    std::process::exit(0);
}

each_start_method! {
    /// Whoever exits with a lock held has it still, in its exit handlers.
    fn an_exit_handler_is_told_that_its_thread_holds_the_lock() {
        let mutex = Mutex::new(0)?;
        let (to, from) = pipe()?;
        let child = exit_while_holding(mutex.clone(), to).spawn()?;
        let text = from.recv()?;
        assert!(text.contains("deadlock") && text.contains("held by itself"), "{text}");
        assert_eq!(child.wait()?.code(), Some(0));
        assert!(mutex.lock().unwrap_err().into_poisoned().is_some());
    }
}
