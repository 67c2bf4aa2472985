//! G, S: the locks of std and of parking_lot.

use std::hint::black_box;
use std::sync::{Barrier, Condvar, Mutex, RwLock};
use std::thread;

use benches::locks::{Side, Turns, contend, contended, uncontended};
use benches::{Round, measure};

pub(crate) fn run(round: &Round) {
    match (round.work.as_str(), round.variant.as_str()) {
        ("G1" | "G2", "std") => {
            let mutex = Mutex::new(0);
            lock(round, || *mutex.lock().unwrap() += 1, || *mutex.lock().unwrap());
        }
        ("G1" | "G2", _) => {
            let mutex = parking_lot::Mutex::new(0);
            lock(round, || *mutex.lock() += 1, || *mutex.lock());
        }
        ("G5", "std") => {
            let lock = RwLock::new(0);
            uncontended(round, "G5", || _ = black_box(*black_box(&lock).read().unwrap()));
        }
        ("G5", _) => {
            let lock = parking_lot::RwLock::new(0);
            uncontended(round, "G5", || _ = black_box(*black_box(&lock).read()));
        }
        ("G6", _) => {
            let mutex = parking_lot::ReentrantMutex::new(0);
            let turn = || _ = black_box(*black_box(&mutex).lock());
            uncontended(round, "G6", turn);
            let _held = mutex.lock();
            uncontended(round, "again", turn);
        }
        ("S3", "std") => {
            let (mutex, condvar) = (Mutex::new(false), Condvar::new());
            let answer = || {
                let mut asked = condvar.wait_while(mutex.lock().unwrap(), |asked| !*asked).unwrap();
                *asked = false;
                condvar.notify_one();
            };
            round_trips(round, answer, || {
                let mut asked = mutex.lock().unwrap();
                *asked = true;
                condvar.notify_one();
                drop(condvar.wait_while(asked, |asked| *asked).unwrap());
            });
        }
        ("S3", _) => {
            let (mutex, condvar) = (parking_lot::Mutex::new(false), parking_lot::Condvar::new());
            let answer = || {
                let mut asked = mutex.lock();
                condvar.wait_while(&mut asked, |asked| !*asked);
                *asked = false;
                condvar.notify_one();
            };
            round_trips(round, answer, || {
                let mut asked = mutex.lock();
                *asked = true;
                condvar.notify_one();
                condvar.wait_while(&mut asked, |asked| *asked);
            });
        }
        ("S4", _) => barrier(round, 2),
        _ => barrier(round, 4),
    }
}

/// G1, G2
fn lock(round: &Round, turn: impl Fn() + Sync, counted: impl Fn() -> u64) {
    if round.work == "G1" {
        return uncontended(round, "G1", || black_box(&turn)());
    }
    let sides = both(round, turn);
    contended(round, sides);
    assert_eq!(counted(), sides.iter().map(|side| side.all).sum::<u64>());
}

fn both(round: &Round, turn: impl Fn() + Sync) -> [Turns; 2] {
    let ready = Barrier::new(2);
    let contend = |side| {
        ready.wait();
        contend(round, side, &turn)
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| contend(Side::There));
        [contend(Side::Here), other.join().unwrap()]
    })
}

/// F9, F10, S3: `answer` is what the other thread does in a round trip.
pub(crate) fn round_trips(round: &Round, mut answer: impl FnMut() + Send, ask: impl FnMut()) {
    thread::scope(|scope| {
        scope.spawn(move || (0..round.trips()).for_each(|_| answer()));
        measure::round_trips(round, ask);
    });
}

fn barrier(round: &Round, parties: usize) {
    let barrier = Barrier::new(parties);
    thread::scope(|scope| {
        for _ in 1..parties {
            scope.spawn(|| {
                for _ in 0..round.trips() {
                    barrier.wait();
                }
            });
        }
        measure::round_trips(round, || _ = barrier.wait());
    });
}
