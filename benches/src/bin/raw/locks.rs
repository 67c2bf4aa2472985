//! G, S: locks, and what waits for one another, in memory that forks share.

use std::cell::UnsafeCell;
use std::io::{self, Read, Write};

use benches::locks::{Side, Turns, contend, contended, uncontended};
use benches::{Round, measure};

use crate::pthread::{Monitor, PosixSemaphore, PthreadBarrier, ReadLock};
use crate::shared::shared;
use crate::{futex, helper, pthread, wait};

/// What is set up where it will stay.
pub(crate) trait Place: Sync + Sized + 'static {
    /// What to put there first.
    fn blank() -> Self;

    /// What to do with it there.
    fn set_up(&self) {}

    /// One that is shared with forks.
    fn shared() -> &'static Self {
        let place = shared(Self::blank());
        place.set_up();
        place
    }
}

pub(crate) trait Lock: Place {
    fn lock(&self);
    fn unlock(&self);
}

pub(crate) trait Semaphore: Place {
    fn set_to(&self, permits: u32);
    fn acquire(&self);
    fn release(&self);
}

pub(crate) trait Event: Place {
    fn set(&self);
    fn clear(&self);
    fn wait(&self);
}

pub(crate) trait Barrier: Place {
    fn set_for(&self, parties: u32);
    fn wait(&self);
}

pub(crate) fn run(round: &Round) {
    match (round.work.as_str(), round.variant.as_str()) {
        ("G1" | "G2", "pthread") => lock::<pthread::Mutex<false, false>>(round),
        ("G1" | "G2", "robust") => lock::<pthread::Mutex<true, false>>(round),
        ("G1" | "G2", "futex") => lock::<futex::Mutex>(round),
        ("G3" | "G4", "sem") => semaphore::<PosixSemaphore>(round),
        ("G3" | "G4", "futex") => semaphore::<futex::Permits>(round),
        ("G5", _) => {
            let lock = ReadLock::shared();
            uncontended(round, "G5", || {
                lock.lock();
                lock.unlock();
            });
        }
        ("G6", "pthread") => reentrant::<pthread::Mutex<false, true>>(round),
        ("G6", _) => reentrant::<pthread::Mutex<true, true>>(round),
        ("S1", "sem") => semaphores::<PosixSemaphore>(round),
        ("S1", _) => semaphores::<futex::Permits>(round),
        ("S2", _) => events::<futex::Flag>(round),
        ("S3", "pthread") => monitor::<false>(round),
        ("S3", _) => monitor::<true>(round),
        ("S4", variant) => barrier(round, variant, 2),
        (_, variant) => barrier(round, variant, 4),
    }
}

/// A lock, and what it guards.
struct Guarded<L> {
    lock: L,
    turns: UnsafeCell<u64>,
}

// SAFETY: only who has the lock looks at `turns`.
unsafe impl<L: Sync> Sync for Guarded<L> {}

impl<L: Lock> Place for Guarded<L> {
    fn blank() -> Self {
        Self { lock: L::blank(), turns: 0.into() }
    }

    fn set_up(&self) {
        self.lock.set_up();
    }
}

impl<L: Lock> Guarded<L> {
    fn count_one(&self) {
        self.lock.lock();
        // SAFETY: we have the lock.
        unsafe { *self.turns.get() += 1 };
        self.lock.unlock();
    }
}

/// G1, G2
fn lock<L: Lock>(round: &Round) {
    let guarded = Guarded::<L>::shared();
    if round.work == "G1" {
        uncontended(round, "G1", || guarded.count_one());
        return;
    }
    let sides = both(round, || guarded.count_one());
    // SAFETY: the other process is gone.
    let counted = unsafe { *guarded.turns.get() };
    assert_eq!(counted, sides.iter().map(|side| side.all).sum::<u64>());
}

/// G3, G4
fn semaphore<S: Semaphore>(round: &Round) {
    let semaphore = S::shared();
    semaphore.set_to(1);
    let turn = || {
        semaphore.acquire();
        semaphore.release();
    };
    match round.work.as_str() {
        "G3" => uncontended(round, "G3", turn),
        _ => _ = both(round, turn),
    }
}

/// G6
fn reentrant<L: Lock>(round: &Round) {
    let guarded = Guarded::<L>::shared();
    uncontended(round, "G6", || guarded.count_one());
    guarded.lock.lock();
    uncontended(round, "again", || guarded.count_one());
}

/// G2, G4: this process and another one.
fn both(round: &Round, turn: impl Fn()) -> [Turns; 2] {
    let (mut ready, mut ready_there) = io::pipe().unwrap();
    let (mut go_there, mut go) = io::pipe().unwrap();
    let (mut turns, mut turns_there) = io::pipe().unwrap();
    let turn = &turn;
    let child = helper(move || {
        ready_there.write_all(&[1]).unwrap();
        go_there.read_exact(&mut [0]).unwrap();
        turns_there.write_all(&contend(round, Side::There, turn).to_bytes()).unwrap();
    });
    ready.read_exact(&mut [0]).unwrap();
    go.write_all(&[1]).unwrap();
    let own = contend(round, Side::Here, turn);
    let mut bytes = [0; 16];
    turns.read_exact(&mut bytes).unwrap();
    wait(child);
    let sides = [own, Turns::from_bytes(bytes)];
    contended(round, sides);
    sides
}

/// S: `here` is what this process does in a round trip, `there` what the other one does.
fn round_trips(round: &Round, here: impl FnMut(), mut there: impl FnMut()) {
    let child = helper(|| (0..round.trips()).for_each(|_| there()));
    measure::round_trips(round, here);
    wait(child);
}

fn semaphores<S: Semaphore>(round: &Round) {
    let (ping, pong) = (S::shared(), S::shared());
    ping.set_to(0);
    pong.set_to(0);
    let here = || {
        ping.release();
        pong.acquire();
    };
    let there = || {
        ping.acquire();
        pong.release();
    };
    round_trips(round, here, there);
}

fn events<E: Event>(round: &Round) {
    let (ping, pong) = (E::shared(), E::shared());
    let here = || {
        ping.set();
        pong.wait();
        pong.clear();
    };
    let there = || {
        ping.wait();
        ping.clear();
        pong.set();
    };
    round_trips(round, here, there);
}

fn monitor<const ROBUST: bool>(round: &Round) {
    let monitor = Monitor::<ROBUST>::shared();
    round_trips(round, || monitor.ask(), || monitor.answer());
}

fn barrier(round: &Round, variant: &str, parties: u32) {
    match variant {
        "pthread" => barrier_of::<PthreadBarrier>(round, parties),
        _ => barrier_of::<futex::Gate>(round, parties),
    }
}

fn barrier_of<B: Barrier>(round: &Round, parties: u32) {
    let barrier = B::shared();
    barrier.set_for(parties);
    let others: Vec<_> =
        (1..parties).map(|_| helper(|| (0..round.trips()).for_each(|_| barrier.wait()))).collect();
    measure::round_trips(round, || barrier.wait());
    others.into_iter().for_each(wait);
}
