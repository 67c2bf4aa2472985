//! Threads in place of processes, for comparison: nothing is copied, and nothing is isolated.

mod locks;
mod pools;
mod queues;

use std::sync::{Arc, mpsc};
use std::thread;

use benches::{Block, Ping, Round, Sample, measure, message, sums};

/// How many messages a channel holds.
const BOUND: usize = 1024;

fn main() {
    let round = Round::from_args();
    match (round.work.as_str(), round.variant.as_str()) {
        ("E1", "mpsc") => {
            let (there_tx, rx) = mpsc::sync_channel::<Ping>(BOUND);
            let (tx, there_rx) = mpsc::sync_channel(BOUND);
            echo(there_rx, move |ping| there_tx.send(ping).unwrap());
            measure::round_trips(&round, || {
                tx.send(Ping::FIRST).unwrap();
                rx.recv().unwrap();
            });
        }
        ("E1", _) => {
            let (there_tx, rx) = crossbeam_channel::bounded::<Ping>(BOUND);
            let (tx, there_rx) = crossbeam_channel::bounded(BOUND);
            echo(there_rx, move |ping| there_tx.send(ping).unwrap());
            measure::round_trips(&round, || {
                tx.send(Ping::FIRST).unwrap();
                rx.recv().unwrap();
            });
        }
        ("E5", "mpsc") => {
            let (tx, rx) = mpsc::sync_channel(BOUND);
            one_way(&round, || tx.send(Sample::ONE).unwrap(), move || rx.recv().unwrap().look());
        }
        ("E5", _) => {
            let (tx, rx) = crossbeam_channel::bounded(BOUND);
            let receive = move || Sample::look(&rx.recv().unwrap());
            one_way(&round, || tx.send(Sample::ONE).unwrap(), receive);
        }
        (work, _) if work.starts_with('E') => {
            let bytes = message::bytes(round.message_len());
            let (tx, rx) = crossbeam_channel::bounded(BOUND);
            let receive = move || message::look(&Block::into_owned(rx.recv().unwrap()));
            one_way(&round, || tx.send(Block::from(bytes)).unwrap(), receive);
        }
        (work, _) if work.starts_with(['C', 'D']) => pools::run(&round),
        (work, _) if work.starts_with('F') => queues::run(&round),
        (work, _) if work.starts_with(['G', 'S']) => locks::run(&round),
        ("H1", _) => hand_over(&round),
        _ => {
            let start = || thread::spawn(|| std::hint::black_box(7));
            measure::starts(&round, start, |thread| assert_eq!(thread.join().unwrap(), 7));
        }
    }
}

fn echo(
    pings: impl IntoIterator<Item = Ping> + Send + 'static,
    back: impl FnMut(Ping) + Send + 'static,
) {
    thread::spawn(move || pings.into_iter().for_each(back));
}

fn one_way(round: &Round, send: impl FnMut(), receive: impl FnMut() -> u64 + Send + 'static) {
    let (seen_tx, seen) = mpsc::channel();
    let parts = round.parts();
    thread::spawn(move || {
        measure::receive_one_way(parts, receive, |sum| seen_tx.send(sum).unwrap());
    });
    measure::send_one_way(round, send, || seen.recv().unwrap());
}

/// H1: only a pointer is handed over.
fn hand_over(round: &Round) {
    let (tx, rx) = mpsc::channel::<Arc<Vec<f64>>>();
    let (sums_tx, sums_rx) = mpsc::channel();
    thread::spawn(move || rx.into_iter().try_for_each(|numbers| sums_tx.send(sums::sum(&numbers))));
    let numbers = Arc::new(sums::numbers());
    sums::hand_over(
        round,
        || (),
        |()| {
            tx.send(numbers.clone()).unwrap();
            (sums_rx.recv().unwrap(), ())
        },
    );
}
