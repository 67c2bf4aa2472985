//! Mutexes and reentrant ones: one alone, two that are watched for deadlocks, several at once.

use std::collections::HashSet;
use std::thread;

use offspring::process;
use offspring::sync::{
    DeadlockDetector, LockAllError, LockError, LockTimeoutError, Mutex, MutexGuard, ReentrantLock,
    TryLockError, lock_all,
};
use tests::each_start_method;
use tests::storm::{Job, Random, SURVIVOR, Storm, Survivor, kills};

use super::ledger::{Ledger, NOT_ASKED, Taken, enter};
use super::{audit, moment};

fn take<'a>(mutex: &'a Mutex<Ledger>, random: &Random) -> Option<Taken<MutexGuard<'a, Ledger>>> {
    match random.below(4) {
        0 => taken!(mutex.try_lock(), TryLockError::WouldBlock),
        1 => taken!(mutex.lock_timeout(moment(random)), LockTimeoutError::Timeout { .. }),
        _ => taken!(mutex.lock()),
    }
}

pub(super) fn use_mutex(mutex: &Mutex<Ledger>, who: u64, random: &Random) {
    if let Some(taken) = take(mutex, random) {
        drop(enter(taken, who, || mutex.clear_poison()));
    }
}

#[process]
fn keep_locking(job: Job, mutex: Mutex<Ledger>) {
    let random = job.begin();
    loop {
        use_mutex(&mutex, job.serial, &random);
    }
}

each_start_method! {
    only [forkserver ForkServer]
    fn mutex() {
        let mutex = Mutex::new(Ledger::new())?;
        let (mut storm, mut told) = (Storm::new(), HashSet::new());
        thread::scope(|scope| {
            let survivor = Survivor::new(scope, |random| use_mutex(&mutex, SURVIVOR, random));
            storm.rage(kills(), 4, |job| keep_locking(job, mutex.clone()).spawn(), |storm| {
                survivor.goes_on();
                audit(&mutex, &mut told, storm);
            });
        });
        assert!(mutex.lock().is_ok() && !mutex.is_poisoned());
        assert!(storm.counted("died inside") > 0, "the storm missed");
    }
}

pub(super) fn use_reentrant(lock: &ReentrantLock<Ledger>, who: u64, random: &Random) {
    let taken = match random.below(4) {
        0 => taken!(lock.try_lock(), TryLockError::WouldBlock),
        1 => taken!(lock.lock_timeout(moment(random)), LockTimeoutError::Timeout { .. }),
        _ => taken!(lock.lock()),
    };
    let Some(taken) = taken else { return };
    let outer = enter(taken, who, || lock.clear_poison());
    let again = [lock.lock().unwrap(), lock.try_lock().unwrap()];
    again[0].visit(who);
    drop(again);
    outer.visit(who); // it is held still
}

#[process]
fn keep_reentering(job: Job, lock: ReentrantLock<Ledger>) {
    let random = job.begin();
    loop {
        use_reentrant(&lock, job.serial, &random);
    }
}

each_start_method! {
    only [forkserver ForkServer]
    fn reentrant_lock() {
        let lock = ReentrantLock::new(Ledger::new())?;
        let (mut storm, mut told) = (Storm::new(), HashSet::new());
        thread::scope(|scope| {
            let survivor = Survivor::new(scope, |random| use_reentrant(&lock, SURVIVOR, random));
            storm.rage(kills(), 4, |job| keep_reentering(job, lock.clone()).spawn(), |storm| {
                survivor.goes_on();
                let taken = lock.lock().map_err(|error| error.into_poisoned().unwrap());
                enter(taken, SURVIVOR, || lock.clear_poison()).audit(&mut told, storm);
            });
        });
        assert!(lock.lock().is_ok() && !lock.is_poisoned());
        assert!(storm.counted("died inside") > 0, "the storm missed");
    }
}

/// Two locks that are watched, taken now in this order and now in that.
pub(super) fn use_watched(locks: &[Mutex<Ledger>; 2], who: u64, random: &Random) {
    let first = random.below(2) as usize;
    let Some(taken) = taken!(locks[first].lock()) else { return };
    let _outer = enter(taken, who, || locks[first].clear_poison());
    let second = &locks[1 - first];
    match second.lock() {
        Err(LockError::Deadlock(deadlock)) => assert_eq!(deadlock.members().count(), 2),
        other => {
            let taken = other.map_err(|error| error.into_poisoned().expect("it was taken"));
            drop(enter(taken, who, || second.clear_poison()));
        }
    }
}

#[process]
fn keep_crossing(job: Job, locks: [Mutex<Ledger>; 2]) {
    let random = job.begin();
    loop {
        use_watched(&locks, job.serial, &random);
    }
}

each_start_method! {
    only [forkserver ForkServer]
    /// Each would hang soon, were it not told.
    fn watched_mutexes() {
        let detector = DeadlockDetector::new()?;
        let watched = || Mutex::new(Ledger::new()).map(|mutex| mutex.detect_deadlocks(&detector));
        let locks = [watched()?, watched()?];
        let (mut storm, mut told) = (Storm::new(), HashSet::new());
        thread::scope(|scope| {
            let survivor = Survivor::new(scope, |random| use_watched(&locks, SURVIVOR, random));
            let start = |job| keep_crossing(job, locks.clone()).spawn();
            storm.fill(4, start);
            (0..200).for_each(|_| survivor.goes_on()); // although nobody is killed
            storm.rage(kills(), 4, start, |storm| {
                survivor.goes_on();
                locks.iter().for_each(|mutex| audit(mutex, &mut told, storm));
            });
        });
        assert!(locks.iter().all(|mutex| mutex.lock().is_ok()));
        assert!(storm.counted("died inside") > 0, "the storm missed");
    }
}

/// Several at once, in any order; then perhaps others within.
pub(super) fn use_several(mutexes: &[Mutex<Ledger>; 4], who: u64, random: &Random) {
    let mut order = [0, 1, 2, 3];
    for place in 0..3 {
        order.swap(place, place + random.below(4 - place as u64) as usize);
    }
    let chosen = &order[..1 + random.below(3) as usize];
    let held = take_several(mutexes, chosen, who).expect("nothing is held yet");
    let last = *chosen.iter().max().unwrap();
    let inner = random.below(4) as usize;
    match take_several(mutexes, &[inner], who) {
        Ok(_) => assert!(inner > last),
        Err(NotNow::OutOfOrder) => assert!(inner < last && !chosen.contains(&inner)),
        Err(NotNow::HeldAlready) => assert!(chosen.contains(&inner)),
    }
    drop(held);
}

#[derive(Debug)]
enum NotNow {
    OutOfOrder,
    HeldAlready,
}

fn take_several<'a>(
    mutexes: &'a [Mutex<Ledger>; 4],
    chosen: &[usize],
    who: u64,
) -> Result<Vec<MutexGuard<'a, Ledger>>, NotNow> {
    let several: Vec<_> = chosen.iter().map(|&index| &mutexes[index]).collect();
    let guards = match lock_all(&several[..]) {
        Ok(guards) => guards,
        Err(LockAllError::Poisoned(poisoned)) => {
            let mut named = Some(poisoned.holder().pid());
            let guards = poisoned.into_inner();
            for (mutex, guard) in several.iter().zip(&guards) {
                if mutex.is_poisoned() {
                    let one = several.iter().filter(|mutex| mutex.is_poisoned()).count() == 1;
                    guard.repair(named.take().filter(|_| one).unwrap_or(NOT_ASKED));
                    mutex.clear_poison();
                }
            }
            guards
        }
        Err(LockAllError::OutOfOrder(_)) => return Err(NotNow::OutOfOrder),
        Err(LockAllError::Deadlock(_)) => return Err(NotNow::HeldAlready),
        Err(other) => panic!("{other}"),
    };
    guards.iter().for_each(|guard| guard.visit(who));
    Ok(guards)
}

#[process]
fn keep_locking_several(job: Job, mutexes: [Mutex<Ledger>; 4]) {
    let random = job.begin();
    loop {
        use_several(&mutexes, job.serial, &random);
    }
}

each_start_method! {
    only [forkserver ForkServer]
    fn several_mutexes() {
        let mutexes: Vec<_> = (0..4).map(|_| Mutex::new(Ledger::new())).collect::<Result<_, _>>()?;
        let mutexes: [_; 4] = mutexes.try_into().unwrap();
        let (mut storm, mut told) = (Storm::new(), HashSet::new());
        thread::scope(|scope| {
            let survivor = Survivor::new(scope, |random| use_several(&mutexes, SURVIVOR, random));
            let start = |job| keep_locking_several(job, mutexes.clone()).spawn();
            storm.rage(kills(), 4, start, |storm| {
                survivor.goes_on();
                mutexes.iter().for_each(|mutex| audit(mutex, &mut told, storm));
            });
        });
        assert!(mutexes.iter().all(|mutex| mutex.lock().is_ok()));
        assert!(storm.counted("died inside") > 0, "the storm missed");
    }
}
