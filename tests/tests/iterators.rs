//! The iterators of pipes and queues: where they end, and what they make of an error.

use offspring::pipe::RecvError;
use offspring::queue::GetError;
use offspring::{Duplex, Queue, Receiver, duplex, pipe, process};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use tests::each_start_method;

/// Received only if it is even.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Even(u32);

impl<'de> Deserialize<'de> for Even {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(from)?;
        if number.is_multiple_of(2) { Ok(Self(number)) } else { Err(D::Error::custom("it is odd")) }
    }
}

/// Everything that is sent, and nothing after that.
fn sent(numbers: impl IntoIterator<Item = u32>) -> Receiver<Even> {
    let (tx, rx) = pipe().unwrap();
    numbers.into_iter().for_each(|number| tx.send(Even(number)).unwrap());
    rx
}

fn put(numbers: impl IntoIterator<Item = u32>) -> Queue<Even> {
    let queue = Queue::unbounded().unwrap();
    queue.put_many(numbers.into_iter().map(Even)).unwrap();
    queue
}

#[test]
fn the_results_of_a_pipe_are_all_there_with_an_error_for_each_that_is_none() {
    let rx = sent([0, 1, 2, 3, 5, 4]);
    let mut results = rx.results();
    let is_good: Vec<_> = results.by_ref().map(|result| result.is_ok()).collect();
    assert_eq!(is_good, [true, false, true, false, false, true]);
    assert!(results.next().is_none() && results.next().is_none());
    assert!(sent([0, 2]).results().map(Result::unwrap).eq([Even(0), Even(2)]));
    match sent([0, 1, 2]).results().collect::<Result<Vec<_>, _>>() {
        Err(RecvError::Decode(error)) => assert_eq!(error.reason(), "it is odd"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_results_of_a_queue_are_all_there_with_an_error_for_each_that_is_none() {
    let queue = put([0, 1, 2, 3, 5, 4]);
    let mut results = queue.results();
    let is_good: Vec<_> = results.by_ref().map(|result| result.is_ok()).collect();
    assert_eq!(is_good, [true, false, true, false, false, true]);
    // It ended as nobody else has the queue, and has ended for good.
    queue.put(Even(6)).unwrap();
    assert!(results.next().is_none());
    match put([0, 1, 2]).results().collect::<Result<Vec<_>, _>>() {
        Err(GetError::Decode(error)) => assert_eq!(error.reason(), "it is odd"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pipe_gives_what_is_there_now() {
    let (tx, rx) = pipe().unwrap();
    assert_eq!(rx.try_iter().next(), None);
    for number in [0, 2] {
        tx.send(Even(number)).unwrap();
    }
    let mut there = rx.try_iter();
    assert!(there.by_ref().eq([Even(0), Even(2)]));
    assert!(there.error().is_none());
    // There may be more later, but not after an error.
    for number in [4, 1, 6] {
        tx.send(Even(number)).unwrap();
    }
    assert!(there.by_ref().eq([Even(4)]));
    assert!(there.error().is_some() && there.next().is_none());
    drop(tx);
    let mut there = rx.try_iter();
    assert!(there.by_ref().eq([Even(6)]));
    assert!(there.next().is_none() && there.error().is_none());
}

#[test]
fn a_two_way_pipe_gives_what_the_other_end_has_sent() {
    let (here, there) = duplex::<(), Even>().unwrap();
    for number in [0, 2, 4, 6, 1] {
        there.send(Even(number)).unwrap();
    }
    assert!(here.try_iter().take(1).eq([Even(0)]));
    assert!(here.iter().take(1).eq([Even(2)]));
    assert!((&here).into_iter().take(1).eq([Even(4)]));
    drop(there);
    assert_eq!(here.results().filter(Result::is_err).count(), 1);
    assert!(here.into_iter().next().is_none());
}

#[test]
fn iterators_that_own_end_as_the_others_do() {
    let mut values = sent([0, 1, 2]).into_iter();
    assert!(values.by_ref().eq([Even(0)]));
    assert!(values.error().is_some() && values.next().is_none());
    let mut items = put([0, 1, 2]).into_iter();
    assert!(items.by_ref().eq([Even(0)]));
    assert!(items.error().is_some() && items.next().is_none());
    let mut items = put([0, 2]).into_iter();
    assert!(items.by_ref().eq([Even(0), Even(2)]) && items.error().is_none());
}

#[process]
fn double(numbers: Duplex<u32, u32>) {
    for number in &numbers {
        numbers.send(2 * number).unwrap();
    }
}

#[process]
fn produce(numbers: Queue<u32>, upto: u32) {
    numbers.put_many(0..upto).unwrap();
}

#[process]
fn sum(numbers: Queue<u32>) -> u32 {
    let mut sum = 0;
    for number in numbers {
        sum += number;
    }
    sum
}

each_start_method! {
    fn a_loop_over_a_two_way_pipe_ends_when_the_other_end_is_gone() {
        let (here, there) = duplex()?;
        let child = double(there).spawn()?;
        for number in 0..100 {
            here.send(number)?;
        }
        assert!(here.iter().take(100).eq((0..100).map(|number| 2 * number)));
        drop(here);
        child.join()?;
    }

    fn a_loop_over_a_queue_ends_when_nobody_else_has_it() {
        let numbers = Queue::unbounded()?;
        let consumer = sum(numbers.clone()).spawn()?;
        let producer = produce(numbers, 1000).spawn()?;
        producer.join()?;
        assert_eq!(consumer.join()?, (0..1000).sum());
    }
}
