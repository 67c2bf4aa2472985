//! A queue does what a `VecDeque` does, whatever is put and got in whatever order; and the ring gives
//! back what went in wherever it wraps, and stands any damage to its headers.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{GetError, PutError, Queue, TryGetError, TryPutError};
use crate::ring::{FIRST, Position, Record, Ring, State, Store, What};
use crate::sys::poll::Wait;

/// Bytes that are copied at once, and not one after the other.
#[derive(Clone, PartialEq)]
struct Bytes(Vec<u8>);

impl Bytes {
    /// Some that no others of the next million resemble.
    fn new(len: usize, number: u32) -> Self {
        let mut state = u64::from(number) << 20 | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut bytes: Vec<u8> =
            (0..len.min(4096).div_ceil(8)).flat_map(|_| random().to_le_bytes()).take(len).collect();
        while bytes.len() < len {
            let more = bytes.len().min(len - bytes.len());
            bytes.extend_from_within(..more);
        }
        Self(bytes)
    }
}

/// Not all of them.
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes {:02x?}..", self.0.len(), &self.0[..self.0.len().min(8)])
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;

        impl Visitor<'_> for Whole {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Whole).map_err(D::Error::custom)
    }
}

/// What is done to a queue. An item is given by its size.
#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    TryPut(usize),
    PutMany(Vec<usize>),
    Get,
    TryGet,
    GetMany(usize),
    /// As many as there are, down to so many.
    GetDownTo(usize),
    Close,
}

/// Mostly small; at the bounds of units, batches and pieces; and some that are large.
fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        200 => 0..200usize,
        60 => 200..5000usize,
        20 => 5000..300_000usize,
        20 => (prop::sample::select(vec![16, 1 << 10, FIRST, 2 * FIRST, 1 << 20]), 0..64usize)
            .prop_map(|(bound, more)| (bound + more).saturating_sub(40)),
        2 => (1_usize << 20)..(3 << 20),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        300 => sizes().prop_map(Step::Put),
        200 => sizes().prop_map(Step::TryPut),
        60 => vec(sizes(), 0..40).prop_map(Step::PutMany),
        250 => Just(Step::Get),
        150 => Just(Step::TryGet),
        60 => (0..60usize).prop_map(Step::GetMany),
        20 => (0..4usize).prop_map(Step::GetDownTo),
        2 => Just(Step::Close),
    ]
}

/// A queue, and what should be in it.
struct Pair {
    queue: Queue<Bytes>,
    model: VecDeque<Bytes>,
    capacity: usize,
    closed: bool,
    made: u32,
}

impl Pair {
    fn new(capacity: Option<usize>) -> Self {
        let queue = capacity.map_or_else(Queue::unbounded, Queue::bounded).unwrap();
        let capacity = capacity.unwrap_or(usize::MAX);
        Self { queue, model: VecDeque::new(), capacity, closed: false, made: 0 }
    }

    fn item(&mut self, size: usize) -> Bytes {
        self.made += 1;
        Bytes::new(size, self.made)
    }

    fn put(&mut self, size: usize) {
        let item = self.item(size);
        let full = self.model.len() == self.capacity;
        match self.queue.put(item.clone()) {
            Ok(()) => {
                assert!(!self.closed && !full);
                self.model.push_back(item);
            }
            Err(PutError::Closed(back)) => assert!(self.closed && back == item),
            // Nobody else is there who could make room.
            Err(PutError::Disconnected(back)) => assert!(!self.closed && full && back == item),
            Err(other) => panic!("{other}"),
        }
    }

    fn try_put(&mut self, size: usize) {
        let item = self.item(size);
        let full = self.model.len() == self.capacity;
        match self.queue.try_put(item.clone()) {
            Ok(()) => {
                assert!(!self.closed && !full);
                self.model.push_back(item);
            }
            Err(TryPutError::Closed(back)) => assert!(self.closed && back == item),
            Err(TryPutError::Full(back)) => assert!(!self.closed && full && back == item),
            Err(other) => panic!("{other}"),
        }
    }

    fn put_many(&mut self, sizes: &[usize]) {
        let items: Vec<_> = sizes.iter().map(|&size| self.item(size)).collect();
        let room = if self.closed { 0 } else { self.capacity - self.model.len() };
        let fit = room.min(items.len());
        let mut values = items.clone().into_iter();
        match self.queue.put_many(values.by_ref()) {
            Ok(()) => assert_eq!(fit, items.len()),
            Err(error) => {
                assert!(fit < items.len(), "{error}");
                match error.error() {
                    PutError::Closed(_) => assert!(self.closed),
                    PutError::Disconnected(_) => assert!(!self.closed),
                    other => panic!("{other}"),
                }
                assert_eq!(error.count(), fit);
                // What it has not come to is still where it was.
                let rest: Vec<_> = error.into_inner().into_iter().chain(values).collect();
                assert_eq!(rest, items[fit..]);
            }
        }
        self.model.extend(items.into_iter().take(fit));
    }

    fn get(&mut self) {
        match (self.queue.get(), self.model.pop_front()) {
            (Ok(item), expected) => assert_eq!(Some(item), expected),
            (Err(GetError::Closed), None) => assert!(self.closed),
            (Err(GetError::Disconnected), None) => assert!(!self.closed),
            (Err(other), expected) => panic!("{other}, and not {expected:?}"),
        }
    }

    fn try_get(&mut self) {
        match (self.queue.try_get(), self.model.pop_front()) {
            (Ok(item), expected) => assert_eq!(Some(item), expected),
            (Err(TryGetError::Closed), None) => assert!(self.closed),
            (Err(TryGetError::Empty), None) => assert!(!self.closed),
            (Err(other), expected) => panic!("{other}, and not {expected:?}"),
        }
    }

    fn get_many(&mut self, max: usize) {
        let expected: Vec<_> = self.model.drain(..max.min(self.model.len())).collect();
        match self.queue.get_many(max) {
            Ok(items) => assert_eq!(items, expected),
            Err(error) => {
                assert!(expected.is_empty() && max > 0, "{error}");
                match error.error() {
                    GetError::Closed => assert!(self.closed),
                    GetError::Disconnected => assert!(!self.closed),
                    other => panic!("{other}"),
                }
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Put(size) => self.put(size),
            Step::TryPut(size) => self.try_put(size),
            Step::PutMany(sizes) => self.put_many(&sizes),
            Step::Get => self.get(),
            Step::TryGet => self.try_get(),
            Step::GetMany(max) => self.get_many(max),
            Step::GetDownTo(left) => {
                while self.model.len() > left {
                    self.try_get();
                }
            }
            Step::Close => {
                self.queue.close();
                self.closed = true;
            }
        }
        self.agree();
    }

    fn agree(&self) {
        assert_eq!(self.queue.len(), self.model.len());
        assert_eq!(self.queue.is_empty(), self.model.is_empty());
        assert_eq!(self.queue.is_full(), self.model.len() == self.capacity);
        assert_eq!(self.queue.is_closed(), self.closed);
    }

    fn drain(&mut self) {
        while !self.model.is_empty() {
            self.try_get();
        }
        self.try_get();
        self.agree();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_queue_is_a_deque(
        capacity in prop::option::of(prop_oneof![1..4usize, 4..100usize]),
        all in vec(steps(), 1..80),
    ) {
        let mut pair = Pair::new(capacity);
        all.into_iter().for_each(|step| pair.step(step));
        pair.drain();
    }

    /// It fills, grows, is emptied, gives memory back, and fills again.
    #[test]
    fn a_queue_that_breathes_is_a_deque(
        breaths in vec((vec(sizes(), 1..150), 0..20usize), 1..6),
    ) {
        let mut pair = Pair::new(None);
        for (sizes, left) in breaths {
            sizes.into_iter().for_each(|size| pair.put(size));
            pair.step(Step::GetDownTo(left));
        }
        pair.drain();
    }
}

#[test]
fn items_of_64_mib_come_and_go() {
    const SIZE: usize = 64 << 20;
    let mut pair = Pair::new(None);
    pair.put(3);
    pair.put(SIZE);
    pair.put_many(&[5, SIZE + 1, 0]);
    pair.agree();
    pair.get();
    pair.get();
    pair.get_many(9);
    pair.drain();
}

/// A ring of its own, and what should be in it.
struct Alone {
    state: State,
    store: Store,
    model: VecDeque<(What, Bytes)>,
    made: u32,
}

impl Alone {
    /// One whose two sides have come up to there.
    fn at(start: Position) -> Self {
        const MARK: u32 = 7;
        let store = Store::create().unwrap();
        let mut alone = Self { state: State::new(None), store, model: VecDeque::new(), made: 0 };
        alone.put(&[0; MARK as usize]);
        alone.get(usize::MAX);
        // Both sides are at (7, 7) now. The consumers' can be moved; that of the producers moves only
        // as it writes, so its number is looked for, on the cache lines' first words.
        {
            let mut side = alone.ring().consuming(Wait::Never).unwrap();
            side.take(Position { at: 0, count: 0 });
            side.publish();
        }
        let lines = size_of::<State>() / 64;
        let state = (&raw mut alone.state).cast::<u8>();
        let tail = (0..lines)
            // SAFETY: within the state, which nobody else uses; these words are atomic ones, or
            // part of atomic ones.
            .find(|line| unsafe {
                (*state.add(64 * line).cast::<AtomicU32>()).load(Ordering::SeqCst) == MARK
            })
            .expect("the tail is on a line of its own");
        // SAFETY: it is an `AtomicU64`.
        let tail = unsafe { &*state.add(64 * tail).cast::<AtomicU64>() };
        tail.store(u64::from(start.at) << 32 | u64::from(start.count), Ordering::SeqCst);
        // Who follows a dead producer goes by that number.
        std::thread::scope(|scope| {
            let state = &alone.state;
            let store = &alone.store;
            let die = move || std::mem::forget(Ring { state, store }.producing(Wait::Never));
            scope.spawn(die).join().unwrap();
        });
        let mut side =
            Ring { state: &alone.state, store: &alone.store }.consuming(Wait::Never).unwrap();
        // What it remembers of the tail must be of now.
        side.take(Position { at: MARK, count: MARK });
        let _ = side.next();
        side.take(start);
        side.publish();
        drop(side);
        assert_eq!(alone.state.count(), 0);
        alone
    }

    fn ring(&self) -> Ring<'_> {
        Ring { state: &self.state, store: &self.store }
    }

    /// Puts all of these at once.
    fn put(&mut self, sizes: &[usize]) {
        let mut side =
            Ring { state: &self.state, store: &self.store }.producing(Wait::Never).unwrap();
        for &size in sizes {
            self.made += 1;
            let what = match self.made % 5 {
                0 => What::Beside(self.made as u16),
                _ => What::Item,
            };
            let bytes = Bytes::new(size, self.made);
            let place = side.reserve(size).unwrap();
            side.write(place, what, &bytes.0);
            self.model.push_back((what, bytes));
        }
        side.publish();
    }

    /// Gets so many, and says how many there were.
    fn get(&mut self, max: usize) -> usize {
        let ring = Ring { state: &self.state, store: &self.store };
        let mut side = ring.consuming(Wait::Never).unwrap();
        let mut count = 0;
        while count < max {
            let Some(record) = side.next().unwrap() else { break };
            let (what, bytes) = self.model.pop_front().expect("nothing is left");
            assert_eq!(record.what, what);
            assert!(record.payload == bytes.0, "{what:?} of {} bytes", bytes.0.len());
            let after = record.after;
            side.take(after);
            count += 1;
        }
        side.publish();
        side.tidy();
        drop(side);
        assert_eq!(self.state.count() as usize, self.model.len());
        count
    }
}

/// Where the sides may stand when it begins: also just before the positions go round.
fn starts() -> impl Strategy<Value = Position> {
    let near =
        || prop_oneof![0..40_000u32, any::<u32>(), (0..40_000u32).prop_map(|back| u32::MAX - back)];
    (near(), near()).prop_map(|(at, count)| Position { at, count })
}

/// Of records, without those that take long.
fn record_sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        30 => 0..100usize,
        10 => 100..5000usize,
        5 => 5000..70_000usize,
        2 => 70_000..600_000usize,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn records_come_out_as_they_went_in(
        start in starts(),
        rounds in vec((vec(record_sizes(), 0..12), 0..14usize), 1..40),
    ) {
        let mut alone = Alone::at(start);
        for (sizes, count) in rounds {
            alone.put(&sizes);
            alone.get(count);
        }
        alone.get(usize::MAX);
        prop_assert!(alone.model.is_empty());
    }

    /// The ring is never more than some records long, and so goes round again and again.
    #[test]
    fn records_come_out_round_after_round(
        start in starts(),
        lag in 0..20usize,
        sizes in vec(0..3000usize, 100..400),
    ) {
        let mut alone = Alone::at(start);
        for size in sizes {
            alone.put(&[size]);
            if alone.model.len() > lag {
                alone.get(1);
            }
        }
        alone.get(usize::MAX);
    }

    #[test]
    fn any_bytes_for_a_header_are_an_error_or_other_records(
        start in starts(),
        sizes in vec(record_sizes(), 1..30),
        victim in any::<prop::sample::Index>(),
        len in prop_oneof![any::<u64>(), 0..100_000u64, (0..34u32).prop_map(|bit| 1 << bit)],
        kind in prop_oneof![1..=4u32, any::<u32>()],
        tag: u32,
    ) {
        let mut alone = Alone::at(start);
        alone.put(&sizes);
        let Alone { state, store, .. } = &alone;
        let mut side = Ring { state, store }.consuming(Wait::Never).unwrap();
        let mut at = vec![start];
        while let Some(Record { after, .. }) = side.next().unwrap() {
            side.take(after);
            at.push(after);
        }
        let end = at.pop().unwrap();
        // That of the record, or of the filler before it.
        let victim = at[victim.index(at.len())].at & (ring_units(state) - 1);
        let header = store.at(victim as usize * 16, 16).unwrap();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&len.to_ne_bytes());
        bytes[8..12].copy_from_slice(&kind.to_ne_bytes());
        bytes[12..].copy_from_slice(&tag.to_ne_bytes());
        // SAFETY: it is mapped, and nobody looks meanwhile.
        unsafe { header.cast().write_unaligned(bytes) };
        side.take(start);
        let mut left = sizes.len();
        while let Ok(Some(Record { payload, after, .. })) = side.next() {
            prop_assert!(left > 0, "more records than were put");
            left -= 1;
            // All of it can be read.
            std::hint::black_box(payload.iter().step_by(512).map(|byte| u64::from(*byte)).sum::<u64>());
            let far = after.at.wrapping_sub(start.at) <= end.at.wrapping_sub(start.at);
            prop_assert!(far, "{after:?} is beyond the tail, {end:?}");
            side.take(after);
        }
        side.publish();
        drop(side);
        alone.put(&[5]);
    }
}

/// How long the ring is: from what it says of itself.
fn ring_units(state: &State) -> u32 {
    let text = format!("{state:?}");
    let (_, rest) = text.rsplit_once(" len: ").unwrap();
    rest.split([',', ' ']).next().unwrap().parse().unwrap()
}
