//! Items of every size, and the memory that they take.

use std::fs;
use std::os::unix::fs::MetadataExt;

use offspring::queue::TryGetError;
use offspring::{Queue, process};
use tests::crew::{By, Worker, daemon};
use tests::each_start_method;

use super::Outcome;

const MIB: usize = 1 << 20;

/// Around every bound that there is: of a unit, of a page, of a piece, of a MiB.
const SIZES: [usize; 24] = [
    0,
    1,
    2,
    64 * MIB,
    15,
    16,
    17,
    31,
    32,
    33,
    1000,
    4095,
    4096,
    4097,
    65_000,
    65_519,
    65_536,
    65_537,
    200_000,
    MIB - 64,
    MIB,
    MIB + 1,
    5 * MIB,
    3,
];

/// Recognised by its letter.
fn item(who: u8, turn: usize, len: usize) -> (u8, usize, String) {
    let letter = char::from(b'a' + ((turn + usize::from(who)) % 26) as u8).to_string();
    (who, turn, letter.repeat(len))
}

#[process]
fn put_sizes(queue: Queue<(u8, usize, String)>, who: u8) {
    for (turn, len) in SIZES.into_iter().enumerate() {
        queue.put(item(who, turn, len)).unwrap();
    }
}

#[process]
fn put_small_ones(queue: Queue<(u8, usize, String)>, who: u8) {
    for turn in 0..1000 {
        queue.put(item(who, turn, turn % 40)).unwrap();
    }
}

fn every_size_in_order(by: By, queue: Queue<(u8, usize, String)>) -> Outcome {
    let workers =
        [by.start(put_sizes(queue.clone(), 0)), by.start(put_small_ones(queue.clone(), 1))];
    let mut next = [0; 2];
    for _ in 0..SIZES.len() + 1000 {
        let got = queue.get()?;
        let (who, turn) = (got.0, next[usize::from(got.0)]);
        let len = if who == 0 { SIZES[turn] } else { turn % 40 };
        assert!(got == item(who, turn, len), "{who} {turn} {len}: {} {}", got.1, got.2.len());
        next[usize::from(who)] += 1;
    }
    workers.into_iter().for_each(Worker::join);
    assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
    Ok(())
}

each_start_method! {
    fn items_of_every_size_come_in_order_from_processes() {
        every_size_in_order(By::Children, Queue::unbounded()?)?;
        every_size_in_order(By::Children, Queue::bounded(2)?)?;
    }

    only [spawn Spawn]
    fn items_of_every_size_come_in_order_from_threads() {
        every_size_in_order(By::Threads, Queue::unbounded()?)?;
        every_size_in_order(By::Threads, Queue::bounded(2)?)?;
    }
}

/// The ring is filled and emptied by turns, to ever another level, so that it goes round at every
/// place, grows and shrinks.
#[test]
fn the_ring_goes_round_at_every_place() {
    let queue = Queue::unbounded().unwrap();
    let (mut put, mut got) = (0, 0);
    let item = |n: usize| (n, "r".repeat(n * 7919 % 3001));
    for round in 1..60 {
        while put - got < round * 37 % 400 + 1 {
            queue.put(item(put)).unwrap();
            put += 1;
        }
        while put - got > round * 101 % 60 {
            assert!(queue.get().unwrap() == item(got), "{got}");
            got += 1;
        }
    }
    assert_eq!(queue.len(), put - got);
}

/// Items without anything in them are items.
#[test]
fn items_of_no_size_are_counted() {
    let queue = Queue::unbounded().unwrap();
    for _ in 0..10_000 {
        queue.put(()).unwrap();
    }
    assert_eq!(queue.len(), 10_000);
    queue.close();
    assert_eq!(queue.iter().count(), 10_000);
}

/// How much memory the rings of this process have.
fn memory() -> u64 {
    let rings = tests::descriptors().into_iter().filter(|(_, to)| to.contains("offspring-queue"));
    let blocks = rings.map(|(fd, _)| fs::metadata(format!("/proc/self/fd/{fd}")).unwrap().blocks());
    blocks.sum::<u64>() * 512
}

const HUNDRED: usize = 100;

#[process]
fn put_megabytes(queue: Queue<String>) {
    for turn in 0..HUNDRED {
        queue.put(megabyte(turn)).unwrap();
    }
}

fn megabyte(turn: usize) -> String {
    char::from(b'!' + turn as u8 % 90).to_string().repeat(1_000_000)
}

each_start_method! {
    /// A child that has put a hundred megabytes ends before anybody gets any, and all are there;
    /// when they are got, the memory is free again.
    fn a_hundred_megabytes_outlive_who_put_them_and_are_given_back() {
        let queue = Queue::unbounded()?;
        for _ in 0..2 {
            daemon(put_megabytes(queue.clone()))?.join()?;
            assert_eq!(queue.len(), HUNDRED);
            assert!(memory() >= 100_000_000, "{}", memory());
            for turn in 0..HUNDRED {
                assert!(queue.try_get()? == megabyte(turn), "{turn}");
            }
            assert!(queue.is_empty());
            assert!(memory() <= 4 * MIB as u64, "{}", memory());
        }
    }
}

each_start_method! {
    only [spawn Spawn]
    /// Nor does it grow in use, however much goes through.
    fn a_ring_is_no_longer_than_what_was_ever_in_it() {
        let queue = Queue::unbounded()?;
        let before = memory();
        for round in 0..300 {
            queue.put_many((0..10).map(|n| "m".repeat((n + round) * 10))).unwrap();
            assert_eq!(queue.get_many(100).unwrap().len(), 10);
        }
        assert!(memory() <= before + 2 * MIB as u64, "{before} {}", memory());
    }
}
