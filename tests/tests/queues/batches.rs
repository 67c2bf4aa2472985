//! Many at once: `put_many` and `get_many`.

use std::cell::Cell;
use std::time::{Duration, Instant};

use nix::unistd::gettid;
use offspring::queue::{GetError, GetTimeoutError, PutError, TryGetError};
use offspring::{Queue, Sender, pipe, process};
use serde::{Deserialize, Serialize};
use tests::crew::{By, until_asleep};
use tests::each_start_method;

use super::{Item, Outcome};

#[test]
fn as_many_are_got_as_there_are_but_no_more_than_asked() {
    let queue = Queue::unbounded().unwrap();
    queue.put_many(0..10).unwrap();
    assert!(queue.get_many(0).unwrap().is_empty());
    assert_eq!(queue.len(), 10);
    assert_eq!(queue.get_many(1).unwrap(), [0]);
    assert_eq!(queue.get_many(4).unwrap(), [1, 2, 3, 4]);
    assert_eq!(queue.get_many(usize::MAX).unwrap(), [5, 6, 7, 8, 9]);
    queue.put_many([]).unwrap();
    assert!(queue.is_empty());
    queue.close();
    assert!(queue.get_many(0).unwrap().is_empty());
    let error = queue.get_many(1).unwrap_err();
    assert!(matches!(error.error(), GetError::Closed));
    assert!(error.into_inner().is_empty());
}

/// More than a batch, and items of very different length.
#[test]
fn long_batches_keep_their_order() {
    let queue = Queue::unbounded().unwrap();
    let len = |n: usize| if n.is_multiple_of(50) { n * 1000 } else { n % 300 };
    let item = |n| (n, "x".repeat(len(n)));
    let items: Vec<_> = (0..2000).map(item).collect();
    queue.put_many(items.clone()).unwrap();
    let mut got = Vec::new();
    while got.len() < items.len() {
        got.append(&mut queue.get_many(77).unwrap());
    }
    assert!(got == items);
}

/// Says who it is, and puts more than there is room for.
#[process]
fn put_many(queue: Queue<u64>, count: u64, about_to: Sender<i32>) {
    about_to.send(gettid().as_raw()).unwrap();
    queue.put_many(0..count).unwrap();
}

fn a_batch_goes_in_as_there_is_room(by: By) -> Outcome {
    let queue = Queue::bounded(3)?;
    let (about_to, waiting) = pipe()?;
    let worker = by.start(put_many(queue.clone(), 1000, about_to));
    until_asleep(waiting.recv()?);
    assert!(queue.is_full());
    let mut got = Vec::new();
    while got.len() < 1000 {
        let mut more = queue.get_many(5).unwrap();
        assert!((1..=5).contains(&more.len()));
        got.append(&mut more);
    }
    worker.join();
    assert!(got.into_iter().eq(0..1000) && queue.is_empty());
    Ok(())
}

each_start_method! {
    fn a_batch_goes_in_as_there_is_room_between_processes() {
        a_batch_goes_in_as_there_is_room(By::Children)?;
    }

    only [spawn Spawn]
    fn a_batch_goes_in_as_there_is_room_between_threads() {
        a_batch_goes_in_as_there_is_room(By::Threads)?;
    }
}

#[test]
fn what_was_not_put_comes_back() {
    // Nobody could ever make room.
    let queue = Queue::bounded(3).unwrap();
    let error = queue.put_many(0..10).unwrap_err();
    assert!(matches!(error.error(), PutError::Disconnected(3)));
    assert_eq!(error.count(), 3);
    let text = error.to_string();
    assert!(text.contains("3 items put, and 7 not put"), "{text}");
    assert_eq!(error.into_inner(), [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(queue.get_many(10).unwrap(), [0, 1, 2]);

    queue.close();
    let error = queue.put_many([1, 2]).unwrap_err();
    assert!(matches!(error.error(), PutError::Closed(1)));
    assert_eq!((error.count(), error.into_inner()), (0, vec![1, 2]));
}

#[test]
fn an_item_that_cannot_be_encoded_stops_the_batch_there() {
    let good = |from, to| (from..to).map(Item::Good);
    let queue = Queue::unbounded().unwrap();
    let mut batch = good(0, 3).chain([Item::NotEncoded]).chain(good(4, 6));
    let error = queue.put_many(batch.by_ref()).unwrap_err();
    assert!(matches!(error.error(), PutError::Encode(Item::NotEncoded, _)));
    assert!(error.to_string().contains("does not want to leave"), "{error}");
    assert_eq!(error.count(), 3);
    assert!(error.into_inner().into_iter().eq([Item::NotEncoded]));
    assert!(batch.eq(good(4, 6)));
    assert!(queue.get_many(10).unwrap().into_iter().eq(good(0, 3)));
}

#[test]
fn an_item_that_cannot_be_decoded_is_the_only_one_lost() {
    let good = |from, to| (from..to).map(Item::Good);
    for bad_first in [true, false] {
        let queue = Queue::unbounded().unwrap();
        queue.put_many(good(0, if bad_first { 0 } else { 2 })).unwrap();
        queue.put(Item::NotDecoded).unwrap();
        queue.put_many(good(3, 6)).unwrap();
        let error = queue.get_many(10).unwrap_err();
        assert!(matches!(error.error(), GetError::Decode(_)));
        let mut got = error.into_inner();
        if !queue.is_empty() {
            got.extend(queue.get_many(10).unwrap());
        }
        let expected = good(if bad_first { 3 } else { 0 }, 6).filter(|item| *item != Item::Good(2));
        assert!(got.into_iter().eq(expected), "{bad_first}");
    }
}

#[test]
fn batches_that_do_not_wait_or_not_for_ever() {
    let short = Duration::from_millis(20);
    let queue = Queue::unbounded().unwrap();
    queue.put_many(0..5).unwrap();
    assert_eq!(queue.try_get_many(0).unwrap(), []);
    assert_eq!(queue.try_get_many(2).unwrap(), [0, 1]);
    assert_eq!(queue.get_many_timeout(2, short).unwrap(), [2, 3]);
    assert_eq!(queue.try_get_many(2).unwrap(), [4]);
    let empty = queue.try_get_many(2).unwrap_err();
    assert!(matches!(empty.error(), TryGetError::Empty));
    assert_eq!(empty.into_inner(), []);
    let other = queue.clone();
    let begin = Instant::now();
    let late = queue.get_many_timeout(2, short).unwrap_err();
    assert!(begin.elapsed() >= short && matches!(late.error(), GetTimeoutError::Timeout));
    drop(other);
    let alone = queue.get_many_timeout(2, short).unwrap_err();
    assert!(matches!(alone.error(), GetTimeoutError::Disconnected));
    queue.put(7).unwrap();
    queue.close();
    assert_eq!(queue.try_get_many(2).unwrap(), [7]);
    assert!(matches!(queue.try_get_many(2).unwrap_err().error(), TryGetError::Closed));
    assert!(matches!(
        queue.get_many_timeout(2, short).unwrap_err().error(),
        GetTimeoutError::Closed
    ));
}

#[test]
fn what_there_is_room_for_is_put_and_the_rest_comes_back() {
    let short = Duration::from_millis(20);
    let queue = Queue::bounded(3).unwrap();
    let other = queue.clone();
    queue.try_put_many([]).unwrap();
    queue.try_put_many([0, 1]).unwrap();
    let error = queue.try_put_many(2..6).unwrap_err();
    assert!(error.error().is_full());
    assert_eq!(error.to_string(), "1 items put, and 3 not put: the queue is full");
    assert_eq!((error.count(), error.into_inner()), (1, vec![3, 4, 5]));
    assert_eq!(queue.get().unwrap(), 0);
    let begin = Instant::now();
    let error = queue.put_many_timeout(3..6, short).unwrap_err();
    assert!(begin.elapsed() >= short && error.error().is_timeout());
    assert_eq!((error.count(), error.into_inner()), (1, vec![4, 5]));
    assert_eq!(queue.get_many(9).unwrap(), [1, 2, 3]);
    queue.put_many_timeout(4..7, short).unwrap();
    drop(other);
    // Nobody could ever make room, which is told to whoever would wait.
    assert!(queue.put_many_timeout([7], short).unwrap_err().error().is_disconnected());
    assert!(queue.try_put_many([7]).unwrap_err().error().is_full());
    queue.close();
    assert!(queue.put_many_timeout([7], short).unwrap_err().error().is_closed());
    assert_eq!(queue.try_put_many([7]).unwrap_err().into_inner(), [7]);
}

/// A large one goes on its own, and a time limit is that of all together.
#[test]
fn a_batch_with_large_items_is_put_in_time_or_comes_back() {
    let large = |number: u8| vec![number; 100_000];
    let queue = Queue::bounded(2).unwrap();
    let _other = queue.clone();
    let error = queue.try_put_many((0..4).map(large)).unwrap_err();
    assert!(error.error().is_full());
    assert_eq!((error.count(), error.into_inner()), (2, vec![large(2)]));
    assert_eq!(queue.try_get_many(9).unwrap(), [large(0), large(1)]);
    let short = Duration::from_millis(20);
    let error = queue.put_many_timeout((0..4).map(large), short).unwrap_err();
    assert!(error.error().is_timeout());
    assert_eq!((error.count(), error.into_inner()), (2, vec![large(2)]));
}

/// Puts an item into another queue while it is encoded, and gets one while it is decoded.
#[derive(Debug, PartialEq)]
struct Meddler(u64);

thread_local! {
    static OTHER: Cell<Option<Queue<String>>> = const { Cell::new(None) };
}

fn meddle() {
    let other = OTHER.take().unwrap();
    other.put("meanwhile".repeat(20)).unwrap();
    assert_eq!(other.get().unwrap(), "meanwhile".repeat(20));
    OTHER.set(Some(other));
}

impl Serialize for Meddler {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        meddle();
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Meddler {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        meddle();
        u64::deserialize(deserializer).map(Self)
    }
}

/// crossbeam's `recv_in_send`: what an item does on its way is its own affair.
#[test]
fn an_item_may_use_a_queue_while_it_is_encoded_and_decoded() {
    OTHER.set(Some(Queue::unbounded().unwrap()));
    let queue = Queue::unbounded().unwrap();
    queue.put(Meddler(0)).unwrap();
    queue.put_many((1..5).map(Meddler)).unwrap();
    assert_eq!(queue.get().unwrap(), Meddler(0));
    assert!(queue.get_many(9).unwrap().into_iter().eq((1..5).map(Meddler)));
}

#[test]
fn an_iterator_ends_for_good_at_an_item_that_cannot_be_decoded() {
    let queue = Queue::unbounded().unwrap();
    queue.put_many([Item::Good(1), Item::NotDecoded, Item::Good(2), Item::NotDecoded]).unwrap();
    let mut items = queue.iter();
    assert!(items.by_ref().eq([Item::Good(1)]));
    assert!(matches!(items.error(), Some(GetError::Decode(_))));
    assert!(items.next().is_none());
    let mut items = queue.try_iter();
    assert!(items.by_ref().eq([Item::Good(2)]));
    queue.put(Item::Good(3)).unwrap();
    assert!(items.error().is_some() && items.next().is_none());
    assert_eq!(queue.get().unwrap(), Item::Good(3));
}

#[test]
fn of_items_without_bytes_no_more_are_taken_than_are_put_at_a_time() {
    let queue = Queue::bounded(10).unwrap();
    let mut taken = 0;
    let endless = std::iter::repeat_with(|| taken += 1);
    let error = queue.try_put_many(endless).unwrap_err();
    assert_eq!((error.count(), error.into_inner().len() + 10), (10, taken));
}
