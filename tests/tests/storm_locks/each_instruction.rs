//! What the storms leave to chance: a process is killed at one instruction after the other of taking
//! a lock, of giving it back, of waking others and of being woken. Another thread waits meanwhile,
//! and has nobody else to wake it: if it hangs, the watchdog barks.

use std::thread;

use offspring::shm::Shared;
use offspring::sync::{
    Barrier, BarrierError, Condvar, DeadlockDetector, Event, LockAllError, LockError, Mutex, Once,
    OnceError, PoisonError, ReentrantLock, RwLock, Semaphore, TryLockError, lock_all,
};
use offspring::{Duplex, duplex, process};
use serde::{Deserialize, Serialize};
use tests::each_start_method;
use tests::steps::{self, Steps, sleeper, stepping_sleeper, sweep, was_killed};

/// A lock, and one way of taking it.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Way {
    Mutex(Mutex<u32>),
    Reentrant(ReentrantLock<u32>),
    Read(RwLock<u32>),
    Write(RwLock<u32>),
    Several([Mutex<u32>; 2]),
    Semaphore(Semaphore),
    Once(Once),
}

impl Way {
    /// Does something with the lock in hand. If somebody has died with it, says who.
    fn with(&self, inside: impl FnOnce()) -> Option<u32> {
        fn died<G>(error: LockError<G>) -> PoisonError<G> {
            error.into_poisoned().expect("it was taken")
        }
        /// Does it while the guard lives.
        fn within<G>(taken: Result<G, PoisonError<G>>, inside: impl FnOnce()) -> Option<u32> {
            let died = taken.as_ref().err().map(|poisoned| poisoned.holder().pid());
            let guard = taken.unwrap_or_else(PoisonError::into_inner);
            inside();
            drop(guard);
            died
        }
        match self {
            Self::Mutex(mutex) => within(mutex.lock().map_err(died), inside),
            Self::Reentrant(lock) => within(lock.lock().map_err(died), inside),
            Self::Read(lock) => within(lock.read().map_err(died), inside),
            Self::Write(lock) => within(lock.write().map_err(died), inside),
            Self::Several(mutexes) => {
                let died = |error: LockAllError<_>| error.into_poisoned().expect("they were taken");
                within(lock_all(mutexes).map_err(died), inside)
            }
            Self::Semaphore(semaphore) => {
                let _permit = semaphore.acquire().unwrap();
                inside();
                None
            }
            Self::Once(once) => match once.call_once(inside) {
                Ok(()) => None,
                Err(OnceError::Poisoned(poisoned)) => Some(poisoned.holder().pid()),
                Err(other) => panic!("{other}"),
            },
        }
    }
}

/// Takes the lock, asks whether to go on, and dies while it gives it back.
#[process]
fn die_giving_back(way: Way, steps: Shared<Steps>, talk: Duplex<(), ()>) {
    steps::prepare(steps);
    way.with(|| {
        talk.send(()).unwrap();
        talk.recv().unwrap();
        steps::begin();
    });
    steps::end();
}

/// Dies while it takes the lock. If it finds it taken, it begins when it is told to.
#[process]
fn die_taking(way: Way, steps: Shared<Steps>, free: bool) {
    steps::prepare(steps);
    if free {
        steps::begin();
    }
    way.with(steps::mark);
    steps::end();
}

#[process]
fn take_and_give_back(way: Way) {
    assert_eq!(way.with(|| {}), None);
}

/// Whoever is named must be the victim; that nobody is, is nothing to be ashamed of.
#[track_caller]
fn assert_named(died: Option<u32>, victim: u32) {
    assert!(died.is_none_or(|pid| pid == 0 || pid == victim), "{died:?} for {victim}");
}

/// One dies while it takes the lock, which was free: it was taken and given back by another process
/// and by this one.
fn dies_taking(way: &Way, steps: &Shared<Steps>) -> bool {
    assert_eq!(way.with(|| {}), None);
    take_and_give_back(way.clone()).spawn().unwrap().join().unwrap();
    steps.count();
    let child = die_taking(way.clone(), steps.clone(), true).spawn().unwrap();
    let victim = child.pid();
    let killed = was_killed(child);
    assert_named(way.with(|| {}), victim);
    killed
}

/// One dies while it gives the lock back, for which another waits.
fn dies_giving_back(victim: &Way, waiter: &Way, steps: &Shared<Steps>) -> bool {
    let (here, there) = duplex().unwrap();
    let child = die_giving_back(victim.clone(), steps.clone(), there).spawn().unwrap();
    here.recv().unwrap();
    thread::scope(|scope| {
        let waiter = sleeper(scope, || waiter.with(|| {}));
        steps.count();
        here.send(()).unwrap();
        let victim = child.pid();
        let killed = was_killed(child);
        assert_named(waiter.join().unwrap(), victim);
        killed
    })
}

/// One dies when it is woken because the lock was given back, for which another waits, too.
fn dies_woken(holder: &Way, victim: &Way, waiter: &Way, steps: &Shared<Steps>) -> bool {
    thread::scope(|scope| {
        let mut asleep = None;
        holder.with(|| {
            let child = die_taking(victim.clone(), steps.clone(), false).spawn().unwrap();
            let child = stepping_sleeper(child, steps);
            asleep = Some((child, sleeper(scope, || waiter.with(|| {}))));
            steps.count();
        });
        let (child, waiter) = asleep.unwrap();
        let victim = child.pid();
        let killed = was_killed(child);
        assert_named(waiter.join().unwrap(), victim);
        killed
    })
}

/// All of it, with a new lock for each try: by its holder, its victim, and who waits.
fn sweep_all(
    lock: impl Fn() -> offspring::Result<[Way; 3]>,
) -> Result<(), Box<dyn std::error::Error>> {
    sweep("taking", |steps| dies_taking(&lock().unwrap()[1], steps))?;
    sweep("giving back", |steps| {
        let [_, victim, waiter] = lock().unwrap();
        dies_giving_back(&victim, &waiter, steps)
    })?;
    sweep("woken", |steps| {
        let [holder, victim, waiter] = lock().unwrap();
        dies_woken(&holder, &victim, &waiter, steps)
    })
}

fn same(way: Way) -> offspring::Result<[Way; 3]> {
    Ok([way.clone(), way.clone(), way])
}

fn rwlock(ways: [fn(RwLock<u32>) -> Way; 3]) -> offspring::Result<[Way; 3]> {
    let lock = RwLock::new(0)?;
    Ok(ways.map(|way| way(lock.clone())))
}

each_start_method! {
    only [forkserver ForkServer]
    fn mutex() {
        sweep_all(|| same(Way::Mutex(Mutex::new(0)?)))?;
    }

    only [forkserver ForkServer]
    fn watched_mutex() {
        let detector = DeadlockDetector::new()?;
        sweep_all(|| same(Way::Mutex(Mutex::new(0)?.detect_deadlocks(&detector))))?;
    }

    only [forkserver ForkServer]
    fn reentrant_lock() {
        sweep_all(|| same(Way::Reentrant(ReentrantLock::new(0)?)))?;
    }

    only [forkserver ForkServer]
    fn writers() {
        sweep_all(|| rwlock([Way::Write, Way::Write, Way::Write]))?;
    }

    only [forkserver ForkServer]
    fn a_reader_before_a_writer() {
        sweep_all(|| rwlock([Way::Write, Way::Read, Way::Write]))?;
    }

    only [forkserver ForkServer]
    fn a_writer_before_a_reader() {
        sweep_all(|| rwlock([Way::Write, Way::Write, Way::Read]))?;
    }

    only [forkserver ForkServer]
    fn a_writer_between_readers() {
        sweep_all(|| rwlock([Way::Read, Way::Write, Way::Read]))?;
    }

    only [forkserver ForkServer]
    fn several_mutexes() {
        sweep_all(|| same(Way::Several([Mutex::new(0)?, Mutex::new(0)?])))?;
    }

    only [forkserver ForkServer]
    fn semaphore() {
        sweep_all(|| same(Way::Semaphore(Semaphore::new(1)?)))?;
    }

    only [forkserver ForkServer]
    fn semaphore_of_several() {
        // All permits but one are in other hands.
        let semaphore = || -> offspring::Result<_> {
            let semaphore = Semaphore::new(3)?;
            (0..2).for_each(|_| semaphore.try_acquire().unwrap().forget());
            same(Way::Semaphore(semaphore))
        };
        sweep_all(semaphore)?;
    }

    only [forkserver ForkServer]
    fn once() {
        sweep_all(|| same(Way::Once(Once::new()?)))?;
    }
}

/// What wakes others, and is not a lock.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Waker {
    Event(Event),
    Condvar(Condvar),
    Semaphore(Semaphore),
    Barrier(Barrier),
}

#[process]
fn die_waking(waker: Waker, steps: Shared<Steps>) {
    steps::prepare(steps);
    steps::begin();
    match waker {
        Waker::Event(event) => event.set(),
        Waker::Condvar(condvar) => drop(condvar.notify_one()),
        Waker::Semaphore(semaphore) => semaphore.release(1).unwrap(),
        Waker::Barrier(barrier) => drop(barrier.wait().unwrap()),
    }
    steps::end();
}

/// One dies while it wakes another.
fn dies_waking(waker: Waker, steps: &Shared<Steps>) -> bool {
    steps.count();
    die_waking(waker, steps.clone()).spawn().map(was_killed).unwrap()
}

#[process]
fn die_woken_by_condvar(mutex: Mutex<u32>, condvar: Condvar, steps: Shared<Steps>) {
    steps::prepare(steps);
    let guard = condvar.wait(mutex.lock().unwrap()).unwrap();
    steps::mark();
    drop(guard);
    steps::end();
}

each_start_method! {
    only [forkserver ForkServer]
    fn event_set() {
        sweep("set", |steps| {
            let event = Event::new().unwrap();
            thread::scope(|scope| {
                let waiter = sleeper(scope, || event.wait());
                let killed = dies_waking(Waker::Event(event.clone()), steps);
                if !event.is_set() {
                    event.set(); // it had not come to that
                }
                waiter.join().unwrap();
                killed
            })
        })?;
    }

    only [forkserver ForkServer]
    fn semaphore_release() {
        sweep("release", |steps| {
            let semaphore = Semaphore::new(0).unwrap();
            thread::scope(|scope| {
                let waiter = sleeper(scope, || drop(semaphore.acquire().unwrap()));
                let killed = dies_waking(Waker::Semaphore(semaphore.clone()), steps);
                if semaphore.available() == 0 && !waiter.is_finished() {
                    semaphore.release(1).unwrap();
                }
                waiter.join().unwrap();
                killed
            })
        })?;
    }

    only [forkserver ForkServer]
    fn condvar_notify() {
        sweep("notify_one", |steps| {
            let (mutex, condvar) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
            thread::scope(|scope| {
                let waiter = sleeper(scope, || drop(condvar.wait(mutex.lock().unwrap()).unwrap()));
                let killed = dies_waking(Waker::Condvar(condvar.clone()), steps);
                // Not a waiter any more, once it was notified, be it awake or not.
                if format!("{condvar:?}").contains("waiting: 1") {
                    condvar.notify_one();
                }
                waiter.join().unwrap();
                killed
            })
        })?;
    }

    only [forkserver ForkServer]
    fn condvar_notified() {
        sweep("notified", |steps| {
            let (mutex, condvar) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
            thread::scope(|scope| {
                let wait = || match mutex.lock() {
                    Ok(guard) => drop(condvar.wait(guard)),
                    Err(_) => unreachable!("it has the mutex before anybody dies"),
                };
                let child = die_woken_by_condvar(mutex.clone(), condvar.clone(), steps.clone());
                let child = stepping_sleeper(child.spawn().unwrap(), steps);
                let waiter = sleeper(scope, wait);
                steps.count();
                assert_eq!(condvar.notify_one(), 1);
                let killed = was_killed(child);
                // If it had the mutex again, the notification was its own. Otherwise it was passed
                // on.
                let had_it = !killed || matches!(mutex.try_lock(), Err(TryLockError::Poisoned(_)));
                if had_it {
                    condvar.notify_one();
                }
                waiter.join().unwrap();
                killed
            })
        })?;
    }

    only [forkserver ForkServer]
    fn barrier_arrival() {
        sweep("arrival", |steps| {
            let barrier = Barrier::new(2).unwrap();
            thread::scope(|scope| {
                let waiter = sleeper(scope, || barrier.wait());
                let killed = dies_waking(Waker::Barrier(barrier.clone()), steps);
                // It has passed with the victim, or was told of its death; or it passes now, with
                // this one, as the victim had not come.
                let other = scope.spawn(|| barrier.wait());
                match waiter.join().unwrap() {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error, BarrierError::WaiterDied),
                }
                barrier.abort();
                let _ = other.join().unwrap();
                killed
            })
        })?;
    }
}
