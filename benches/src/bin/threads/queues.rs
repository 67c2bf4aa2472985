//! F: the channels of std and of crossbeam.

use std::sync::{Barrier, mpsc};
use std::thread;

use benches::locks::uncontended;
use benches::queues::{self, BOUND, NUMBERS, SAMPLES, Supply};
use benches::{Round, Sample};

use crate::locks::round_trips;

pub(crate) fn run(round: &Round) {
    match (round.work.as_str(), round.variant.as_str()) {
        ("F4", "mpsc") => {
            let (tx, rx) = mpsc::sync_channel(BOUND);
            let get = move || Sample::look(&rx.recv().unwrap());
            flow(round, &SAMPLES, vec![(move |item| tx.send(item).unwrap(), get)]);
        }
        ("F4", _) => {
            let (tx, rx) = crossbeam_channel::bounded(BOUND);
            let get = move || Sample::look(&rx.recv().unwrap());
            flow(round, &SAMPLES, vec![(move |item| tx.send(item).unwrap(), get)]);
        }
        ("F9" | "F10", "mpsc") => {
            let ((tx, there_rx), (there_tx, rx)) =
                (mpsc::sync_channel(BOUND), mpsc::sync_channel(BOUND));
            let answer = move || there_tx.send(there_rx.recv().unwrap()).unwrap();
            round_trips(round, answer, || {
                tx.send(NUMBERS[0]).unwrap();
                rx.recv().unwrap();
            });
        }
        ("F9" | "F10", _) => {
            let ((tx, there_rx), (there_tx, rx)) =
                (crossbeam_channel::bounded(BOUND), crossbeam_channel::bounded(BOUND));
            let answer = move || there_tx.send(there_rx.recv().unwrap()).unwrap();
            round_trips(round, answer, || {
                tx.send(NUMBERS[0]).unwrap();
                rx.recv().unwrap();
            });
        }
        ("F11", "mpsc") => {
            let (tx, rx) = mpsc::sync_channel(BOUND);
            uncontended(round, "F11", || {
                tx.send(NUMBERS[0]).unwrap();
                assert_eq!(rx.recv().unwrap(), NUMBERS[0]);
            });
        }
        ("F11", _) => {
            let (tx, rx) = crossbeam_channel::bounded(BOUND);
            uncontended(round, "F11", || {
                tx.send(NUMBERS[0]).unwrap();
                assert_eq!(rx.recv().unwrap(), NUMBERS[0]);
            });
        }
        (_, "mpsc") => {
            let (tx, rx) = mpsc::sync_channel(BOUND);
            let get = move || rx.recv().unwrap();
            flow(round, &NUMBERS, vec![(move |item| tx.send(item).unwrap(), get)]);
        }
        _ => {
            let (tx, rx) = crossbeam_channel::bounded(BOUND);
            let side = |_| {
                let (tx, rx) = (tx.clone(), rx.clone());
                (move |item| tx.send(item).unwrap(), move || rx.recv().unwrap())
            };
            flow(round, &NUMBERS, (0..queues::sides(round)).map(side).collect());
        }
    }
}

/// F1 to F8: what the producers put with, and what the consumers get with.
fn flow<T, P, G>(round: &Round, supply: &Supply<T>, sides: Vec<(P, G)>)
where
    T: Clone + Sync,
    P: FnMut(T) + Send,
    G: FnMut() -> u64 + Send,
{
    let barrier = Barrier::new(2 * sides.len());
    let begin = || _ = barrier.wait();
    let (seen_tx, seen) = mpsc::channel();
    thread::scope(|scope| {
        let mut puts = Vec::new();
        for (put, get) in sides {
            let seen_tx = seen_tx.clone();
            scope.spawn(move || queues::consume(begin, get, |sum| seen_tx.send(sum).unwrap()));
            puts.push(put);
        }
        let produce = |mut put: P| move |share| queues::produce(supply, share, &mut put);
        let first = puts.swap_remove(0);
        for put in puts {
            scope.spawn(move || queues::produce_beside(round, begin, produce(put)));
        }
        queues::flow(round, begin, produce(first), || seen.recv().unwrap());
    });
}
