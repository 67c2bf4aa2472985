//! A lock whose holder comes to grief, in whatever way, is poisoned: whoever comes is told, and by
//! whom.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sys::signal::{Signal, raise};
use nix::unistd::gettid;
use offspring::sync::{Mutex, PoisonCause, ReentrantLock};
use offspring::{Receiver, Sender, current, pipe, process};
use serde::{Deserialize, Serialize};
use tests::crew::{By, Worker, daemon, until_asleep};
use tests::each_start_method;
use tests::family::until;

use super::{Lock, Outcome, Poison, SHORT, take};

/// How a holder comes to grief.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Grief {
    Panic,
    Exit,
    Abort,
    Kill,
    /// Another program takes its place.
    Execute,
    /// A thread leaks the guard, and ends; its process goes on.
    Leak,
}

/// Takes the lock, makes its value a 7, says who it is, and comes to grief when it is told.
#[process]
fn come_to_grief(lock: Lock, how: Grief, held: Sender<u32>, go: Receiver<()>, until: Receiver<()>) {
    let lose = move || {
        lock.hold(how == Grief::Leak, |value| {
            value.store(7, Ordering::Relaxed);
            held.send(gettid().as_raw().cast_unsigned()).unwrap();
            let _ = go.recv();
            match how {
                Grief::Panic => resume_unwind(Box::new("on purpose")),
                Grief::Exit => std::process::exit(0),
                Grief::Abort => std::process::abort(),
                Grief::Kill => raise(Signal::SIGKILL).unwrap(),
                Grief::Execute => panic!("{}", Command::new("true").exec()),
                Grief::Leak => {}
            }
        });
        // The handle is gone as well, but not what it was of.
    };
    if how == Grief::Leak {
        thread::Builder::new().name("leaker".into()).spawn(lose).unwrap().join().unwrap();
        let _ = until.recv();
    } else {
        lose();
    }
}

/// Has somebody come to grief with the lock, with another who waits for it if `awaited`; says who
/// that was, and checks what the other was told.
fn lose(lock: &Lock, by: By, how: Grief, awaited: bool) -> Result<Poison, Box<dyn Error>> {
    let (held, is_held) = pipe()?;
    let (go, let_go) = pipe::<()>()?;
    let (release, released) = pipe::<()>()?;
    let clumsy = by.start_as("clumsy", come_to_grief(lock.clone(), how, held, let_go, released));
    let tid = is_held.recv()?;
    let (process, pid, thread) = match &clumsy {
        Worker::Child(child) => (child.name().to_owned(), child.pid(), "main"),
        Worker::Thread(_) => (current().name().to_owned(), std::process::id(), "clumsy"),
    };
    let expected = Poison {
        process,
        pid,
        thread: if how == Grief::Leak { "leaker" } else { thread }.into(),
        tid,
        panicked: how == Grief::Panic,
        value: 7,
    };
    let waiter = if awaited {
        let (about_to, waiting) = pipe()?;
        let waiter = by.start(take(lock.clone(), about_to));
        until_asleep(waiting.recv()?);
        Some(waiter)
    } else {
        None
    };
    drop(go);
    if let Some(waiter) = waiter {
        let told = waiter.join().unwrap_err();
        assert_eq!(told.poison.as_ref(), Some(&expected), "{how:?} {lock:?}: {told:?}");
    }
    if how != Grief::Leak {
        clumsy.bury();
    } else {
        // It lives; its thread has ended, or is about to.
        until(|| lock.is_poisoned());
        drop(release);
        clumsy.join();
    }
    Ok(expected)
}

fn a_lost_lock_is_poisoned(by: By, ways: &[Grief]) -> Outcome {
    for (lock, &how) in
        Lock::one_of_each()?.iter().flat_map(|lock| ways.iter().map(move |how| (lock, how)))
    {
        for awaited in [true, false] {
            let expected = lose(lock, by, how, awaited)?;
            assert!(lock.is_poisoned(), "{how:?} {lock:?}");
            // As often, and by whatever operation, one comes.
            for told in [lock.lock(), lock.try_lock(), lock.lock_timeout(SHORT), lock.lock()] {
                let told = told.unwrap_err();
                assert_eq!(told.poison.as_ref(), Some(&expected), "{how:?} {lock:?}");
                let how = if expected.panicked { "panicked" } else { "was killed, or exited," };
                let who = format!("process '{}' (pid {})", expected.process, expected.pid);
                assert!(told.text.contains(how) && told.text.contains(&who), "{}", told.text);
                if expected.tid != expected.pid {
                    let thread = format!("thread '{}' ({})", expected.thread, expected.tid);
                    assert!(told.text.contains(&thread), "{}", told.text);
                }
            }
            let shown = format!("{lock:?}");
            assert!(shown.contains("data: 7") && shown.contains("poisoned: true"), "{shown}");

            lock.clear_poison();
            assert!(!lock.is_poisoned());
            assert_eq!((lock.lock(), lock.try_lock()), (Ok(7), Ok(7)));

            // So it is when nobody was told in between.
            lose(lock, by, how, false)?;
            lock.clear_poison();
            assert!(!lock.is_poisoned());
            assert_eq!(lock.lock(), Ok(7));
        }
    }
    Ok(())
}

each_start_method! {
    fn a_process_that_panics_poisons_what_it_holds() {
        a_lost_lock_is_poisoned(By::Children, &[Grief::Panic])?;
    }

    fn a_process_that_exits_poisons_what_it_holds() {
        a_lost_lock_is_poisoned(By::Children, &[Grief::Exit, Grief::Abort, Grief::Execute])?;
    }

    fn a_process_that_is_killed_poisons_what_it_holds() {
        a_lost_lock_is_poisoned(By::Children, &[Grief::Kill])?;
    }

    fn a_thread_of_a_child_that_leaks_its_guard_poisons_what_it_holds() {
        a_lost_lock_is_poisoned(By::Children, &[Grief::Leak])?;
    }

    only [spawn Spawn]
    fn a_thread_that_panics_or_leaks_its_guard_poisons_what_it_holds() {
        a_lost_lock_is_poisoned(By::Threads, &[Grief::Panic, Grief::Leak])?;
    }
}

#[process]
fn exit_while_holding_it(mutex: Mutex<u32>) {
    let _held = mutex.lock().unwrap();
    std::process::exit(0);
}

each_start_method! {
    only [spawn Spawn]
    /// Whatever the numbers of who died, and of who comes then.
    fn whoever_died_with_a_lock_is_named() {
        for _ in 0..40 {
            let mutex = Mutex::new(0)?;
            let child = daemon(exit_while_holding_it(mutex.clone()))?;
            child.wait()?;
            let error = mutex.lock().unwrap_err().into_poisoned().ok_or("it is free")?;
            assert_eq!(error.holder().pid(), child.pid(), "{error}");
        }
    }
}

each_start_method! {
    only [spawn Spawn]
    /// A guard that was there before the panic, and one taken while it goes on.
    fn a_panic_poisons_what_was_locked_before_it_and_nothing_else() {
        struct LockInDrop<'a>(&'a Mutex<u32>);
        impl Drop for LockInDrop<'_> {
            fn drop(&mut self) {
                *self.0.lock().unwrap() += 1;
            }
        }
        let (before, meanwhile) = (Mutex::new(0).unwrap(), Mutex::new(0).unwrap());
        let outer = Mutex::new(0).unwrap();
        let outside = outer.lock().unwrap();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _second = LockInDrop(&meanwhile);
            let _held = before.lock().unwrap();
            let _first = LockInDrop(&meanwhile);
            resume_unwind(Box::new("on purpose"));
        }));
        drop(outside);
        assert!(before.is_poisoned() && !meanwhile.is_poisoned() && !outer.is_poisoned());
        assert_eq!(*meanwhile.lock().unwrap(), 2);
    }
}

/// Takes the lock so often, and comes to grief with all of the guards.
#[process]
fn come_to_grief_deep_down(lock: ReentrantLock<AtomicU32>, depth: u32, kill: bool) {
    let _held = lock.lock().unwrap();
    if depth > 0 {
        come_to_grief_deep_down(lock.clone(), depth - 1, kill).run();
    }
    if kill {
        raise(Signal::SIGKILL).unwrap();
    }
    resume_unwind(Box::new("on purpose"));
}

fn a_reentrant_lock_is_poisoned_at_any_depth(by: By, kill: bool) -> Outcome {
    let lock = ReentrantLock::new(AtomicU32::new(0))?;
    for depth in [0, 1, 5] {
        by.start(come_to_grief_deep_down(lock.clone(), depth, kill)).bury();
        let error = lock.lock().unwrap_err().into_poisoned().ok_or("it is free")?;
        assert_eq!(error.cause(), if kill { PoisonCause::Died } else { PoisonCause::Panicked });
        // One guard is all that it takes to be rid of it.
        drop(error.into_inner());
        lock.clear_poison();
        assert!(by.start(is_sound(lock.clone())).join());
    }
    Ok(())
}

#[process]
fn is_sound(lock: ReentrantLock<AtomicU32>) -> bool {
    lock.lock().is_ok()
}

each_start_method! {
    fn a_reentrant_lock_is_poisoned_however_often_it_was_taken() {
        a_reentrant_lock_is_poisoned_at_any_depth(By::Children, true)?;
        a_reentrant_lock_is_poisoned_at_any_depth(By::Children, false)?;
    }

    only [spawn Spawn]
    /// Also if the panic gets no further than the inner guard.
    fn a_reentrant_lock_is_poisoned_by_a_panic_that_was_caught() {
        let lock = ReentrantLock::new(AtomicU32::new(0))?;
        let outer = lock.lock().unwrap();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _inner = lock.lock();
            resume_unwind(Box::new("on purpose"));
        }));
        drop(outer);
        assert!(!is_sound(lock.clone()).run());
    }

    only [spawn Spawn]
    fn a_reentrant_lock_of_a_thread_is_poisoned_however_often_it_was_taken() {
        a_reentrant_lock_is_poisoned_at_any_depth(By::Threads, false)?;
    }
}
