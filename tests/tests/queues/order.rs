//! Each item is got once, and those of a producer in its order: after crossbeam's `spsc`, `mpmc`,
//! `len`, and Go's `fifo.go`, `sieve1.go` and `TestMultiConsumer`.

use offspring::{Queue, Receiver, process};
use tests::crew::{By, Worker};
use tests::each_start_method;

use super::Outcome;

/// Who put it, and which it is.
type Numbered = (u32, u32);

#[process]
fn produce(queue: Queue<Numbered>, who: u32, count: u32) {
    for number in 0..count {
        queue.put((who, number)).unwrap();
    }
}

#[process]
fn consume(queue: Queue<Numbered>) -> Vec<Numbered> {
    queue.iter().collect()
}

fn each_once_in_order(
    by: By,
    queue: Queue<Numbered>,
    producers: u32,
    consumers: u32,
    count: u32,
) -> Outcome {
    let consumers: Vec<_> = (0..consumers).map(|_| by.start(consume(queue.clone()))).collect();
    let producers: Vec<_> =
        (0..producers).map(|who| by.start(produce(queue.clone(), who, count))).collect();
    let expected = (0..producers.len() as u32).flat_map(|who| (0..count).map(move |n| (who, n)));
    producers.into_iter().for_each(Worker::join);
    queue.close();
    let mut all = Vec::new();
    for consumer in consumers {
        let mut got = consumer.join();
        got.sort_by_key(|&(who, _)| who); // which keeps the order of each
        assert!(got.is_sorted(), "out of order: {got:?}");
        all.append(&mut got);
    }
    all.sort();
    assert!(all.into_iter().eq(expected));
    assert!(queue.is_empty());
    Ok(())
}

fn each_once_in_order_however_many(by: By) -> Outcome {
    each_once_in_order(by, Queue::bounded(1)?, 1, 1, 2000)?;
    each_once_in_order(by, Queue::bounded(64)?, 1, 4, 4000)?;
    each_once_in_order(by, Queue::unbounded()?, 4, 1, 2000)?;
    each_once_in_order(by, Queue::bounded(3)?, 4, 4, 1000)?;
    each_once_in_order(by, Queue::unbounded()?, 4, 4, 2000)
}

each_start_method! {
    fn each_item_once_and_in_order_between_processes() {
        each_once_in_order_however_many(By::Children)?;
    }

    only [spawn Spawn]
    fn each_item_once_and_in_order_between_threads() {
        each_once_in_order_however_many(By::Threads)?;
    }
}

/// Puts, and looks how many there are; gives the most.
#[process]
fn produce_and_look(queue: Queue<u64>, count: u64) -> usize {
    let put = |item| {
        queue.put(item).unwrap();
        queue.len()
    };
    (0..count).map(put).max().unwrap()
}

each_start_method! {
    /// crossbeam's `len`: it is never more than the capacity, nor less than what is there.
    fn len_is_right_all_the_time() {
        let queue = Queue::bounded(10)?;
        let producer = produce_and_look(queue.clone(), 5000).spawn()?;
        for item in 0..5000 {
            assert_eq!(queue.get()?, item);
            assert!(queue.len() <= 10);
        }
        assert!(producer.join()? <= 10);
        assert_eq!(queue.len(), 0);
    }
}

/// Passes on what its prime does not divide, and gives that prime.
#[process]
fn sift(from: Queue<u64>, to: Queue<u64>) -> u64 {
    let prime = from.get().unwrap();
    for number in from.iter().filter(|number| number % prime != 0) {
        to.put(number).unwrap();
    }
    to.close();
    prime
}

fn sieve(by: By) -> Outcome {
    let first = Queue::bounded(1)?;
    let mut last = first.clone();
    let mut sieves = Vec::new();
    for _ in 0..8 {
        let next = Queue::bounded(2)?;
        sieves.push(by.start(sift(last, next.clone())));
        last = next;
    }
    // Nobody else needs the end of the line to be waited for.
    let rest = by.start(all_of(last));
    for number in 2..100 {
        first.put(number)?;
    }
    first.close();
    let primes: Vec<_> = sieves.into_iter().map(Worker::join).collect();
    assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19]);
    let beyond = [23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97];
    assert_eq!(rest.join(), beyond);
    Ok(())
}

#[process]
fn all_of(queue: Queue<u64>) -> Vec<u64> {
    queue.iter().collect()
}

each_start_method! {
    /// Go's `sieve1.go`
    fn sieve_of_processes() {
        sieve(By::Children)?;
    }

    only [spawn Spawn]
    /// Go's `sieve1.go`
    fn sieve_of_threads() {
        sieve(By::Threads)?;
    }
}

/// Each takes from one and puts into the other.
#[process]
fn carry(from: Queue<u64>, to: Queue<u64>, go: Receiver<()>) {
    let _ = go.recv();
    for item in &from {
        to.put(item).unwrap();
    }
}

each_start_method! {
    /// Go's `TestMultiConsumer`
    fn multi_consumer_pipeline_loses_nothing() {
        let (first, second) = (Queue::bounded(21)?, Queue::bounded(21)?);
        let (go, told) = offspring::pipe()?;
        let workers: Vec<_> = (0..5)
            .map(|_| carry(first.clone(), second.clone(), told.clone()).spawn())
            .collect::<Result<_, _>>()?;
        let feeder = produce_and_look(first.clone(), 1000).spawn()?;
        drop(go);
        let mut got: Vec<u64> = second.iter().take(1000).collect();
        got.sort();
        assert!(got.into_iter().eq(0..1000));
        feeder.join()?;
        first.close();
        workers.into_iter().try_for_each(|worker| worker.join())?;
        assert!(first.is_empty() && second.is_empty());
    }
}
