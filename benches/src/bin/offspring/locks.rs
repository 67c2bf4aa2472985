//! G, S: locks, and what waits for one another.

use std::hint::black_box;

use benches::locks::{Side, Turns, contend, contended, uncontended};
use benches::{Round, measure};
use offspring::sync::{Barrier, Condvar, Event, Mutex, ReentrantLock, RwLock, Semaphore};
use offspring::{Duplex, process};
use serde::{Deserialize, Serialize};

pub(crate) fn run(round: &Round) -> offspring::Result<()> {
    match round.work.as_str() {
        "G1" => {
            let mutex = Mutex::new(0u64)?;
            uncontended(round, "G1", || *mutex.lock().unwrap() += 1);
        }
        "G2" => {
            let mutex = Mutex::new(0)?;
            let sides = both(round, Contended::Mutex(mutex.clone()))?;
            assert_eq!(*mutex.lock().unwrap(), sides.iter().map(|side| side.all).sum::<u64>());
        }
        "G3" => {
            let semaphore = Semaphore::new(1)?;
            uncontended(round, "G3", || drop(semaphore.acquire().unwrap()));
        }
        "G4" => _ = both(round, Contended::Semaphore(Semaphore::new(1)?))?,
        "G5" => {
            let lock = RwLock::new(0u64)?;
            uncontended(round, "G5", || _ = black_box(*lock.read().unwrap()));
        }
        "G6" => {
            let lock = ReentrantLock::new(0u64)?;
            let turn = || _ = black_box(*lock.lock().unwrap());
            uncontended(round, "G6", turn);
            let _held = lock.lock().unwrap();
            uncontended(round, "again", turn);
        }
        "S1" => meet(round, 2, Meeting::Semaphores(Semaphore::new(0)?, Semaphore::new(0)?))?,
        "S2" => meet(round, 2, Meeting::Events(Event::new()?, Event::new()?))?,
        "S3" => meet(round, 2, Meeting::Condvar(Mutex::new(false)?, Condvar::new()?))?,
        "S4" => meet(round, 2, Meeting::Barrier(Barrier::new(2)?))?,
        _ => meet(round, 4, Meeting::Barrier(Barrier::new(4)?))?,
    }
    Ok(())
}

/// What two processes want at once.
#[derive(Clone, Serialize, Deserialize)]
enum Contended {
    Mutex(Mutex<u64>),
    Semaphore(Semaphore),
}

impl Contended {
    fn contend(&self, round: &Round, side: Side) -> Turns {
        match self {
            Self::Mutex(mutex) => contend(round, side, || *mutex.lock().unwrap() += 1),
            Self::Semaphore(semaphore) => {
                contend(round, side, || drop(semaphore.acquire().unwrap()))
            }
        }
    }
}

#[process]
fn contend_there(round: Round, what: Contended, pipe: Duplex<Option<Turns>, ()>) {
    pipe.send(None).unwrap();
    pipe.recv().unwrap();
    pipe.send(Some(what.contend(&round, Side::There))).unwrap();
}

/// This process and another one.
fn both(round: &Round, what: Contended) -> offspring::Result<[Turns; 2]> {
    let (here, there) = offspring::duplex()?;
    let child = contend_there(round.clone(), what.clone(), there).spawn()?;
    assert_eq!(here.recv().unwrap(), None);
    here.send(()).unwrap();
    let own = what.contend(round, Side::Here);
    let sides = [own, here.recv().unwrap().unwrap()];
    child.join().unwrap();
    contended(round, sides);
    Ok(sides)
}

/// What processes wait for one another with.
#[derive(Clone, Serialize, Deserialize)]
enum Meeting {
    Semaphores(Semaphore, Semaphore),
    Events(Event, Event),
    /// Whether something was asked that is not answered.
    Condvar(Mutex<bool>, Condvar),
    Barrier(Barrier),
}

impl Meeting {
    /// What the first process does in a round trip.
    fn ask(&self) {
        match self {
            Self::Semaphores(ping, pong) => {
                ping.release(1).unwrap();
                pong.acquire().unwrap().forget();
            }
            Self::Events(ping, pong) => {
                ping.set();
                pong.wait();
                pong.clear();
            }
            Self::Condvar(mutex, condvar) => {
                let mut asked = mutex.lock().unwrap();
                *asked = true;
                condvar.notify_one();
                drop(condvar.wait_while(asked, |asked| *asked).unwrap());
            }
            Self::Barrier(barrier) => _ = barrier.wait().unwrap(),
        }
    }

    /// What the other ones do.
    fn answer(&self) {
        match self {
            Self::Semaphores(ping, pong) => {
                ping.acquire().unwrap().forget();
                pong.release(1).unwrap();
            }
            Self::Events(ping, pong) => {
                ping.wait();
                ping.clear();
                pong.set();
            }
            Self::Condvar(mutex, condvar) => {
                let asked = mutex.lock().unwrap();
                let mut asked = condvar.wait_while(asked, |asked| !*asked).unwrap();
                *asked = false;
                condvar.notify_one();
            }
            Self::Barrier(barrier) => _ = barrier.wait().unwrap(),
        }
    }
}

#[process]
fn answer(trips: usize, meeting: Meeting) {
    (0..trips).for_each(|_| meeting.answer());
}

fn meet(round: &Round, parties: usize, meeting: Meeting) -> offspring::Result<()> {
    let others = (1..parties)
        .map(|_| answer(round.trips(), meeting.clone()).spawn())
        .collect::<Result<Vec<_>, _>>()?;
    measure::round_trips(round, || meeting.ask());
    others.into_iter().for_each(|child| child.join().unwrap());
    Ok(())
}
