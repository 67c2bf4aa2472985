//! What was put and what was got, as those who did it have written down: memory that outlives them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use offspring::shm::Shared;
use serde::{Deserialize, Serialize};
use tests::storm::Storm;

use super::item::Item;

/// The producer that is not killed.
pub(crate) const PARENT: u64 = 0;
/// More producers than there are in any storm.
const PRODUCERS: usize = 1 << 17;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Books {
    /// By producer: of how many items `put` has returned.
    put: Shared<[AtomicU64]>,
    /// Of all producers.
    total: Shared<AtomicU64>,
    /// How many were got; and then each.
    got: Shared<[AtomicU64]>,
    /// Not 0 when producers are to end.
    stop: Shared<AtomicU64>,
}

impl Books {
    /// For so many items that are got between two audits.
    pub(crate) fn new(items: usize) -> offspring::Result<Self> {
        Ok(Self {
            put: Shared::<[AtomicU64]>::zeroed(PRODUCERS)?,
            total: Shared::new(AtomicU64::new(0))?,
            got: Shared::<[AtomicU64]>::zeroed(1 + items)?,
            stop: Shared::new(AtomicU64::new(0))?,
        })
    }

    /// This producer's items up to this number are in the queue.
    pub(crate) fn has_put(&self, producer: u64, number: u64) {
        let before = self.put[producer as usize].swap(number, Ordering::SeqCst);
        self.total.fetch_add(number - before, Ordering::SeqCst);
    }

    pub(crate) fn put_by(&self, producer: u64) -> u64 {
        self.put[producer as usize].load(Ordering::SeqCst)
    }

    /// How many were put, about: a producer may have been killed before it has counted its last.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::SeqCst)
    }

    pub(crate) fn has_got(&self, item: &Item) {
        let index = 1 + self.got[0].fetch_add(1, Ordering::SeqCst) as usize;
        self.got[index].store(item.producer << 32 | item.number, Ordering::SeqCst);
    }

    pub(crate) fn stop(&self, stop: bool) {
        self.stop.store(u64::from(stop), Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst) != 0
    }
}

/// Those who are at work, and what was accounted for.
pub(crate) struct Audit {
    /// Producers up to this one are accounted for.
    producers: u64,
    /// So many of the items of the parent.
    of_parent: u64,
    consumers_dead: usize,
}

impl Audit {
    pub(crate) fn new() -> Self {
        Self { producers: 0, of_parent: 0, consumers_dead: 0 }
    }

    /// Everything is at rest, and the queue is empty: all that was put has arrived, once, but for
    /// what was in the hands of the dead, each of which had up to `batch` in them.
    pub(crate) fn check(
        &mut self,
        books: &Books,
        producers: &mut Storm,
        consumers: &Storm,
        batch: u64,
    ) {
        let mut arrived = HashMap::<u64, Vec<u64>>::new();
        let mut holes = 0;
        let got = books.got[0].swap(0, Ordering::SeqCst) as usize;
        for entry in &books.got[1..=got] {
            match entry.swap(0, Ordering::SeqCst) {
                0 => holes += 1, // it was killed before it had written that down
                entry => arrived.entry(entry >> 32).or_default().push(entry as u32 as u64),
            }
        }
        let (mut missing, mut early) = (0, 0);
        let all = [PARENT].into_iter().chain(self.producers + 1..=producers.started());
        for producer in all {
            let recorded = books.put_by(producer);
            let mut numbers = arrived.remove(&producer).unwrap_or_default();
            numbers.sort_unstable();
            let twice = numbers.windows(2).find(|pair| pair[0] == pair[1]);
            assert!(twice.is_none(), "producer {producer}: {twice:?} came twice");
            let first = if producer == PARENT { self.of_parent + 1 } else { 1 };
            let beyond = if producers.dead.contains_key(&producer) { batch } else { 0 };
            for &number in &numbers {
                assert!(
                    (first..=recorded + beyond).contains(&number),
                    "producer {producer}: {number} came of {first} to {recorded}",
                );
            }
            let known = numbers.iter().filter(|number| **number <= recorded).count() as u64;
            missing += recorded + 1 - first - known;
            early += numbers.len() as u64 - known;
        }
        assert!(arrived.is_empty(), "from nobody: {arrived:?}");
        let dead = (consumers.dead.len() - self.consumers_dead) as u64;
        assert!(missing <= dead * batch, "{missing} are lost with {dead} consumers");
        assert!(holes <= dead, "{holes} holes by {dead} consumers");
        producers.count("arrived", got as u64 - holes);
        producers.count("in the hands of a dead consumer", missing);
        producers.count("put by one who could not tell", early);
        self.producers = producers.started();
        self.of_parent = books.put_by(PARENT);
        self.consumers_dead = consumers.dead.len();
    }
}
