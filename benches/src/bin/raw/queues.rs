//! F: a pipe that takes messages of one length, and a ring in shared memory.

use std::io::{self, PipeReader, PipeWriter, Read, Write};

use benches::locks::uncontended;
use benches::queues::{self, BATCH, NUMBERS, SAMPLES};
use benches::{Round, measure, message};

use crate::locks::{Barrier, Place};
use crate::rings::ring;
use crate::{futex, helper, wait};

pub(crate) fn run(round: &Round) {
    match (round.work.as_str(), round.variant.as_str()) {
        ("F1", "ring") => {
            let (tx, rx) = ring();
            let produce = |share| queues::produce(&NUMBERS, share, |item| tx.put(item));
            flow(round, produce, || rx.get());
        }
        ("F4", "ring") => {
            let (tx, rx) = ring();
            let produce = |share| queues::produce(&SAMPLES, share, |item| tx.put(item));
            flow(round, produce, || rx.get().look());
        }
        ("F9" | "F10", "ring") => {
            let ((tx, there_rx), (there_tx, rx)) = (ring::<u64>(), ring());
            let answer = || there_tx.put(there_rx.get());
            round_trips(round, answer, || {
                tx.put(NUMBERS[0]);
                assert_eq!(rx.get(), NUMBERS[0]);
            });
        }
        (_, "ring") => {
            let (tx, rx) = ring();
            uncontended(round, "F11", || {
                tx.put(NUMBERS[0]);
                assert_eq!(rx.get(), NUMBERS[0]);
            });
        }
        ("F8", _) => batches(round),
        ("F9" | "F10", _) => {
            let ((there_rx, tx), (rx, there_tx)) = (io::pipe().unwrap(), io::pipe().unwrap());
            round_trips(round, || put(&there_tx, &get(&there_rx)), || ask(&tx, &rx));
        }
        ("F11", _) => {
            let (rx, tx) = io::pipe().unwrap();
            uncontended(round, "F11", || ask(&tx, &rx));
        }
        _ => {
            let (mut rx, mut tx) = io::pipe().unwrap();
            let messages = queues::messages(round);
            let mut buffer = vec![0; round.message_len()];
            let mut put = |message: &[u8]| tx.write_all(message).unwrap();
            let get = || {
                rx.read_exact(&mut buffer).unwrap();
                message::look(&buffer)
            };
            flow(round, |share| queues::produce(&messages, share, &mut put), get);
        }
    }
}

/// A number, as it goes through a pipe.
type Number = [u8; 8];

fn put(mut pipe: &PipeWriter, number: &Number) {
    pipe.write_all(number).unwrap();
}

fn get(mut pipe: &PipeReader) -> Number {
    let mut number = [0; 8];
    pipe.read_exact(&mut number).unwrap();
    number
}

/// Puts a number, and gets it.
fn ask(tx: &PipeWriter, rx: &PipeReader) {
    let number = NUMBERS[0].to_ne_bytes();
    put(tx, &number);
    assert_eq!(get(rx), number);
}

/// F8: as many bytes at once as the numbers of a batch have. A pipe never tears what is so short.
fn batches(round: &Round) {
    let (mut rx, mut tx) = io::pipe().unwrap();
    let produce = |share| {
        queues::produce_batches(&NUMBERS, share, |numbers| {
            let batch: Vec<u8> = numbers.flat_map(u64::to_ne_bytes).collect();
            tx.write_all(&batch).unwrap();
        });
    };
    let mut batch = [0; BATCH * size_of::<Number>()];
    let (mut from, mut len) = (0, 0);
    let get = || {
        if from == len {
            (from, len) = (0, rx.read(&mut batch).unwrap());
        }
        let number = batch[from..].first_chunk().unwrap();
        from += number.len();
        u64::from_ne_bytes(*number)
    };
    flow(round, produce, get);
}

/// F1 to F8: each process does what it does of these.
fn flow(round: &Round, mut produce: impl FnMut(usize), mut get: impl FnMut() -> u64) {
    let (mut seen, mut seen_there) = io::pipe().unwrap();
    let sides = queues::sides(round);
    let barrier = futex::Gate::shared();
    barrier.set_for(2 * sides as u32);
    let begin = || barrier.wait();
    let mut children = Vec::new();
    for _ in 0..sides {
        let acknowledge = |sum: u64| seen_there.write_all(&sum.to_ne_bytes()).unwrap();
        children.push(helper(|| queues::consume(begin, &mut get, acknowledge)));
    }
    for _ in 1..sides {
        children.push(helper(|| queues::produce_beside(round, begin, &mut produce)));
    }
    let acknowledged = || {
        let mut sum = [0; 8];
        seen.read_exact(&mut sum).unwrap();
        u64::from_ne_bytes(sum)
    };
    queues::flow(round, begin, produce, acknowledged);
    children.into_iter().for_each(wait);
}

/// F9, F10: `answer` is what the other process does in a round trip.
fn round_trips(round: &Round, mut answer: impl FnMut(), ask: impl FnMut()) {
    let child = helper(|| (0..round.trips()).for_each(|_| answer()));
    measure::round_trips(round, ask);
    wait(child);
}
