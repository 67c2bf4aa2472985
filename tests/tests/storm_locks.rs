//! Processes that use locks are killed at random moments, thousands of times. Whatever they were
//! doing: nobody else is let in beside a holder, each death with a lock is told, and names who it
//! was, nothing that a lock counts is lost, and nobody waits for the dead.
//!
//! In each storm a thread that is not killed works beside the processes. Whenever all of these were
//! killed at once, it alone is left, and must go on without anybody's help.
//!
//! `OFFSPRING_STORM_SEED` repeats the order of a storm, as far as the machine allows.

/// What came of taking a lock: nothing, if the time was up.
macro_rules! taken {
    ($result:expr, $late:pat) => {
        match $result {
            Ok(guard) => Some(Ok(guard)),
            Err($late) => None,
            Err(error) => Some(Err(error.into_poisoned().expect("it was taken"))),
        }
    };
    ($result:expr) => {
        Some($result.map_err(|error: offspring::sync::LockError<_>| {
            error.into_poisoned().expect("it was taken")
        }))
    };
}

#[path = "storm_locks/conditions.rs"]
mod conditions;
#[path = "storm_locks/each_instruction.rs"]
mod each_instruction;
#[path = "storm_locks/ledger.rs"]
mod ledger;
#[path = "storm_locks/meetings.rs"]
mod meetings;
#[path = "storm_locks/mutexes.rs"]
mod mutexes;
#[path = "storm_locks/rwlocks.rs"]
mod rwlocks;
#[path = "storm_locks/semaphores.rs"]
mod semaphores;

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use conditions::{Factory, Patience};
use ledger::{Ledger, enter};
use mutexes::{use_mutex, use_reentrant, use_several, use_watched};
use offspring::process;
use offspring::sync::{Barrier, DeadlockDetector, Event, Mutex, ReentrantLock, RwLock, Semaphore};
use rwlocks::use_rwlock;
use semaphores::{Inside, PERMITS, use_semaphore};
use serde::{Deserialize, Serialize};
use tests::each_start_method;
use tests::storm::{Job, Random, SURVIVOR, Storm, Survivor, kills};

/// As short as a wait can be that is one.
fn moment(random: &Random) -> Duration {
    Duration::from_micros(random.below(100))
}

/// Looks through what the mutex protects, when all are dead who are to be killed.
fn audit(mutex: &Mutex<Ledger>, told: &mut HashSet<u64>, storm: &mut Storm) {
    let taken = mutex.lock().map_err(|error| error.into_poisoned().unwrap());
    enter(taken, SURVIVOR, || mutex.clear_poison()).audit(told, storm);
}

/// One of each.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct World {
    mutex: Mutex<Ledger>,
    reentrant: ReentrantLock<Ledger>,
    watched: [Mutex<Ledger>; 2],
    several: [Mutex<Ledger>; 4],
    rwlock: RwLock<Ledger>,
    semaphore: Semaphore,
    inside: Inside,
    factory: Factory,
    event: Event,
    barrier: Barrier,
}

impl World {
    fn new() -> offspring::Result<Self> {
        let detector = DeadlockDetector::new()?;
        let ledger = || Mutex::new(Ledger::new());
        let watched = || Ok(ledger()?.detect_deadlocks(&detector));
        Ok(Self {
            mutex: ledger()?,
            reentrant: ReentrantLock::new(Ledger::new())?,
            watched: [watched()?, watched()?],
            several: [ledger()?, ledger()?, ledger()?, ledger()?],
            rwlock: RwLock::new(Ledger::new())?,
            semaphore: Semaphore::bounded(PERMITS)?,
            inside: Mutex::new([0; 32])?,
            factory: Factory::new()?,
            event: Event::new()?,
            barrier: Barrier::new(2)?,
        })
    }

    /// Does something; every now and then with something else in its hands, which it got without
    /// waiting for it.
    fn live(&self, who: u64, random: &Random) {
        let permit = if random.one_in(4) { self.semaphore.try_acquire().ok() } else { None };
        let held = if random.one_in(4) { self.mutex.try_lock().ok() } else { None };
        match random.below(11) {
            0 if held.is_none() => use_mutex(&self.mutex, who, random),
            1 => use_reentrant(&self.reentrant, who, random),
            2 => use_watched(&self.watched, who, random),
            3 => use_several(&self.several, who, random),
            4 | 5 => use_rwlock(&self.rwlock, who, random),
            6 if held.is_none() && permit.is_none() => {
                use_semaphore(&self.semaphore, &self.inside, random);
            }
            7 => self.factory.produce(Patience::None, random),
            8 => self.factory.consume(Patience::None, who, random),
            9 if self.event.wait_timeout(moment(random)) => self.event.clear(),
            9 => self.event.set(),
            10 if self.barrier.wait_timeout(moment(random)).is_err() => self.barrier.reset(),
            _ => {}
        }
    }
}

#[process]
fn keep_living(job: Job, world: World) {
    let random = job.begin();
    loop {
        world.live(job.serial, &random);
    }
}

each_start_method! {
    only [forkserver ForkServer]
    fn all_at_once() {
        let world = World::new()?;
        let (mut storm, mut told) = (Storm::new(), HashSet::new());
        thread::scope(|scope| {
            let survivor = Survivor::new(scope, |random| world.live(SURVIVOR, random));
            storm.rage(kills(), 5, |job| keep_living(job, world.clone()).spawn(), |storm| {
                survivor.goes_on();
                let World { mutex, watched, several, reentrant, rwlock, .. } = &world;
                for mutex in [mutex].into_iter().chain(watched).chain(several) {
                    audit(mutex, &mut told, storm);
                }
                let taken = reentrant.lock().map_err(|error| error.into_poisoned().unwrap());
                let guard = enter(taken, SURVIVOR, || reentrant.clear_poison());
                guard.audit(&mut told, storm);
                drop(guard);
                let taken = rwlock.write().map_err(|error| error.into_poisoned().unwrap());
                enter(taken, SURVIVOR, || rwlock.clear_poison()).audit(&mut told, storm);
                survivor.at_rest(|| {
                    assert_eq!(world.semaphore.available(), PERMITS, "a permit is lost");
                    assert_eq!(world.barrier.waiting(), 0);
                });
            });
        });
        assert!(storm.counted("died with the lock") > 0, "the storm missed");
    }
}
