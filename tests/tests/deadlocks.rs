//! Cycles of processes that wait for each other, and who is told of them: `DeadlockDetector`.
//! Python's module has none.

use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::unistd::gettid;
use offspring::sync::{
    Barrier, Condvar, Deadlock, DeadlockDetector, LockError, LockTimeoutError, Mutex,
    ReentrantLock, RwLock, TryLockError,
};
use offspring::{Receiver, Sender, current, pipe, process};
use serde::{Deserialize, Serialize};
use tests::crew::{By, Worker, daemon, is_asleep, until_asleep};
use tests::each_start_method;
use tests::family::{state_of, until};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(50);

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Does what waits, and something else meanwhile, or afterwards if that did not wait.
fn while_it_waits<R>(meanwhile: impl FnOnce() + Send, wait: impl FnOnce() -> R) -> R {
    let (tid, is_over) = (gettid().as_raw(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            until(|| is_asleep(tid) || is_over.load(Ordering::Relaxed));
            meanwhile();
        });
        let result = wait();
        is_over.store(true, Ordering::Relaxed);
        result
    })
}

/// A lock, and what is to be done with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Want {
    Lock(Mutex<u32>),
    Again(ReentrantLock<Cell<u32>>),
    Read(RwLock<u32>),
    Write(RwLock<u32>),
}

impl Want {
    /// Does something while the lock is held; or gives what is told instead.
    #[track_caller]
    fn with<R>(&self, work: impl FnOnce() -> R) -> Result<R, Deadlock> {
        macro_rules! with {
            ($taken:expr) => {
                match $taken {
                    Ok(_held) => Ok(work()),
                    Err(LockError::Deadlock(deadlock)) => Err(deadlock),
                    Err(other) => panic!("{other}"),
                }
            };
        }
        match self {
            Self::Lock(lock) => with!(lock.lock()),
            Self::Again(lock) => with!(lock.lock()),
            Self::Read(lock) => with!(lock.read()),
            Self::Write(lock) => with!(lock.write()),
        }
    }
}

/// Of a cycle that was found: a process, its number, its thread.
type Member = (String, u32, String);

/// Its text, and those who are in it.
type Told = Option<(String, Vec<Member>)>;

/// The line at which those wait who close a cycle.
const WAITS: u32 = line!() + 8;

/// Holds the first, and when all hold one, wants the second. Gives what it was told instead, if it
/// was.
#[process]
fn dine(first: Want, second: Want, all_hold_one: Barrier) -> Told {
    let second = || {
        all_hold_one.wait().unwrap();
        second.with(|| {})
    };
    let deadlock = first.with(second).unwrap().err()?;
    let member = |holder: &offspring::sync::Holder| {
        (holder.process().to_owned(), holder.pid(), holder.thread().to_owned())
    };
    Some((deadlock.to_string(), deadlock.members().map(member).collect()))
}

/// Has each hold its first lock and want its second; gives who was told what, and who they were.
fn have_dinner(
    by: By,
    wants: Vec<(Want, Want)>,
) -> Result<(Vec<Told>, Vec<Member>), offspring::Error> {
    let all_hold_one = Barrier::new(wants.len())?;
    let mut members = Vec::new();
    let mut workers = Vec::new();
    for (index, (first, second)) in wants.into_iter().enumerate() {
        let name = format!("diner {index}");
        let worker = by.start_as(&name, dine(first, second, all_hold_one.clone()));
        members.push(match &worker {
            Worker::Child(child) => (name, child.pid(), "main".to_owned()),
            Worker::Thread(_) => (current().name().to_owned(), std::process::id(), name),
        });
        workers.push(worker);
    }
    Ok((workers.into_iter().map(Worker::join).collect(), members))
}

/// Each waits for the next: one of them is told, of all, and the others go on.
fn one_is_told_of_the_cycle(by: By, wants: Vec<(Want, Want)>, made: &[u32]) -> Outcome {
    let (told, members) = have_dinner(by, wants)?;
    let (who, (text, cycle)) = match &told
        .iter()
        .enumerate()
        .filter_map(|(index, told)| told.as_ref().map(|told| (index, told)))
        .collect::<Vec<_>>()[..]
    {
        [(who, told)] => (*who, *told),
        other => panic!("{other:?}"),
    };
    // It begins with the one who was told.
    let expected: Vec<_> = members.iter().cycle().skip(who).take(members.len()).cloned().collect();
    assert_eq!(*cycle, expected, "{text}");
    for (process, pid, thread) in &members {
        let named = text.contains(&format!("process '{process}' (pid {pid})"));
        let thread_named = thread == "main" || text.contains(&format!("thread '{thread}'"));
        assert!(named && thread_named, "{text}");
    }
    for line in made {
        assert!(text.contains(&format!("made at {}:{line}:", file!())), "{line}: {text}");
    }
    let waits = format!("at {}:{WAITS}:", file!());
    assert_eq!(text.matches(&waits).count(), members.len(), "{text}");
    Ok(())
}

fn a_cycle_of_mutexes_is_found(by: By) -> Outcome {
    let detector = DeadlockDetector::new()?;
    for count in [2, 3, 5] {
        let line = line!() + 2;
        let locks = (0..count)
            .map(|_| Ok(Want::Lock(Mutex::new(0)?.detect_deadlocks(&detector))))
            .collect::<Result<Vec<_>, offspring::Error>>()?;
        // This one knows them all, and is in no cycle.
        locks.iter().for_each(|lock| lock.with(|| {}).unwrap());
        let next = |index: usize| locks[(index + 1) % count].clone();
        let wants = locks.iter().enumerate().map(|(index, lock)| (lock.clone(), next(index)));
        one_is_told_of_the_cycle(by, wants.collect(), &[line])?;
        locks.iter().for_each(|lock| lock.with(|| {}).unwrap());
        // No thread may be left where children are copies.
        until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);
    }
    Ok(())
}

fn a_cycle_through_any_lock_is_found(by: By) -> Outcome {
    let detector = DeadlockDetector::new()?;
    let made = [line!() + 1, line!() + 2, line!() + 3];
    let mutex = Want::Lock(Mutex::new(0)?.detect_deadlocks(&detector));
    let reentrant = ReentrantLock::new(Cell::new(0))?.detect_deadlocks(&detector);
    let rwlock = RwLock::new(0)?.detect_deadlocks(&detector);
    let again = Want::Again(reentrant);
    let (read, write) = (Want::Read(rwlock.clone()), Want::Write(rwlock));
    for (held, wanted, line) in [
        (&again, &again, made[1]),
        (&read, &write, made[2]),
        (&write, &read, made[2]),
        (&write, &write, made[2]),
    ] {
        let wants = vec![(held.clone(), mutex.clone()), (mutex.clone(), wanted.clone())];
        one_is_told_of_the_cycle(by, wants, &[made[0], line])?;
        until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);
    }
    // Three of three kinds.
    let wants = [(&read, &again), (&again, &mutex), (&mutex, &write)];
    let wants = wants.map(|(held, wanted)| (held.clone(), wanted.clone()));
    one_is_told_of_the_cycle(by, wants.into(), &made)?;
    until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);

    // Readers do not wait for each other.
    let wants = vec![(read.clone(), mutex.clone()), (mutex, read)];
    assert_eq!(have_dinner(by, wants)?.0, [None, None]);
    Ok(())
}

each_start_method! {
    fn a_cycle_of_processes_is_found_and_one_is_told() {
        a_cycle_of_mutexes_is_found(By::Children)?;
    }

    only [spawn Spawn]
    fn a_cycle_of_threads_is_found_and_one_is_told() {
        a_cycle_of_mutexes_is_found(By::Threads)?;
    }

    fn a_cycle_of_processes_through_any_lock_is_found() {
        a_cycle_through_any_lock_is_found(By::Children)?;
    }

    only [spawn Spawn]
    fn a_cycle_of_threads_through_any_lock_is_found() {
        a_cycle_through_any_lock_is_found(By::Threads)?;
    }
}

/// Holds one lock, says who it is, and waits for another. Whether it had it.
#[process]
fn hold_and_want(first: Want, second: Want, about_to: Sender<i32>) -> bool {
    let both = first.with(|| {
        about_to.send(gettid().as_raw()).unwrap();
        second.with(|| {})
    });
    both.unwrap().is_ok()
}

/// Starts one who does that, and returns when it waits.
fn holding_and_waiting(by: By, first: &Want, second: &Want) -> Worker<bool> {
    let (about_to, coming) = pipe().unwrap();
    let worker = by.start(hold_and_want(first.clone(), second.clone(), about_to));
    until_asleep(coming.recv().unwrap());
    worker
}

/// Two mutexes, as they are and as they are wanted.
fn two_watched() -> offspring::Result<([Mutex<u32>; 2], [Want; 2])> {
    let detector = DeadlockDetector::new()?;
    let mutexes =
        [Mutex::new(0)?.detect_deadlocks(&detector), Mutex::new(0)?.detect_deadlocks(&detector)];
    let wants = mutexes.clone().map(Want::Lock);
    Ok((mutexes, wants))
}

/// The others go on waiting, until the one who was told gives back what it holds; it can go on too.
fn who_is_told_holds_what_it_held(by: By) -> Outcome {
    let ([a, b], [want_a, want_b]) = two_watched()?;
    let held = a.lock().unwrap();
    let other = holding_and_waiting(by, &want_b, &want_a);
    for _ in 0..3 {
        match b.lock() {
            Err(LockError::Deadlock(deadlock)) => assert_eq!(deadlock.members().count(), 2),
            other => panic!("{other:?}"),
        }
    }
    // Nor is this waiting.
    assert!(matches!(b.try_lock(), Err(TryLockError::WouldBlock)));
    let before = Instant::now();
    assert!(matches!(b.lock_timeout(SHORT), Err(LockTimeoutError::Timeout { .. })));
    assert!(before.elapsed() >= SHORT);
    assert!(matches!(a.lock(), Err(LockError::Deadlock(_)))); // a cycle of one
    drop(held);
    assert!(other.join());
    drop((a.lock().unwrap(), b.lock().unwrap()));
    Ok(())
}

/// Holds one lock, and waits for another for a while.
#[process]
fn hold_and_want_for_a_while(first: Mutex<u32>, second: Mutex<u32>, about_to: Sender<i32>) -> bool {
    let _held = first.lock().unwrap();
    about_to.send(gettid().as_raw()).unwrap();
    matches!(second.lock_timeout(4 * SHORT), Err(LockTimeoutError::Timeout { .. }))
}

/// One that will give up is waited for.
fn a_wait_with_a_timeout_is_no_part(by: By) -> Outcome {
    let ([a, b], _) = two_watched()?;
    let held = a.lock().unwrap();
    let (about_to, coming) = pipe()?;
    let other = by.start(hold_and_want_for_a_while(b.clone(), a.clone(), about_to));
    until_asleep(coming.recv()?);
    drop(b.lock().unwrap());
    drop(held);
    assert!(other.join());
    Ok(())
}

/// Says who it is, and waits for a while to write. Whether that was in vain.
#[process]
fn give_up_to_write(lock: RwLock<u32>, about_to: Sender<i32>) -> bool {
    about_to.send(gettid().as_raw()).unwrap();
    matches!(lock.write_timeout(4 * SHORT), Err(LockTimeoutError::Timeout { .. }))
}

/// Who is kept out by a writer that will give up waits for that one, and not for the readers whom
/// the writer waits for.
fn a_writer_that_will_give_up_is_no_part(by: By) -> Outcome {
    let detector = DeadlockDetector::new()?;
    let mutex = Mutex::new(0)?.detect_deadlocks(&detector);
    let rwlock = RwLock::new(0)?.detect_deadlocks(&detector);
    let held = mutex.lock().unwrap();
    let (read, lock) = (Want::Read(rwlock.clone()), Want::Lock(mutex.clone()));
    let reader = holding_and_waiting(by, &read, &lock);
    let (about_to, coming) = pipe()?;
    let writer = by.start(give_up_to_write(rwlock.clone(), about_to));
    until_asleep(coming.recv()?);
    drop(rwlock.read().unwrap());
    assert!(writer.join());
    drop(held);
    assert!(reader.join());
    Ok(())
}

/// Holds one mutex, and waits with another for a condition. Whether that ended in a deadlock.
#[process]
fn hold_and_wait(held: Mutex<u32>, mutex: Mutex<u32>, condvar: Condvar, ready: Sender<()>) -> bool {
    let _held = held.lock().unwrap();
    let guard = mutex.lock().unwrap();
    ready.send(()).unwrap();
    matches!(condvar.wait(guard), Err(LockError::Deadlock(_)))
}

/// Who was notified needs the mutex again.
fn the_end_of_a_wait_may_close_a_cycle(by: By) -> Outcome {
    let ([a, b], [want_a, want_b]) = two_watched()?;
    let condvar = Condvar::new()?;
    let (ready, is_ready) = pipe()?;
    let waiter = by.start(hold_and_wait(a.clone(), b.clone(), condvar.clone(), ready));
    is_ready.recv()?;
    let other = holding_and_waiting(by, &want_b, &want_a);
    assert_eq!(condvar.notify_all(), 1);
    assert!(waiter.join());
    assert!(other.join());
    drop((a.lock().unwrap(), b.lock().unwrap()));
    Ok(())
}

each_start_method! {
    fn the_process_that_is_told_holds_what_it_held() {
        who_is_told_holds_what_it_held(By::Children)?;
    }

    only [spawn Spawn]
    fn the_thread_that_is_told_holds_what_it_held() {
        who_is_told_holds_what_it_held(By::Threads)?;
    }

    fn a_process_that_will_give_up_is_no_part_of_a_cycle() {
        a_wait_with_a_timeout_is_no_part(By::Children)?;
    }

    only [spawn Spawn]
    fn a_thread_that_will_give_up_is_no_part_of_a_cycle() {
        a_wait_with_a_timeout_is_no_part(By::Threads)?;
    }

    fn a_process_that_was_notified_may_close_a_cycle() {
        the_end_of_a_wait_may_close_a_cycle(By::Children)?;
    }

    only [spawn Spawn]
    fn a_thread_that_was_notified_may_close_a_cycle() {
        the_end_of_a_wait_may_close_a_cycle(By::Threads)?;
    }

    fn a_process_that_will_give_up_to_write_is_no_part_of_a_cycle() {
        a_writer_that_will_give_up_is_no_part(By::Children)?;
    }

    only [spawn Spawn]
    fn a_thread_that_will_give_up_to_write_is_no_part_of_a_cycle() {
        a_writer_that_will_give_up_is_no_part(By::Threads)?;
    }

    /// One that a writer has let in, and that does not run yet, waits for nobody; least of all for
    /// another reader.
    fn readers_wait_for_no_readers() {
        let detector = DeadlockDetector::new()?;
        let watched = || Ok::<_, offspring::Error>(Mutex::new(0)?.detect_deadlocks(&detector));
        let (b, c) = (watched()?, watched()?);
        let rwlock = RwLock::new(0)?.detect_deadlocks(&detector);
        let (want_b, want_c) = (Want::Lock(b.clone()), Want::Lock(c.clone()));
        let read = Want::Read(rwlock.clone());
        let (held_c, writing) = (c.lock().unwrap(), rwlock.write().unwrap());
        let Worker::Child(stopped) = holding_and_waiting(By::Children, &want_b, &read) else {
            unreachable!()
        };
        stopped.send_signal(libc::SIGSTOP)?;
        until(|| state_of(stopped.pid()) == Some('T'));
        drop(writing);
        let reader = holding_and_waiting(By::Children, &read, &want_c);
        // This waits for the stopped one, which waits for nobody.
        let go_on = || stopped.send_signal(libc::SIGCONT).unwrap();
        let waited = while_it_waits(go_on, || b.lock().map(drop));
        waited.map_err(LockError::without_guard)?;
        drop(held_c);
        assert!(stopped.join()? && reader.join());
    }

    /// What it held is poisoned, and nobody waits for it.
    fn one_that_was_killed_is_no_part_of_a_cycle() {
        let ([a, b], [want_a, want_b]) = two_watched()?;
        let held = a.lock().unwrap();
        let Worker::Child(victim) = holding_and_waiting(By::Children, &want_b, &want_a) else {
            unreachable!()
        };
        assert!(matches!(b.lock(), Err(LockError::Deadlock(_))));
        victim.kill()?;
        victim.wait()?;
        let poisoned = b.lock().unwrap_err().into_poisoned().ok_or("it is not poisoned")?;
        assert_eq!(poisoned.holder().pid(), victim.pid());
        drop((poisoned, held));

        // Of three: the cycle is open where it was, and what was waited for is there.
        let detector = DeadlockDetector::new()?;
        let watched = || Ok::<_, offspring::Error>(Mutex::new(0)?.detect_deadlocks(&detector));
        let (a, b, c) = (watched()?, watched()?, watched()?);
        let held = a.lock().unwrap();
        let wants = [&a, &b, &c].map(|mutex| Want::Lock(mutex.clone()));
        let Worker::Child(victim) = holding_and_waiting(By::Children, &wants[1], &wants[0]) else {
            unreachable!()
        };
        let (about_to, coming) = pipe()?;
        let next = daemon(lose_by_poison(c.clone(), b.clone(), about_to))?;
        until_asleep(coming.recv()?);
        assert!(matches!(c.lock(), Err(LockError::Deadlock(_))));
        // That one does not come to know of the death before this thread waits for it.
        next.send_signal(libc::SIGSTOP)?;
        until(|| state_of(next.pid()) == Some('T'));
        victim.kill()?;
        victim.wait()?;
        let go_on = || next.send_signal(libc::SIGCONT).unwrap();
        let waited = while_it_waits(go_on, || c.lock().map(drop));
        waited.map_err(LockError::without_guard)?;
        assert_eq!(next.join()?, victim.pid());
        drop(held);
    }

    /// As without a detector: they wait until they are killed.
    fn nothing_is_found_where_it_was_not_asked_for() {
        let [a, b] = [Mutex::new(0)?, Mutex::new(0)?];
        let (about_to, coming) = pipe()?;
        let all_hold_one = Barrier::new(2)?;
        let start = |first: &Mutex<u32>, second: &Mutex<u32>| {
            let (first, second) = (first.clone(), second.clone());
            daemon(meet(first, second, all_hold_one.clone(), about_to.clone()))
        };
        let (one, other) = (start(&a, &b)?, start(&b, &a)?);
        for _ in 0..2 {
            until_asleep(coming.recv()?);
        }
        one.kill()?;
        assert_eq!(other.join()?, one.pid());
    }
}

/// Holds one mutex, and waits for another, whose holder is killed: says who that was.
#[process]
fn lose_by_poison(first: Mutex<u32>, second: Mutex<u32>, about_to: Sender<i32>) -> u32 {
    let _held = first.lock().unwrap();
    about_to.send(gettid().as_raw()).unwrap();
    second.lock().unwrap_err().into_poisoned().unwrap().holder().pid()
}

/// The same, when both hold one.
#[process]
fn meet(first: Mutex<u32>, second: Mutex<u32>, both: Barrier, about_to: Sender<i32>) -> u32 {
    let _held = first.lock().unwrap();
    both.wait().unwrap();
    about_to.send(gettid().as_raw()).unwrap();
    second.lock().unwrap_err().into_poisoned().unwrap().holder().pid()
}

/// Takes some locks of all, in their order, so often. No cycle can come of that.
#[process]
fn wander(locks: Vec<Want>, mut seed: u64, rounds: u32) -> Result<(), String> {
    fn take(locks: &[Want], which: u64) -> Result<(), Deadlock> {
        match locks.split_first() {
            Some((lock, rest)) if which & 1 == 1 => {
                lock.with(|| take(rest, which >> 1)).and_then(|inner| inner)
            }
            Some((_, rest)) => take(rest, which >> 1),
            None => Ok(()),
        }
    }
    for _ in 0..rounds {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        take(&locks, seed >> 33).map_err(|deadlock| deadlock.to_string())?;
    }
    Ok(())
}

fn no_cycle_is_seen_where_there_is_none(by: By) -> Outcome {
    let detector = DeadlockDetector::new()?;
    let mut locks = Vec::new();
    for _ in 0..2 {
        let rwlock = RwLock::new(0)?.detect_deadlocks(&detector);
        locks.push(Want::Lock(Mutex::new(0)?.detect_deadlocks(&detector)));
        locks.extend([Want::Read(rwlock.clone()), Want::Read(rwlock)]);
        let again = Want::Again(ReentrantLock::new(Cell::new(0))?.detect_deadlocks(&detector));
        locks.extend([again.clone(), again]);
        locks.push(Want::Write(RwLock::new(0)?.detect_deadlocks(&detector)));
    }
    // Of the one that is read, half of them write as well.
    let writers: Vec<_> = locks
        .iter()
        .map(|lock| match lock {
            Want::Read(lock) => Want::Write(lock.clone()),
            other => other.clone(),
        })
        .enumerate()
        .filter(|(index, _)| index % 6 != 2) // once: writing is not reentrant
        .map(|(_, lock)| lock)
        .collect();
    let wanderers: Vec<_> = (0..4)
        .map(|seed| {
            let locks = if seed % 2 == 0 { &locks } else { &writers };
            by.start(wander(locks.clone(), seed, 3000))
        })
        .collect();
    for wanderer in wanderers {
        wanderer.join()?;
    }
    Ok(())
}

each_start_method! {
    fn processes_that_keep_an_order_are_never_told_of_a_cycle() {
        no_cycle_is_seen_where_there_is_none(By::Children)?;
    }

    only [spawn Spawn]
    fn threads_that_keep_an_order_are_never_told_of_a_cycle() {
        no_cycle_is_seen_where_there_is_none(By::Threads)?;
    }
}

/// Uses a lock, and lives until the case lets go of it.
fn use_and_stay(lock: &Want, used: &Sender<()>, until: &Receiver<()>) {
    lock.with(|| {}).unwrap();
    used.send(()).unwrap();
    let _ = until.recv();
}

each_start_method! {
    only [spawn Spawn]
    /// More threads at once than there was room for at first, and many more one after the other.
    fn many_threads_use_one_detector() {
        let ([a, b], [want_a, want_b]) = two_watched().unwrap();
        let (used, in_use) = pipe().unwrap();
        let (release, until) = pipe::<()>().unwrap();
        thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| want_a.with(|| {}).unwrap()).join().unwrap();
            }
            for _ in 0..50 {
                scope.spawn(|| use_and_stay(&want_a, &used, &until));
            }
            (0..50).for_each(|_| in_use.recv().unwrap());
            let held = a.lock().unwrap();
            let other = holding_and_waiting(By::Threads, &want_b, &want_a);
            assert!(matches!(b.lock(), Err(LockError::Deadlock(_))));
            drop(held);
            assert!(other.join());
            drop(release);
        });
    }

    only [spawn Spawn]
    /// What a thread holds beyond so many is not watched, and the rest is.
    fn more_locks_than_are_remembered_do_no_harm() {
        let ([a, b], [want_a, want_b]) = two_watched().unwrap();
        let detector = DeadlockDetector::new().unwrap();
        let many = RwLock::new(0).unwrap().detect_deadlocks(&detector);
        let held = a.lock().unwrap();
        let mut guards: Vec<_> = (0..40).map(|_| many.read().unwrap()).collect();
        let other = holding_and_waiting(By::Threads, &want_b, &want_a);
        assert!(matches!(b.lock(), Err(LockError::Deadlock(_))));
        while guards.pop().is_some() {
            assert!(matches!(b.lock(), Err(LockError::Deadlock(_))));
        }
        drop(many.write().unwrap());
        drop(held);
        assert!(other.join());
    }
}

/// Two detectors know nothing of each other's locks.
fn a_cycle_through_two_detectors_is_not_seen(by: By) -> Outcome {
    let a = Mutex::new(0)?.detect_deadlocks(&DeadlockDetector::new()?);
    let b = Mutex::new(0)?.detect_deadlocks(&DeadlockDetector::new()?);
    let held = a.lock().unwrap();
    let other = holding_and_waiting(by, &Want::Lock(b.clone()), &Want::Lock(a.clone()));
    assert!(matches!(b.lock_timeout(SHORT), Err(LockTimeoutError::Timeout { .. })));
    drop(held);
    assert!(other.join());
    drop(b.lock_timeout(LONG).unwrap());
    Ok(())
}

each_start_method! {
    fn a_cycle_of_processes_through_two_detectors_is_not_seen() {
        a_cycle_through_two_detectors_is_not_seen(By::Children)?;
    }

    only [spawn Spawn]
    fn a_cycle_of_threads_through_two_detectors_is_not_seen() {
        a_cycle_through_two_detectors_is_not_seen(By::Threads)?;
    }
}
