//! Producers and consumers of a queue are killed at random moments and replaced. Whatever they were
//! doing: each item that was put arrives, once, whole and in order, but for what was in the hands of
//! the dead: one item each; and nobody waits for them.
//!
//! `OFFSPRING_STORM_SEED` repeats the order of a storm, as far as the machine allows;
//! `OFFSPRING_SOAK=1` has ten million items go through each.

#[path = "storm_queue/books.rs"]
mod books;
#[path = "storm_queue/each_instruction.rs"]
mod each_instruction;
#[path = "storm_queue/item.rs"]
mod item;

use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

use books::{Audit, Books, PARENT};
use item::Item;
use offspring::queue::{GetTimeoutError, PutTimeoutError, TryGetError, TryPutError};
use offspring::{Queue, process};
use tests::storm::{Job, Random, Storm};
use tests::{each_start_method, process_tree};

/// Of producers, and of consumers.
const WIDTH: usize = 4;
/// How many are put between two audits.
const ROUND: u64 = 100_000;
/// How many are killed between two audits.
const KILLS: usize = 170;
/// How many are put between two kills, on average, and beside those put while processes start.
const BETWEEN: u64 = 500;
/// So long that something must have come about within it.
const AMPLE: Duration = Duration::from_secs(60);
/// The producer of what tells a consumer to end.
const STOP: u64 = u64::MAX;

fn rounds() -> u64 {
    if tests::soak() { 100 } else { 3 }
}

/// As short as a wait can be that is one.
fn moment(random: &Random) -> Duration {
    Duration::from_micros(random.below(100))
}

/// Puts it, in whatever way, however long it takes.
fn put(queue: &Queue<Item>, mut item: Item, random: &Random) {
    loop {
        item = match random.below(4) {
            0 => match queue.try_put(item) {
                Err(TryPutError::Full(item)) => item,
                other => return other.unwrap(),
            },
            1 => match queue.put_timeout(item, moment(random)) {
                Err(PutTimeoutError::Timeout(item)) => item,
                other => return other.unwrap(),
            },
            _ => return queue.put(item).unwrap(),
        }
    }
}

/// Gets at least one, in whatever way, and no more than `batch`.
fn get(queue: &Queue<Item>, batch: u64, random: &Random) -> Vec<Item> {
    loop {
        match random.below(8) {
            0 => match queue.try_get() {
                Err(TryGetError::Empty) => {}
                other => return vec![other.unwrap()],
            },
            1 => match queue.get_timeout(moment(random)) {
                Err(GetTimeoutError::Timeout) => {}
                other => return vec![other.unwrap()],
            },
            2 => drop(offspring::wait(&[queue]).unwrap()),
            _ if batch > 1 => return queue.get_many(batch as usize).unwrap(),
            _ => return vec![queue.get().unwrap()],
        }
    }
}

#[process]
fn keep_putting(job: Job, queue: Queue<Item>, books: Books, batch: u64) {
    let random = job.begin();
    let mut number = 0;
    while !books.is_stopped() {
        if batch > 1 && random.one_in(2) {
            let from = number + 1;
            number += 1 + random.below(batch);
            queue.put_many((from..=number).map(|n| Item::of_storm(job.serial, n))).unwrap();
        } else {
            number += 1;
            put(&queue, Item::of_storm(job.serial, number), &random);
        }
        books.has_put(job.serial, number);
    }
}

#[process]
fn keep_getting(job: Job, queue: Queue<Item>, books: Books, batch: u64) {
    let random = job.begin();
    let mut last = HashMap::new();
    loop {
        let mut stops = 0;
        for item in get(&queue, batch, &random) {
            if item.producer == STOP {
                stops += 1;
                continue;
            }
            item.check_of_storm();
            let before = last.insert(item.producer, item.number);
            assert!(before < Some(item.number), "{before:?} before {item:?}");
            books.has_got(&item);
        }
        if stops > 0 {
            // One is its own.
            (1..stops).for_each(|_| put(&queue, Item::new(STOP, 0, 0, false), &random));
            return;
        }
    }
}

/// A queue in a storm.
struct Sea {
    queue: Queue<Item>,
    books: Books,
    batch: u64,
    producers: Storm,
    consumers: Storm,
}

impl Sea {
    fn new(queue: Queue<Item>, batch: u64) -> offspring::Result<Self> {
        let producers = Storm::new();
        let consumers = producers.another();
        let books = Books::new(8 * ROUND as usize)?;
        Ok(Self { queue, books, batch, producers, consumers })
    }

    fn fill(&mut self) {
        let Self { queue, books, batch, producers, consumers } = self;
        producers
            .fill(WIDTH, |job| keep_putting(job, queue.clone(), books.clone(), *batch).spawn());
        consumers
            .fill(WIDTH, |job| keep_getting(job, queue.clone(), books.clone(), *batch).spawn());
    }

    /// Has it rage until so many more were put, and so many killed.
    fn rage(&mut self, items: u64, kills: usize) {
        let (items, kills) = (self.books.total() + items, self.killed() + kills);
        while self.books.total() < items || self.killed() < kills {
            self.fill();
            self.await_total(self.books.total() + self.producers.random.below(2 * BETWEEN));
            let random = &self.producers.random;
            let some = 1 + random.below(WIDTH as u64) as usize;
            match random.below(8) {
                0 => {
                    self.producers.kill_all();
                    self.consumers.kill_all();
                    self.is_sound();
                }
                1 => {
                    self.producers.kill(some);
                    self.consumers.kill(some);
                }
                2 | 3 => self.producers.kill_all(),
                4 => self.producers.kill(some),
                5 | 6 => self.consumers.kill_all(),
                _ => self.consumers.kill(some),
            }
        }
        self.fill();
    }

    fn killed(&self) -> usize {
        self.producers.dead.len() + self.consumers.dead.len()
    }

    /// Waits until so many were put. If nothing goes on, it says how things are.
    fn await_total(&self, goal: u64) {
        let mut last = (self.books.total(), Instant::now());
        while last.0 < goal {
            self.producers.random.dawdle();
            let now = self.books.total();
            if now != last.0 {
                last = (now, Instant::now());
            }
            let tree = || process_tree(std::process::id(), None);
            assert!(last.1.elapsed() < AMPLE, "nothing goes on: {:?}\n{}", self.queue, tree());
        }
    }

    /// Everybody was killed at once, and the only one who is left puts and gets without waiting.
    fn is_sound(&self) {
        let random = &self.consumers.random;
        let drained = random.one_in(2);
        let mut left = if drained { u64::MAX } else { random.below(5) };
        while left > 0 {
            match self.queue.try_get() {
                Ok(item) => self.has_got(&item),
                Err(TryGetError::Empty) => break,
                Err(other) => panic!("{other}"),
            }
            left -= 1;
        }
        assert!(left == 0 || self.queue.is_empty(), "{:?}", self.queue);
        let number = self.books.put_by(PARENT) + 1;
        match self.queue.try_put(Item::of_storm(PARENT, number)) {
            Ok(()) => self.books.has_put(PARENT, number),
            Err(TryPutError::Full(_)) if !drained => {}
            Err(other) => panic!("{other}"),
        }
        if drained {
            let item = self.queue.try_get().unwrap();
            assert_eq!((item.producer, item.number), (PARENT, number));
            self.has_got(&item);
        }
    }

    fn has_got(&self, item: &Item) {
        item.check_of_storm();
        self.books.has_got(item);
    }

    /// Has all come to its end, and leaves the queue empty.
    fn calm(&mut self) {
        if self.producers.random.one_in(2) {
            self.producers.kill_all();
        } else {
            self.books.stop(true);
            self.producers.ebb();
            self.books.stop(false);
        }
        for _ in 0..self.consumers.width() {
            self.queue.put_timeout(Item::new(STOP, 0, 0, false), AMPLE).unwrap();
        }
        self.consumers.ebb();
        assert!(matches!(self.queue.try_get(), Err(TryGetError::Empty)));
        assert_eq!(self.queue.len(), 0);
    }
}

fn rage(queue: Queue<Item>, batch: u64) -> Result<(), Box<dyn Error>> {
    let mut sea = Sea::new(queue, batch)?;
    let mut audit = Audit::new();
    for _ in 0..rounds() {
        sea.rage(ROUND, KILLS);
        sea.calm();
        audit.check(&sea.books, &mut sea.producers, &sea.consumers, batch);
    }
    let Sea { producers, consumers, .. } = &sea;
    println!(
        "{} and {} killed: {}",
        producers.dead.len(),
        consumers.dead.len(),
        producers.counts()
    );
    let hits = producers.counted("in the hands of a dead consumer")
        + producers.counted("put by one who could not tell");
    assert!(hits > 0, "the storm missed");
    Ok(())
}

each_start_method! {
    only [forkserver ForkServer]
    fn bounded() {
        rage(Queue::bounded(64)?, 1)?;
    }

    only [forkserver ForkServer]
    /// Whoever puts or gets waits for another each time.
    fn bounded_to_one() {
        rage(Queue::bounded(1)?, 1)?;
    }

    only [forkserver ForkServer]
    fn unbounded() {
        rage(Queue::unbounded()?, 1)?;
    }

    only [forkserver ForkServer]
    /// Of several at once, a killed process may have had several in its hands.
    fn batches() {
        rage(Queue::bounded(64)?, 16)?;
    }
}
