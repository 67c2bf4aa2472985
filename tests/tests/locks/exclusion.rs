//! Python's `_TestLock`: one holder at a time, between processes and between threads.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use offspring::sync::{Mutex, ReentrantLock};
use offspring::{current, pipe, process};
use tests::crew::{By, Worker, until_asleep};
use tests::each_start_method;

use super::{LONG, Lock, Outcome, SHORT, hold, take};

fn test_lock(by: By) -> Outcome {
    for lock in Lock::one_of_each()? {
        let (held, is_held) = pipe()?;
        let (release, until) = pipe()?;
        let holder = by.start(hold(lock.clone(), held, until));
        is_held.recv()?;
        assert!(lock.try_lock().unwrap_err().text.contains("somebody holds the lock"));
        drop(release);
        holder.join();
        assert_eq!(lock.try_lock(), Ok(1));
        assert_eq!(lock.lock(), Ok(1));
    }
    Ok(())
}

fn test_lock_waits(by: By) -> Outcome {
    for lock in Lock::one_of_each()? {
        let (about_to, waiting) = pipe()?;
        let mut waiters = Vec::new();
        lock.hold(false, |value| {
            for _ in 0..3 {
                waiters.push(by.start(take(lock.clone(), about_to.clone())));
                until_asleep(waiting.recv().unwrap());
            }
            value.store(2, Ordering::Relaxed);
        });
        for waiter in waiters {
            assert_eq!(waiter.join(), Ok(2));
        }
    }
    Ok(())
}

fn test_lock_timeout(by: By) -> Outcome {
    for lock in Lock::one_of_each()? {
        let (held, is_held) = pipe()?;
        let (release, until) = pipe()?;
        let holder = by.start(hold(lock.clone(), held, until));
        let (process, pid) = match &holder {
            Worker::Child(child) => (child.name().to_owned(), child.pid()),
            Worker::Thread(_) => (current().name().to_owned(), std::process::id()),
        };
        is_held.recv()?;
        for timeout in [Duration::ZERO, SHORT] {
            let before = Instant::now();
            let refusal = lock.lock_timeout(timeout).unwrap_err();
            assert!(before.elapsed() >= timeout);
            assert!(refusal.text.contains("the whole time"), "{refusal:?}");
            // Who held it in the end; who does not wait does not look.
            let named = refusal.text.contains(&format!("by process '{process}' (pid {pid})"));
            assert_eq!(named, !timeout.is_zero(), "{refusal:?}");
        }
        drop(release);
        assert_eq!(lock.lock_timeout(Duration::MAX), Ok(1));
        holder.join();
        assert_eq!(lock.lock_timeout(Duration::ZERO), Ok(1));
    }
    Ok(())
}

#[process]
fn count(mutex: Mutex<u64>, reentrant: ReentrantLock<Cell<u64>>, times: u32) {
    for _ in 0..times {
        *mutex.lock().unwrap() += 1;
        let held = reentrant.lock().unwrap();
        held.set(held.get() + 1);
    }
}

fn test_lock_counts(by: By) -> Outcome {
    let (mutex, reentrant) = (Mutex::new(0)?, ReentrantLock::new(Cell::new(0))?);
    let counters: Vec<_> =
        (0..4).map(|_| by.start(count(mutex.clone(), reentrant.clone(), 2000))).collect();
    counters.into_iter().for_each(Worker::join);
    assert_eq!((*mutex.lock().unwrap(), reentrant.lock().unwrap().get()), (8000, 8000));
    Ok(())
}

#[process]
fn try_reentrant(lock: ReentrantLock<()>) -> bool {
    lock.try_lock().is_ok()
}

fn test_rlock(by: By) -> Outcome {
    let lock = ReentrantLock::new(())?;
    let others_can = || by.start(try_reentrant(lock.clone())).join();
    let (first, second, third) =
        (lock.lock().unwrap(), lock.try_lock().unwrap(), lock.lock_timeout(LONG).unwrap());
    assert!(!others_can());
    for guard in [second, first] {
        drop(guard); // in whatever order
        assert!(!others_can());
    }
    drop(third);
    assert!(others_can());
    Ok(())
}

fn test_repr_lock(by: By) -> Outcome {
    let made = line!() + 1;
    for lock in Lock::one_of_each()? {
        let free = format!("{lock:?}");
        assert!(free.contains("data: 1") && free.contains("poisoned: false"), "{free}");
        assert!(free.contains(&format!("{}:{made}:", file!())), "{free}");

        let (held, is_held) = pipe()?;
        let (release, until) = pipe()?;
        let holder = by.start_as("an owner", hold(lock.clone(), held, until));
        let tid = is_held.recv()?;
        let shown = format!("{lock:?}");
        let expected = match &holder {
            Worker::Child(child) => format!(
                "process: \"an owner\", pid: {pid}, thread: \"main\", tid: {pid}",
                pid = child.pid()
            ),
            Worker::Thread(_) => format!(
                "process: {:?}, pid: {}, thread: \"an owner\", tid: {tid}",
                current().name(),
                std::process::id()
            ),
        };
        assert!(shown.contains(&expected), "{shown} has not {expected}");
        assert!(!shown.contains("data"), "{shown}");
        drop(release);
        holder.join();
    }
    Ok(())
}

each_start_method! {
    /// `test_lock`, `test_lock_locked_2processes`, `test_rlock_locked_2processes`. There is no
    /// releasing of what one does not hold.
    fn test_lock_is_one_holders_at_a_time() {
        test_lock(By::Children)?;
    }

    only [spawn Spawn]
    fn test_lock_is_one_threads_at_a_time() {
        test_lock(By::Threads)?;
    }

    /// `test_lock`: who waits is let in.
    fn test_lock_waits_for_other_processes() {
        test_lock_waits(By::Children)?;
    }

    only [spawn Spawn]
    fn test_lock_waits_for_other_threads() {
        test_lock_waits(By::Threads)?;
    }

    /// `test_lock`, with a timeout.
    fn test_lock_timeout_is_no_shorter_than_it_is_told() {
        test_lock_timeout(By::Children)?;
    }

    only [spawn Spawn]
    fn test_lock_timeout_between_threads() {
        test_lock_timeout(By::Threads)?;
    }

    /// `test_lock_context`, `test_rlock_context`: a scope, with changes that exclude each other.
    fn test_lock_context_of_processes_that_count() {
        test_lock_counts(By::Children)?;
    }

    only [spawn Spawn]
    fn test_lock_context_of_threads_that_count() {
        test_lock_counts(By::Threads)?;
    }

    /// `test_rlock`
    fn test_rlock_is_free_after_as_many_drops_as_locks() {
        test_rlock(By::Children)?;
    }

    only [spawn Spawn]
    fn test_rlock_between_threads() {
        test_rlock(By::Threads)?;
    }

    /// `test_repr_lock`, `test_repr_rlock`
    fn test_repr_lock_names_the_process_that_holds_it() {
        test_repr_lock(By::Children)?;
    }

    only [spawn Spawn]
    fn test_repr_lock_names_the_thread_that_holds_it() {
        test_repr_lock(By::Threads)?;
    }
}
