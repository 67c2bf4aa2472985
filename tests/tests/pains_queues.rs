//! What queues of other libraries have done to their users: a child that cannot end, an item that is
//! torn, an end that nobody is told of, an error that comes late or never.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use offspring::queue::{GetError, PutError};
use offspring::{Queue, Receiver, Sender, pipe, process};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::crew::daemon;
use tests::each_start_method;
use tests::family::not_tested;

#[process]
fn put_and_return(queue: Queue<String>, items: usize, len: usize) {
    for turn in 0..items {
        queue.put(text(turn, len)).unwrap();
    }
}

fn text(turn: usize, len: usize) -> String {
    char::from(b'a' + turn as u8 % 26).to_string().repeat(len)
}

each_start_method! {
    /// Its parent waits for its end first, and gets what it has put then: much in one item, much in
    /// many, and with a bound that is just not passed.
    fn unread_items_do_not_keep_a_child_from_ending() {
        for (items, len, bound) in [(1, 30_000_000, 1), (10_000, 1000, 10_000), (30, 1_000_000, 30)] {
            for queue in [Queue::bounded(bound)?, Queue::unbounded()?] {
                put_and_return(queue.clone(), items, len).spawn()?.join()?;
                assert_eq!(queue.len(), items);
                for turn in 0..items {
                    assert!(queue.get()? == text(turn, len));
                }
            }
        }
    }
}

/// Puts small ones and large ones, each of which can be told to be whole, until it is killed.
#[process]
fn put_for_ever(queue: Queue<(u64, String)>, at_it: Sender<()>) {
    for turn in 0.. {
        let len = size(turn);
        queue.put((turn, text(turn as usize, len))).unwrap();
        if turn == 1 {
            at_it.send(()).unwrap();
        }
    }
}

/// Most in the ring; some beside it.
fn size(turn: u64) -> usize {
    match turn % 8 {
        3 => 8 << 20,
        6 => 900_000,
        other => other as usize * 100,
    }
}

each_start_method! {
    /// It dies at any moment, under one that waits. What it has put is got, whole and in order; then the
    /// end comes; and the queue serves the next.
    fn a_killed_producer_tears_no_item() {
        let queues: Vec<_> = (0..6).map(|_| Queue::bounded(4)).collect::<Result<_, _>>()?;
        let (at_it, it_is) = pipe()?;
        let mut children = Vec::new();
        for queue in &queues {
            children.push(daemon(put_for_ever(queue.clone(), at_it.clone()))?);
        }
        (0..queues.len()).try_for_each(|_| it_is.recv())?;
        // A thread for each kills it after another number of items. Nothing starts beside them.
        let consumers = queues.into_iter().zip(children).enumerate().map(|(after, (queue, child))| {
            thread::spawn(move || {
                let killer = child.handle();
                for turn in 0.. {
                    if turn == after as u64 {
                        killer.kill().unwrap();
                    }
                    match queue.get() {
                        Ok((number, item)) => {
                            assert_eq!(number, turn);
                            let expected = text(turn as usize, size(turn));
                            assert!(item == expected, "{turn}: {}", item.len());
                        }
                        Err(GetError::Disconnected) if turn >= after as u64 => break,
                        Err(other) => panic!("{other}"),
                    }
                }
                child.wait().unwrap();
                queue
            })
        });
        let consumers: Vec<_> = consumers.collect();
        let queues: Vec<_> = consumers.into_iter().map(|thread| thread.join().unwrap()).collect();
        for queue in queues {
            daemon(put_whole(queue.clone()))?.join()?;
            assert!(queue.get()? == (99, text(9, 2 << 20)));
            assert!(queue.is_empty());
        }
    }
}

#[process]
fn put_whole(queue: Queue<(u64, String)>) {
    queue.put((99, text(9, 2 << 20))).unwrap();
}

#[process]
fn put_ten_and_wait(queue: Queue<u64>, put: Sender<()>, until: Receiver<()>) {
    queue.put_many(0..10).unwrap();
    put.send(()).unwrap();
    let _ = until.recv();
    drop(queue);
}

#[process]
fn count(queue: Queue<u64>) -> (usize, bool) {
    let mut items = queue.iter();
    let count = items.by_ref().count();
    (count, items.error().is_none())
}

each_start_method! {
    /// When every producer has died, its consumers get what is left, and are told of the end, although
    /// they have each other.
    fn consumers_are_told_when_all_producers_have_died() {
        let queue = Queue::unbounded()?;
        let consumers: Vec<_> =
            (0..3).map(|_| daemon(count(queue.clone()))).collect::<Result<_, _>>()?;
        let (put, is_put) = pipe()?;
        let (_release, until) = pipe::<()>()?;
        let producers: Vec<_> = (0..4)
            .map(|_| daemon(put_ten_and_wait(queue.clone(), put.clone(), until.clone())))
            .collect::<Result<_, _>>()?;
        drop(queue);
        (0..4).try_for_each(|_| is_put.recv())?;
        for producer in producers {
            producer.kill()?;
            producer.wait()?;
        }
        let ends: Result<Vec<_>, _> = consumers.into_iter().map(|consumer| consumer.join()).collect();
        let ends = ends?;
        assert!(ends.iter().all(|(_, ended_well)| *ended_well));
        assert_eq!(ends.into_iter().map(|(count, _)| count).sum::<usize>(), 40);
    }

    /// One word of whoever knows ends all consumers.
    fn closing_ends_every_consumer() {
        let queue = Queue::unbounded()?;
        let consumers: Vec<_> =
            (0..3).map(|_| daemon(count(queue.clone()))).collect::<Result<_, _>>()?;
        queue.put_many(0..100)?;
        queue.close();
        let mut sum = 0;
        for consumer in consumers {
            let (count, ended_well) = consumer.join()?;
            assert!(ended_well);
            sum += count;
        }
        assert_eq!(sum, 100);
    }
}

/// What its encoding, or its decoding, does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None(u32),
    EncodeFails,
    EncodePanics,
    DecodeFails,
    DecodePanics,
}

impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = match *self {
            Self::None(number) => number,
            Self::EncodeFails => return Err(serde::ser::Error::custom("on purpose")),
            Self::EncodePanics => resume_unwind(Box::new("on purpose")),
            Self::DecodeFails => 1000,
            Self::DecodePanics => 1001,
        };
        number.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Trouble {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1000 => Err(serde::de::Error::custom("on purpose")),
            1001 => resume_unwind(Box::new("on purpose")),
            number => Ok(Self::None(number)),
        }
    }
}

#[process]
fn get_number(queue: Queue<Trouble>) -> u32 {
    match queue.get().unwrap() {
        Trouble::None(number) => number,
        other => panic!("{other:?}"),
    }
}

#[process]
fn put_trouble(queue: Queue<Trouble>, what: u32) {
    queue.put(if what == 0 { Trouble::DecodeFails } else { Trouble::DecodePanics }).unwrap();
}

each_start_method! {
    /// The error is there where the item is put, with the item; the one slot is as free as before.
    fn what_cannot_be_encoded_is_an_error_where_it_is_put() {
        let queue = Queue::bounded(1)?;
        let error = queue.put(Trouble::EncodeFails).unwrap_err();
        assert!(matches!(error, PutError::Encode(Trouble::EncodeFails, _)), "{error:?}");
        assert!(error.to_string().contains("on purpose"), "{error}");
        let panic = catch_unwind(AssertUnwindSafe(|| queue.put(Trouble::EncodePanics)));
        assert!(panic.is_err());
        assert!(queue.is_empty());
        queue.try_put(Trouble::None(5))?;
        assert_eq!(get_number(queue.clone()).spawn()?.join()?, 5);
        queue.try_put(Trouble::None(6))?;
    }

    /// The error is where it is got, and that item alone is gone.
    fn what_cannot_be_decoded_fails_that_one_get() {
        let queue = Queue::bounded(1)?;
        for what in 0..2 {
            put_trouble(queue.clone(), what).spawn()?.join()?;
            assert!(queue.is_full());
            let got = catch_unwind(AssertUnwindSafe(|| queue.get()));
            match (what, got) {
                (0, Ok(Err(error @ GetError::Decode(_)))) => {
                    assert!(error.to_string().contains("on purpose"), "{error}");
                }
                (1, Err(_panic)) => {}
                (_, other) => panic!("{other:?}"),
            }
            queue.try_put(Trouble::None(what))?;
            assert_eq!(get_number(queue.clone()).spawn()?.join()?, what);
        }
    }
}

fn length() -> usize {
    if tests::long() {
        return (2 << 30) + 1;
    }
    not_tested("an item of 2 GiB", "it takes 8 GiB; set OFFSPRING_LONG_TESTS=1. Now 300 MB");
    300_000_000
}

each_start_method! {
    only [forkserver ForkServer]
    fn an_item_longer_than_32_bits_can_say_arrives() {
        let len = length();
        let queue = Queue::unbounded()?;
        let child = put_and_return(queue.clone(), 2, len).spawn()?;
        for turn in 0..2 {
            let item = queue.get()?;
            assert_eq!(item.len(), len);
            assert!(item.bytes().step_by(4099).all(|byte| byte == b'a' + turn));
        }
        child.join()?;
    }
}
