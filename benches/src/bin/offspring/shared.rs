//! M, H1: shared memory that is made and mapped, and a large slice in it.

use std::time::Instant;

use benches::{Round, figure, measure, sums};
use offspring::shm::{SharedMut, SharedSlice};
use offspring::sync::Mutex;
use offspring::{Duplex, Receiver, Sender, process};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A small segment: a page.
const SEGMENT: usize = 4096;

pub(crate) fn run(round: &Round) -> offspring::Result<()> {
    match (round.work.as_str(), round.variant.as_str()) {
        ("M1", _) => make(round),
        ("M2" | "M2s", _) => {
            let (mutexes, there) = offspring::pipe()?;
            hand_over(
                round,
                "mutex",
                mutexes,
                || Mutex::new(0),
                |words| map_mutexes(round.clone(), there, words).spawn(),
            )?;
            let (segments, there) = offspring::pipe()?;
            let segment = || SharedSlice::from_slice(&[1u8; SEGMENT]);
            hand_over(round, "segment", segments, segment, |words| {
                map_segments(round.clone(), there, words).spawn()
            })
        }
        (_, "copied") => {
            let numbers = sums::numbers();
            sum_shared_there(round, || (), |()| SharedSlice::from_slice(&numbers).unwrap())
        }
        (_, "born") => sum_shared_there(round, filled, |numbers| numbers.freeze().unwrap()),
        (_, "moved") => sum_moved_there(round),
        _ => sum_vecs_there(round),
    }
}

/// All numbers, in shared memory that this process alone has.
pub(crate) fn filled() -> SharedMut<f64> {
    let mut numbers = SharedMut::zeroed(sums::LEN).unwrap();
    let places = numbers.as_mut_slice().iter_mut().enumerate();
    places.for_each(|(index, place)| *place = sums::number(index));
    numbers
}

/// M1
fn make(round: &Round) -> offspring::Result<()> {
    let mutex = || drop(Mutex::new(0u64).unwrap());
    figure("mutex", measure::repeated(round, mutex), "us");
    let segment = || SharedMut::<u8>::zeroed(SEGMENT).unwrap().as_mut_slice()[0] = 1;
    figure("segment", measure::repeated(round, segment), "us");
    Ok(())
}

#[process]
fn map_mutexes(round: Round, mutexes: Receiver<Mutex<u64>>, words: Duplex<(), ()>) -> f64 {
    map(&round, mutexes, words, |mutex| *mutex.lock().unwrap() += 1)
}

#[process]
fn map_segments(round: Round, segments: Receiver<SharedSlice<u8>>, words: Duplex<(), ()>) -> f64 {
    map(&round, segments, words, |segment| assert_eq!(segment[0], 1))
}

/// How long it takes to receive a handle that is there already, and to use it: the median.
fn map<H: DeserializeOwned>(
    round: &Round,
    handles: Receiver<H>,
    words: Duplex<(), ()>,
    first_use: impl Fn(&H),
) -> f64 {
    let mut kept = None;
    measure::repeated_timed(round, || {
        words.recv().unwrap();
        let begin = Instant::now();
        let handle = handles.recv().unwrap();
        first_use(&handle);
        let time = begin.elapsed();
        if round.work == "M2s" {
            kept.get_or_insert(handle);
        }
        words.send(()).unwrap();
        time
    })
}

/// M2: new objects, made by `make`; M2s: the same one again and again.
fn hand_over<H: Clone + Serialize>(
    round: &Round,
    name: &str,
    handles: Sender<H>,
    make: impl Fn() -> offspring::Result<H>,
    start: impl FnOnce(Duplex<(), ()>) -> offspring::Result<offspring::Child<f64>>,
) -> offspring::Result<()> {
    let (words, there) = offspring::duplex()?;
    let child = start(there)?;
    let same = make()?;
    for _ in 0..round.trips() {
        let handle = if round.work == "M2s" { same.clone() } else { make()? };
        handles.send(handle).unwrap();
        words.send(()).unwrap();
        words.recv().unwrap();
    }
    figure(name, child.join().unwrap(), "us");
    Ok(())
}

#[process]
fn sum_shared(numbers: Receiver<SharedSlice<f64>>, sums: Sender<f64>) {
    while let Ok(numbers) = numbers.recv() {
        sums.send(sums::sum(&numbers)).unwrap();
    }
}

/// H1: what `give` makes of what was prepared is handed over.
fn sum_shared_there<P>(
    round: &Round,
    prepare: impl FnMut() -> P,
    mut give: impl FnMut(P) -> SharedSlice<f64>,
) -> offspring::Result<()> {
    let (tx, rx) = offspring::pipe()?;
    let (sums_tx, sums) = offspring::pipe()?;
    let child = sum_shared(rx, sums_tx).spawn()?;
    sums::hand_over(round, prepare, |prepared| {
        let numbers = give(prepared);
        tx.send(numbers.clone()).unwrap();
        (sums.recv().unwrap(), numbers)
    });
    drop(tx);
    child.join().unwrap();
    Ok(())
}

#[process]
fn sum_moved(numbers: Receiver<SharedMut<f64>>, sums: Sender<f64>) {
    while let Ok(mut numbers) = numbers.recv() {
        sums.send(sums::sum(numbers.as_mut_slice())).unwrap();
    }
}

/// H1: the other process has them then, and this one has not.
fn sum_moved_there(round: &Round) -> offspring::Result<()> {
    let (tx, rx) = offspring::pipe()?;
    let (sums_tx, sums) = offspring::pipe()?;
    let child = sum_moved(rx, sums_tx).spawn()?;
    sums::hand_over(round, filled, |numbers| {
        tx.send(numbers).unwrap();
        (sums.recv().unwrap(), ())
    });
    drop(tx);
    child.join().unwrap();
    Ok(())
}

#[process]
fn sum_vecs(numbers: Receiver<Vec<f64>>, sums: Sender<f64>) {
    while let Ok(numbers) = numbers.recv() {
        sums.send(sums::sum(&numbers)).unwrap();
    }
}

/// H1: private numbers are serialised.
fn sum_vecs_there(round: &Round) -> offspring::Result<()> {
    let (tx, rx) = offspring::pipe()?;
    let (sums_tx, sums) = offspring::pipe()?;
    let child = sum_vecs(rx, sums_tx).spawn()?;
    // What is sent is taken.
    sums::hand_over(round, sums::numbers, |numbers| {
        tx.send(numbers).unwrap();
        (sums.recv().unwrap(), ())
    });
    drop(tx);
    child.join().unwrap();
    Ok(())
}
