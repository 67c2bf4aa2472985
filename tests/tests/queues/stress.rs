//! Races that only many rounds show: after crossbeam's `stress_oneshot`, `stress_iter`,
//! `stress_timeout_two_threads` and `linearizable`, and Go's `TestNonblockRecvRace`.

use std::thread;
use std::time::Duration;

use offspring::queue::{GetTimeoutError, PutTimeoutError, TryGetError};
use offspring::{Queue, process};
use tests::crew::{By, Worker};
use tests::each_start_method;

use super::Outcome;

#[process]
fn put_one(queue: Queue<u64>, item: u64) {
    queue.put(item).unwrap();
}

/// Puts and gets with hardly any time for it, over and over.
#[process]
fn put_hastily(queue: Queue<u64>, count: u64) {
    for item in 0..count {
        if item % 10 == 0 {
            thread::yield_now();
        }
        while let Err(error) = queue.put_timeout(item, Duration::from_micros(item % 200)) {
            assert!(matches!(error, PutTimeoutError::Timeout(back) if back == item), "{error:?}");
        }
    }
}

#[process]
fn get_hastily(queue: Queue<u64>) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        match queue.get_timeout(Duration::from_micros(got.len() as u64 % 130)) {
            Ok(item) => got.push(item),
            Err(GetTimeoutError::Timeout) => {}
            Err(GetTimeoutError::Closed) => return got,
            Err(other) => panic!("{other}"),
        }
    }
}

fn short_timeouts_lose_nothing(by: By) -> Outcome {
    for capacity in [1, 2] {
        let queue = Queue::bounded(capacity)?;
        let consumers: Vec<_> = (0..2).map(|_| by.start(get_hastily(queue.clone()))).collect();
        let producers: Vec<_> =
            (0..2).map(|_| by.start(put_hastily(queue.clone(), 1000))).collect();
        producers.into_iter().for_each(Worker::join);
        queue.close();
        let mut all: Vec<_> = consumers.into_iter().flat_map(Worker::join).collect();
        all.sort();
        assert!(all.into_iter().eq((0..1000).flat_map(|item| [item, item])));
    }
    Ok(())
}

/// Who has put an item finds one at once, as there are no more who get than there are items.
#[process]
fn put_and_find(queue: Queue<u64>, times: u64) {
    for item in 0..times {
        queue.put(item).unwrap();
        queue.try_get().unwrap();
    }
}

fn linearizable(by: By) -> Outcome {
    for queue in [Queue::bounded(4)?, Queue::unbounded()?] {
        let workers: Vec<_> = (0..4).map(|_| by.start(put_and_find(queue.clone(), 1000))).collect();
        workers.into_iter().for_each(Worker::join);
        assert!(queue.is_empty());
    }
    Ok(())
}

each_start_method! {
    fn short_timeouts_lose_nothing_between_processes() {
        short_timeouts_lose_nothing(By::Children)?;
    }

    only [spawn Spawn]
    fn short_timeouts_lose_nothing_between_threads() {
        short_timeouts_lose_nothing(By::Threads)?;
    }

    fn linearizable_between_processes() {
        linearizable(By::Children)?;
    }

    only [spawn Spawn]
    fn linearizable_between_threads() {
        linearizable(By::Threads)?;
    }

    only [forkserver ForkServer, fork Fork]
    fn one_shot_between_processes() {
        for item in 0..30 {
            let queue = Queue::bounded(1)?;
            let child = put_one(queue.clone(), item).spawn()?;
            assert_eq!(queue.get()?, item);
            child.join()?;
        }
    }

    only [spawn Spawn]
    /// A queue of its own for each item, and the two at once at it.
    fn one_shot_between_threads() {
        for item in 0..300 {
            let queue = Queue::bounded(1)?;
            let other = queue.clone();
            let thread = thread::spawn(move || other.put(item).unwrap());
            assert_eq!(queue.get()?, item);
            thread.join().unwrap();
        }
    }

    only [spawn Spawn]
    /// Go's `TestNonblockRecvRace`: an item that is there is found, although the queue closes.
    fn an_item_is_found_although_the_queue_closes() {
        for item in 0..300 {
            let queue = Queue::bounded(1)?;
            queue.put(item)?;
            let other = queue.clone();
            let thread = thread::spawn(move || other.try_get());
            queue.close();
            assert_eq!(thread.join().unwrap()?, item);
            assert!(matches!(queue.try_get(), Err(TryGetError::Closed)));
        }
    }
}
