//! Processes that use locks are killed at random moments, thousands of times. Whatever they were
//! doing: nobody else is let in beside a holder, each death with a lock is told, and names who it
//! was, nothing that a lock counts is lost, and nobody waits for the dead.
//!
//! In each storm a thread that is not killed works beside the processes. Whenever all of these were
//! killed at once, it alone is left, and must go on without anybody's help.
//!
//! `OFFSPRING_STORM_SEED` repeats the order of a storm, as far as the machine allows.

#[path = "storm_locks/each_instruction.rs"]
mod each_instruction;
#[path = "storm_locks/ledger.rs"]
mod ledger;

use std::collections::HashSet;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering, compiler_fence};
use std::time::Duration;
use std::{fs, thread};

use ledger::{Ledger, NOT_ASKED, Taken, enter};
use offspring::process;
use offspring::shm::{Shareable, Shared};
use offspring::sync::{
    Barrier, BarrierError, Condvar, DeadlockDetector, Event, LockAllError, LockError,
    LockTimeoutError, Mutex, MutexGuard, Once, OnceError, PoisonCause, ReentrantLock, RwLock,
    Semaphore, TryLockError, lock_all,
};
use serde::{Deserialize, Serialize};
use tests::each_start_method;
use tests::family::until;
use tests::storm::{Job, Random, SURVIVOR, Storm, Survivor, kills};

/// As short as a wait can be that is one.
fn moment(random: &Random) -> Duration {
    Duration::from_micros(random.below(100))
}

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
        Some($result.map_err(|error: LockError<_>| error.into_poisoned().expect("it was taken")))
    };
}

fn take<'a>(mutex: &'a Mutex<Ledger>, random: &Random) -> Option<Taken<MutexGuard<'a, Ledger>>> {
    match random.below(4) {
        0 => taken!(mutex.try_lock(), TryLockError::WouldBlock),
        1 => taken!(mutex.lock_timeout(moment(random)), LockTimeoutError::Timeout { .. }),
        _ => taken!(mutex.lock()),
    }
}

fn use_mutex(mutex: &Mutex<Ledger>, who: u64, random: &Random) {
    if let Some(taken) = take(mutex, random) {
        drop(enter(taken, who, || mutex.clear_poison()));
    }
}

/// Looks through what the mutex protects, when all are dead who are to be killed.
fn audit(mutex: &Mutex<Ledger>, told: &mut HashSet<u64>, storm: &mut Storm) {
    let taken = mutex.lock().map_err(|error| error.into_poisoned().unwrap());
    enter(taken, SURVIVOR, || mutex.clear_poison()).audit(told, storm);
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

fn use_reentrant(lock: &ReentrantLock<Ledger>, who: u64, random: &Random) {
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
fn use_watched(locks: &[Mutex<Ledger>; 2], who: u64, random: &Random) {
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
fn use_several(mutexes: &[Mutex<Ledger>; 4], who: u64, random: &Random) {
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

fn use_rwlock(lock: &RwLock<Ledger>, who: u64, random: &Random) {
    if random.one_in(3) {
        let taken = match random.below(4) {
            0 => taken!(lock.try_write(), TryLockError::WouldBlock),
            1 => taken!(lock.write_timeout(moment(random)), LockTimeoutError::Timeout { .. }),
            _ => taken!(lock.write()),
        };
        if let Some(taken) = taken {
            drop(enter(taken, who, || lock.clear_poison()));
        }
    } else {
        let taken = match random.below(4) {
            0 => taken!(lock.try_read(), TryLockError::WouldBlock),
            1 => taken!(lock.read_timeout(moment(random)), LockTimeoutError::Timeout { .. }),
            _ => taken!(lock.read()),
        };
        // What a writer has left who died is for the next writer.
        if let Some(Ok(guard)) = taken {
            guard.look();
            if random.one_in(8) {
                lock.read().inspect(|again| again.look()).ok();
            }
            guard.look();
        }
    }
}

#[process]
fn keep_reading_and_writing(job: Job, lock: RwLock<Ledger>) {
    let random = job.begin();
    loop {
        use_rwlock(&lock, job.serial, &random);
    }
}

each_start_method! {
    only [forkserver ForkServer]
    fn rwlock() {
        let lock = RwLock::new(Ledger::new())?;
        let (mut storm, mut told) = (Storm::new(), HashSet::new());
        thread::scope(|scope| {
            let survivor = Survivor::new(scope, |random| use_rwlock(&lock, SURVIVOR, random));
            let start = |job| keep_reading_and_writing(job, lock.clone()).spawn();
            storm.rage(kills(), 5, start, |storm| {
                survivor.goes_on();
                let taken = lock.write().map_err(|error| error.into_poisoned().unwrap());
                enter(taken, SURVIVOR, || lock.clear_poison()).audit(&mut told, storm);
            });
        });
        assert!(lock.read().is_ok() && lock.write().is_ok() && !lock.is_poisoned());
        assert!(storm.counted("died inside") > 0, "the storm missed");
    }
}

const PERMITS: usize = 3;

/// The process numbers of those who have a permit; and of some who died with one, as they cannot
/// cross themselves out.
type Inside = Mutex<[u32; 32]>;

/// Whether the process is ending, or is gone: the kernel says so before it gives back its permits.
fn is_dying(pid: u32) -> bool {
    const EXITING: u64 = 4;
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let flags: u64 = rest.split_whitespace().nth(6).unwrap().parse().unwrap();
    flags & EXITING != 0
}

fn with_inside(inside: &Inside, change: impl FnOnce(&mut [u32; 32])) {
    let mut guard = inside.lock().unwrap_or_else(|error| {
        inside.clear_poison();
        error.into_inner() // each change is one number
    });
    change(&mut guard);
}

fn use_semaphore(semaphore: &Semaphore, inside: &Inside, random: &Random) {
    let permit = match random.below(4) {
        0 => semaphore.try_acquire().ok(),
        1 => semaphore.acquire_timeout(moment(random)).ok(),
        _ => Some(semaphore.acquire().unwrap()),
    };
    let Some(permit) = permit else { return };
    let own = std::process::id();
    with_inside(inside, |inside| {
        *inside.iter_mut().find(|pid| **pid == 0).expect("a free place") = own;
        if inside.iter().filter(|pid| **pid != 0).count() > PERMITS {
            // While this has the mutex, nobody comes or goes, other than by dying.
            inside.iter_mut().filter(|pid| **pid != 0 && is_dying(**pid)).for_each(|pid| *pid = 0);
        }
        let alive = inside.iter().filter(|pid| **pid != 0);
        assert!(alive.count() <= PERMITS, "more are inside than there are permits");
    });
    (0..random.below(100)).for_each(|_| std::hint::spin_loop());
    with_inside(inside, |inside| {
        *inside.iter_mut().find(|pid| **pid == own).unwrap() = 0;
    });
    drop(permit);
}

#[process]
fn keep_acquiring(job: Job, semaphore: Semaphore, inside: Inside) {
    let random = job.begin();
    loop {
        use_semaphore(&semaphore, &inside, &random);
    }
}

fn rage_on_semaphore(semaphore: &Semaphore) -> Result<(), Box<dyn Error>> {
    let inside = Mutex::new([0; 32])?;
    let mut storm = Storm::new();
    thread::scope(|scope| {
        let work = |random: &Random| use_semaphore(semaphore, &inside, random);
        let survivor = Survivor::new(scope, work);
        let start = |job| keep_acquiring(job, semaphore.clone(), inside.clone()).spawn();
        storm.rage(kills(), 6, start, |_| {
            survivor.goes_on();
            survivor.at_rest(|| assert_eq!(semaphore.available(), PERMITS, "a permit is lost"));
        });
    });
    assert_eq!(semaphore.available(), PERMITS);
    let all: Vec<_> = (0..PERMITS).map(|_| semaphore.try_acquire().unwrap()).collect();
    assert!(semaphore.try_acquire().is_err());
    drop(all);
    Ok(())
}

each_start_method! {
    only [forkserver ForkServer]
    fn semaphore() {
        rage_on_semaphore(&Semaphore::new(PERMITS)?)?;
    }

    only [forkserver ForkServer]
    fn bounded_semaphore() {
        let semaphore = Semaphore::bounded(PERMITS)?;
        rage_on_semaphore(&semaphore)?;
        assert!(semaphore.release(1).is_err(), "it has all of them");
    }
}

/// What producers and consumers share. There are two of it, one of which counts: a change is made
/// to the other, and then that one counts. So it is whole whenever somebody is killed.
#[derive(Debug, Clone, Copy, Shareable)]
struct Belt {
    /// The numbers that were made and not taken, from `taken` to `made`.
    items: [u64; Belt::ROOM],
    made: u64,
    taken: u64,
    /// Taken, by whom, and not yet used.
    in_hand: [(u64, u64); 64],
    used: u64,
    sum_of_used: u64,
}

impl Belt {
    const ROOM: usize = 4;

    const fn new() -> Self {
        let (items, in_hand) = ([0; Self::ROOM], [(0, 0); 64]);
        Self { items, made: 0, taken: 0, in_hand, used: 0, sum_of_used: 0 }
    }

    fn is_empty(&self) -> bool {
        self.made == self.taken
    }

    fn is_full(&self) -> bool {
        self.made - self.taken == Self::ROOM as u64
    }
}

#[derive(Debug, Shareable)]
struct Belts {
    belts: [Belt; 2],
    counts: usize,
}

impl Belts {
    fn belt(&self) -> &Belt {
        &self.belts[self.counts]
    }

    fn change(&mut self, change: impl FnOnce(&mut Belt)) {
        let other = 1 - self.counts;
        self.belts[other] = self.belts[self.counts];
        change(&mut self.belts[other]);
        compiler_fence(Ordering::SeqCst);
        self.counts = other;
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Factory {
    belts: Mutex<Belts>,
    not_empty: Condvar,
    not_full: Condvar,
}

/// Whether somebody waits by what may end by itself.
#[derive(Debug, Clone, Copy)]
enum Patience {
    None,
    Some,
    Endless,
}

type Belted<'a> = MutexGuard<'a, Belts>;

impl Factory {
    fn new() -> offspring::Result<Self> {
        let belts = Mutex::new(Belts { belts: [Belt::new(); 2], counts: 0 })?;
        Ok(Self { belts, not_empty: Condvar::new()?, not_full: Condvar::new()? })
    }

    fn lock(&self) -> Belted<'_> {
        self.belts.lock().unwrap_or_else(|error| self.healed(error.into_inner()))
    }

    /// Who died with the mutex may have been woken just before, for the sake of all: so whoever is
    /// told of that wakes the others.
    fn healed<'a>(&self, guard: Belted<'a>) -> Belted<'a> {
        self.belts.clear_poison();
        self.not_empty.notify_all();
        self.not_full.notify_all();
        guard
    }

    /// Waits for as long as that is so; `None` if it lost patience.
    fn wait(
        &self,
        condvar: &Condvar,
        random: &Random,
        patience: Patience,
        so: impl Fn(&Belt) -> bool,
    ) -> Option<Belted<'_>> {
        let mut guard = self.lock();
        while so(guard.belt()) {
            let patient = match patience {
                Patience::None => false,
                Patience::Some => random.one_in(2),
                Patience::Endless => true,
            };
            if patient {
                guard = condvar.wait(guard).unwrap_or_else(|error| self.healed(error.into_inner()));
                continue;
            }
            let waited = condvar.wait_timeout(guard, moment(random));
            let (taken, result) = waited.unwrap_or_else(|error| {
                let (guard, result) = error.into_inner();
                (self.healed(guard), result)
            });
            if result.timed_out() {
                return None;
            }
            guard = taken;
        }
        Some(guard)
    }

    // Both notify before they change anything, as who is killed in between must not owe that. It
    // makes no difference otherwise: the mutex is held.

    fn produce(&self, patience: Patience, random: &Random) {
        let Some(mut guard) = self.wait(&self.not_full, random, patience, Belt::is_full) else {
            return;
        };
        self.not_empty.notify_one();
        guard.change(|belt| {
            belt.made += 1;
            belt.items[belt.made as usize % Belt::ROOM] = belt.made;
        });
    }

    fn consume(&self, patience: Patience, who: u64, random: &Random) {
        let Some(mut guard) = self.wait(&self.not_empty, random, patience, Belt::is_empty) else {
            return;
        };
        self.not_full.notify_one();
        let mut item = 0;
        guard.change(|belt| {
            belt.taken += 1;
            item = belt.items[belt.taken as usize % Belt::ROOM];
            *belt.in_hand.iter_mut().find(|(owner, _)| *owner == 0).unwrap() = (who, item);
        });
        drop(guard);
        (0..random.below(100)).for_each(|_| std::hint::spin_loop());
        self.lock().change(|belt| {
            let hand = belt.in_hand.iter_mut().find(|hand| **hand == (who, item));
            *hand.expect("nobody else takes it away") = (0, 0);
            belt.used += 1;
            belt.sum_of_used += item;
        });
    }
}

#[process]
fn keep_making_or_using(job: Job, factory: Factory) {
    let random = job.begin();
    let maker = random.one_in(3);
    loop {
        if maker {
            factory.produce(Patience::Some, &random);
        } else {
            factory.consume(Patience::Some, job.serial, &random);
        }
    }
}

each_start_method! {
    only [forkserver ForkServer]
    fn condvar() {
        let factory = Factory::new()?;
        let mut storm = Storm::new();
        let mut sum_of_lost = 0;
        thread::scope(|scope| {
            let maker = Survivor::new(scope, |random| factory.produce(Patience::Endless, random));
            let user = Survivor::new(scope, |random| factory.consume(Patience::Endless, SURVIVOR, random));
            let start = |job| keep_making_or_using(job, factory.clone()).spawn();
            storm.rage(kills(), 5, start, |storm| {
                // What there is, is used, although nothing is made; and the other way round.
                maker.pause(true);
                until(|| user.has_failed() || factory.lock().belt().is_empty());
                user.pause(true);
                maker.pause(false);
                until(|| maker.has_failed() || factory.lock().belt().is_full());
                user.pause(false);
                maker.goes_on();
                user.goes_on();
                // What the dead had in their hands is lost, and nothing else.
                let mut lost = 0;
                factory.lock().change(|belt| {
                    for hand in &mut belt.in_hand {
                        if storm.dead.contains_key(&hand.0) {
                            sum_of_lost += hand.1;
                            lost += 1;
                            *hand = (0, 0);
                        }
                    }
                });
                storm.count("lost", lost);
            });
            maker.pause(true);
            until(|| user.has_failed() || factory.lock().belt().is_empty());
            drop(user);
            factory.produce(Patience::Endless, &storm.random); // so that it is not waiting any more
        });
        let end = *factory.lock().belt();
        assert_eq!(end.used + storm.counted("lost"), end.taken);
        assert_eq!(end.sum_of_used + sum_of_lost, (1..=end.taken).sum::<u64>());
        assert!(storm.counted("lost") > 0, "the storm missed");
    }
}

/// How one who came to the barrier left it.
type Left = Result<usize, BarrierError>;

#[process]
fn keep_meeting(job: Job, barrier: Barrier) {
    let random = job.begin();
    loop {
        match barrier.wait() {
            Ok(_) => random.dawdle(),
            Err(_) => std::thread::sleep(Duration::from_secs(600)), // until it is killed
        }
    }
}

/// Comes to the barrier until it breaks, and puts down what it was told each time.
fn meet_until_broken(barrier: &Barrier, passed: &AtomicUsize) -> Vec<Left> {
    let mut told = Vec::new();
    while told.last().is_none_or(Result::is_ok) {
        told.push(barrier.wait().map(|result| result.index()));
        passed.fetch_add(1, Ordering::SeqCst);
    }
    told
}

const KILLED: usize = 2;

each_start_method! {
    only [forkserver ForkServer]
    /// Two who are killed, two who are not, and this thread, which comes last.
    fn barrier() {
        let barrier = Barrier::new(KILLED + 3)?;
        let mut storm = Storm::new();
        let start = |job| keep_meeting(job, barrier.clone()).spawn();
        while storm.dead.len() < kills() {
            storm.fill(KILLED, start);
            let passed = [AtomicUsize::new(0), AtomicUsize::new(0)];
            let (own, others) = thread::scope(|scope| {
                let others = passed.each_ref().map(|passed| {
                    scope.spawn(|| meet_until_broken(&barrier, passed))
                });
                let have_left = || others.iter().all(|thread| thread.is_finished());
                let mut own = Vec::new();
                for _ in 0..storm.random.below(3) {
                    own.push(barrier.wait().map(|result| result.index()));
                }
                if storm.random.one_in(2) {
                    // All wait, or have just begun to: who is killed now breaks it. (Once two have
                    // left the round before, there are no four who were not told of its end.)
                    let are_through = |passed: &AtomicUsize| passed.load(Ordering::SeqCst) == own.len();
                    until(|| passed.iter().all(are_through));
                    until(|| barrier.waiting() == barrier.parties() - 1);
                    storm.kill(1 + storm.random.below(KILLED as u64) as usize);
                    until(have_left);
                    assert_eq!(barrier.wait(), Err(BarrierError::WaiterDied));
                    storm.count("died waiting", 1);
                } else {
                    // Wherever they are. If it was not at the barrier, nobody knows.
                    storm.random.dawdle();
                    storm.kill(1);
                    barrier.abort();
                    until(have_left);
                    assert!(barrier.is_broken());
                    storm.count("aborted", 1);
                }
                (own, others.map(|thread| thread.join().unwrap()))
            });
            // All were told the same of each round; and of those that have passed, each had another
            // number.
            let [one, other] = others;
            assert_eq!(one.len(), other.len());
            for (round, (one, other)) in one.iter().zip(&other).enumerate() {
                match (one, other) {
                    (Ok(one), Ok(other)) => {
                        let own = own[round].expect("it has passed for the others");
                        assert!(own != *one && own != *other && one != other);
                        assert!([own, *one, *other].iter().all(|index| *index < barrier.parties()));
                    }
                    (one, other) => assert!(one.is_err() && other.is_err(), "{one:?}, {other:?}"),
                }
            }
            assert_eq!(own.len() + 1, one.len());
            storm.kill_all();
            barrier.reset();
            assert!(!barrier.is_broken() && barrier.waiting() == 0);
        }
    }
}

#[process]
fn keep_setting(job: Job, event: Event) {
    let random = job.begin();
    loop {
        match random.below(8) {
            0 => event.clear(),
            1 => drop(event.wait_timeout(moment(&random))),
            _ => event.set(),
        }
    }
}

each_start_method! {
    only [forkserver ForkServer]
    fn event() {
        let event = Event::new()?;
        let mut storm = Storm::new();
        thread::scope(|scope| {
            let wait = |random: &Random| {
                event.wait();
                random.dawdle(); // or nothing else would run for as long as it is set
            };
            let waiters = [(); 2].map(|()| Survivor::new(scope, wait));
            storm.rage(kills(), 4, |job| keep_setting(job, event.clone()).spawn(), |storm| {
                // Whoever has set it may have died before it had woken all.
                if event.is_set() {
                    storm.count("set", 1);
                } else {
                    storm.count("not set", 1);
                    event.set();
                }
                waiters.iter().for_each(Survivor::goes_on);
                event.clear();
            });
            event.set();
        });
        assert!(storm.counted("set") > 0, "the storm missed");
    }
}

/// Sees to it that the work is done: many visits, so that there is time to die.
fn do_once(once: &Once, ledger: &Ledger, who: u64, random: &Random) {
    let work = || (0..random.below(3000)).for_each(|_| ledger.visit(who));
    match once.call_once(work) {
        Ok(()) => {}
        Err(OnceError::Poisoned(poisoned)) => {
            assert_eq!(poisoned.cause(), PoisonCause::Died, "{poisoned}");
            let again = once.call_once_force(|| {
                ledger.repair(poisoned.holder().pid());
                work();
            });
            again.unwrap();
        }
        Err(other) => panic!("{other}"),
    }
    assert!(once.is_completed());
    ledger.look(); // nobody is at it any more
}

#[process]
fn take_part_in_doing_once(job: Job, once: Once, ledger: Shared<Ledger>) {
    let random = job.begin();
    do_once(&once, &ledger, job.serial, &random);
    thread::sleep(Duration::from_secs(600)); // until it is killed
}

each_start_method! {
    only [forkserver ForkServer]
    fn once() {
        let mut storm = Storm::new();
        let mut told = HashSet::new();
        while storm.dead.len() < kills() {
            let (once, ledger) = (Once::new()?, Shared::new(Ledger::new())?);
            storm.fill(2, |job| take_part_in_doing_once(job, once.clone(), ledger.clone()).spawn());
            storm.random.dawdle();
            storm.kill(1 + storm.random.below(2) as usize);
            do_once(&once, &ledger, SURVIVOR, &storm.random);
            storm.kill_all();
            ledger.audit(&mut told, &mut storm);
        }
        assert!(storm.counted("died inside") > 0, "the storm missed");
    }
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
