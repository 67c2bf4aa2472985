//! F: queues.

use benches::locks::uncontended;
use benches::queues::{self, BATCH, BOUND, NUMBERS, SAMPLES};
use benches::{Block, Bytes, Round, Sample, measure, message};
use offspring::sync::Barrier;
use offspring::{Queue, Sender, process};
use serde::{Deserialize, Serialize};

pub(crate) fn run(round: &Round) -> offspring::Result<()> {
    match round.work.as_str() {
        "F4" => flow(round, Items::Samples(Queue::bounded(BOUND)?)),
        "F5" | "F6" | "F7" => flow(round, Items::Blocks(Queue::bounded(BOUND)?)),
        "F5b" | "F6b" | "F7b" => flow(round, Items::Bytes(Queue::bounded(BOUND)?)),
        "F8" => flow(round, Items::Batches(Queue::bounded(BOUND)?)),
        "F9" | "F10" => round_trips(round),
        "F11" => alone(round),
        _ => flow(round, Items::Numbers(Queue::bounded(BOUND)?)),
    }
}

/// What goes through the queue.
#[derive(Clone, Serialize, Deserialize)]
enum Items {
    Numbers(Queue<u64>),
    Batches(Queue<u64>),
    Samples(Queue<Sample>),
    Blocks(Queue<Block>),
    Bytes(Queue<Bytes>),
}

impl Items {
    /// What one producer does.
    fn producer(&self, round: &Round) -> Box<dyn FnMut(usize) + '_> {
        match self {
            Self::Numbers(queue) => {
                Box::new(|share| queues::produce(&NUMBERS, share, |item| queue.put(item).unwrap()))
            }
            Self::Batches(queue) => Box::new(|share| {
                queues::produce_batches(&NUMBERS, share, |items| queue.put_many(items).unwrap());
            }),
            Self::Samples(queue) => {
                Box::new(|share| queues::produce(&SAMPLES, share, |item| queue.put(item).unwrap()))
            }
            Self::Blocks(queue) => {
                let blocks = queues::blocks(round);
                let put = |item| queue.put(item).unwrap();
                Box::new(move |share| queues::produce(&blocks, share, put))
            }
            Self::Bytes(queue) => {
                let bytes = queues::bytes(round);
                let put = |item| queue.put(item).unwrap();
                Box::new(move |share| queues::produce(&bytes, share, put))
            }
        }
    }

    fn consume(&self, begin: impl FnMut(), acknowledge: impl FnMut(u64)) {
        match self {
            Self::Numbers(queue) => queues::consume(begin, || queue.get().unwrap(), acknowledge),
            Self::Batches(queue) => {
                let mut batch = Vec::new().into_iter();
                let get = || loop {
                    match batch.next() {
                        Some(item) => break item,
                        None => batch = queue.get_many(BATCH).unwrap().into_iter(),
                    }
                };
                queues::consume(begin, get, acknowledge);
            }
            Self::Samples(queue) => {
                queues::consume(begin, || queue.get().unwrap().look(), acknowledge);
            }
            Self::Blocks(queue) => {
                queues::consume(begin, || message::look(&queue.get().unwrap()), acknowledge);
            }
            Self::Bytes(queue) => {
                queues::consume(begin, || message::look(&queue.get().unwrap().0), acknowledge);
            }
        }
    }
}

#[process]
fn produce(round: Round, items: Items, begin: Barrier) {
    queues::produce_beside(&round, || _ = begin.wait().unwrap(), items.producer(&round));
}

#[process]
fn consume(items: Items, begin: Barrier, seen: Sender<u64>) {
    items.consume(|| _ = begin.wait().unwrap(), |sum| seen.send(sum).unwrap());
}

/// F1 to F8
fn flow(round: &Round, items: Items) -> offspring::Result<()> {
    let sides = queues::sides(round);
    let begin = Barrier::new(2 * sides)?;
    let (seen_tx, seen) = offspring::pipe()?;
    let mut children = Vec::new();
    for _ in 0..sides {
        children.push(consume(items.clone(), begin.clone(), seen_tx.clone()).spawn()?);
    }
    for _ in 1..sides {
        children.push(produce(round.clone(), items.clone(), begin.clone()).spawn()?);
    }
    drop(seen_tx);
    let wait = || _ = begin.wait().unwrap();
    queues::flow(round, wait, items.producer(round), || seen.recv().unwrap());
    children.into_iter().for_each(|child| child.join().unwrap());
    Ok(())
}

#[process]
fn answer(trips: usize, questions: Queue<u64>, answers: Queue<u64>) {
    (0..trips).for_each(|_| answers.put(questions.get().unwrap()).unwrap());
}

/// F9, F10
fn round_trips(round: &Round) -> offspring::Result<()> {
    let (questions, answers) = (Queue::bounded(BOUND)?, Queue::bounded(BOUND)?);
    let child = answer(round.trips(), questions.clone(), answers.clone()).spawn()?;
    measure::round_trips(round, || {
        questions.put(1).unwrap();
        assert_eq!(answers.get().unwrap(), 1);
    });
    child.join().unwrap();
    Ok(())
}

/// F11
fn alone(round: &Round) -> offspring::Result<()> {
    let queue = Queue::bounded(BOUND)?;
    uncontended(round, "F11", || {
        queue.put(1_u64).unwrap();
        assert_eq!(queue.get().unwrap(), 1);
    });
    Ok(())
}
