//! What the storm leaves to chance: a process is killed at one instruction after the other of
//! putting and of getting. Whoever is left puts and gets at once, and finds what it should.

use std::cell::Cell;
use std::error::Error;
use std::sync::atomic::Ordering;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use offspring::queue::{TryGetError, TryPutError};
use offspring::shm::Shared;
use offspring::{Child, Queue, process};
use serde::{Deserialize, Serialize};
use tests::each_start_method;
use tests::family::until;
use tests::steps::{
    self, BEGINS, Begin, ENDS, End, Steps, sleeper, stepping_sleeper, sweep_all_over, was_killed,
};

use super::item::Item;

/// Who made an item.
const BEFORE: u64 = 1;
const VICTIM: u64 = 2;
const PROBE: u64 = 3;
const OTHER: u64 = 4;

/// A size of items that go beside the ring.
const LARGE: usize = 3 << 19;
/// Nothing that is to come at once may take as long.
const PROMPT: Duration = Duration::from_secs(10);
/// Nothing that is to come at once takes as long, on a machine that is not busy.
const LATE: Duration = Duration::from_millis(300);

#[derive(Debug, Serialize, Deserialize)]
struct Parcel {
    end: End,
    item: Item,
    begin: Begin,
}

/// What an item is known by: its producer and its number.
type Name = (u64, u64);

impl Parcel {
    fn new((producer, number): Name, (len, with_handle): Kind) -> Self {
        let item = Item::new(producer, number, len, with_handle);
        Self { end: End, item, begin: Begin }
    }

    fn open(self) -> Name {
        self.item.check();
        (self.item.producer, self.item.number)
    }
}

/// How many bytes, and whether there is a handle in it.
type Kind = (usize, bool);

const SMALL: Kind = (20, false);
const HANDLE: Kind = (20, true);

type Parcels = Queue<Parcel>;

/// Puts items that are there before anybody dies.
fn prepare(queue: &Parcels, kinds: &[Kind]) -> Vec<Name> {
    let put = |(number, kind): (usize, &Kind)| {
        let name = (BEFORE, number as u64);
        queue.try_put(Parcel::new(name, *kind)).unwrap();
        name
    };
    kinds.iter().enumerate().map(put).collect()
}

#[process]
fn die_putting(queue: Parcels, steps: Shared<Steps>, kind: Kind, sleeps: bool) {
    steps::prepare(steps);
    BEGINS.store(!sleeps, Ordering::Relaxed);
    queue.put(Parcel::new((VICTIM, 1), kind)).unwrap();
    steps::mark();
    steps::end();
}

/// One that finds an item ends its steps when it decodes it; one that sleeps first, when it has
/// done all.
#[process]
fn die_getting(queue: Parcels, steps: Shared<Steps>, sleeps: bool) {
    steps::prepare(steps);
    ENDS.store(!sleeps, Ordering::Relaxed);
    if !sleeps {
        steps::begin();
    }
    let parcel = queue.get().unwrap();
    if sleeps {
        steps::mark();
        steps::end();
    }
    parcel.open();
}

fn ended(child: &Child<()>) -> bool {
    child.handle().wait_timeout(Duration::ZERO).unwrap().is_some()
}

fn try_get(queue: &Parcels, got: &mut Vec<Name>) -> bool {
    match queue.try_get() {
        Ok(parcel) => got.push(parcel.open()),
        Err(TryGetError::Empty) => return false,
        Err(other) => panic!("{other}"),
    }
    true
}

/// Puts and gets at once, until nothing is left. Gives what it has got, but for what it has put.
fn survive(queue: &Parcels) -> Vec<Name> {
    let mut got = Vec::new();
    if let Err(error) = queue.try_put(Parcel::new((PROBE, 0), SMALL)) {
        assert!(matches!(error, TryPutError::Full(_)), "{error}");
        assert!(try_get(queue, &mut got));
        queue.try_put(Parcel::new((PROBE, 0), SMALL)).unwrap();
    }
    while try_get(queue, &mut got) {}
    assert_eq!(got.pop(), Some((PROBE, 0)));
    assert_eq!(queue.len(), 0);
    for (number, kind) in [HANDLE, (LARGE, false), SMALL].into_iter().enumerate() {
        let probe = (PROBE, 1 + number as u64);
        queue.put_timeout(Parcel::new(probe, kind), PROMPT).unwrap();
        assert_eq!(queue.get_timeout(PROMPT).unwrap().open(), probe);
    }
    assert_eq!(queue.len(), 0);
    got
}

/// All are there, in this order, but perhaps the one that the victim had in its hands.
#[track_caller]
fn assert_all_but(doubtful: Name, got: &[Name], all: &[Name]) {
    let but: Vec<_> = all.iter().copied().filter(|name| *name != doubtful).collect();
    assert!(got == all || got == but, "{got:?}, and not {all:?} or without {doubtful:?}");
}

thread_local! {
    static WAS_LATE: Cell<bool> = const { Cell::new(false) };
}

/// Waits for what comes about without anybody's help, and notes if it takes long.
fn unaided(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    until(condition);
    if start.elapsed() > LATE {
        eprint!("({what} after {:?}) ", start.elapsed());
        WAS_LATE.set(true);
    }
}

/// As [`sweep_all_over`]; and who is woken must not be late each time that one dies at an instruction: then
/// nobody has woken it, and it has looked again by itself.
fn sweep_in_time(
    what: &str,
    mut dies: impl FnMut(&Shared<Steps>) -> bool,
) -> Result<(), Box<dyn Error>> {
    sweep_all_over(what, |steps| {
        WAS_LATE.set(false);
        let killed = dies(steps);
        for _ in 0..4 {
            if !WAS_LATE.replace(false) {
                return killed;
            }
            dies(&steps.again().unwrap());
        }
        assert!(!WAS_LATE.get(), "nobody has woken it");
        killed
    })
}

/// One dies while it puts.
fn dies_putting(steps: &Shared<Steps>, queue: &Parcels, before: &[Name], kind: Kind) -> bool {
    steps.count();
    let child = die_putting(queue.clone(), steps.clone(), kind, false).spawn().unwrap();
    let killed = was_killed(child);
    let got = survive(queue);
    let mut all = before.to_vec();
    all.push((VICTIM, 1));
    assert_all_but((VICTIM, 1), &got, &all);
    assert!(killed || got == all);
    killed
}

/// One dies while it gets the first item.
fn dies_getting(steps: &Shared<Steps>, queue: &Parcels, before: &[Name]) -> bool {
    steps.count();
    let child = die_getting(queue.clone(), steps.clone(), false).spawn().unwrap();
    let killed = was_killed(child);
    let got = survive(queue);
    assert_all_but(before[0], &got, before);
    assert!(killed || got == before[1..]);
    killed
}

/// Another consumer, or producer, that sleeps.
type Other<'scope> = ScopedJoinHandle<'scope, Name>;

fn get_one(queue: Parcels) -> impl FnOnce() -> Name + Send {
    move || queue.get().unwrap().open()
}

fn put_one(queue: Parcels) -> impl FnOnce() -> Name + Send {
    move || {
        queue.put(Parcel::new((OTHER, 1), SMALL)).unwrap();
        (OTHER, 1)
    }
}

/// Has the victim, or the other, come first, who both sleep: whom the kernel wakes is its affair. If
/// it was the other, `again` does for the victim what has woken that one.
fn die_woken(victim: Child<()>, other: &Other<'_>, mut again: impl FnMut()) -> bool {
    until(|| ended(&victim) || other.is_finished());
    if !ended(&victim) && other.is_finished() {
        again();
    }
    was_killed(victim)
}

each_start_method! {
    only [forkserver ForkServer]
    fn put_into_an_empty_queue() {
        sweep_all_over("put", |steps| {
            let queue = Queue::unbounded().unwrap();
            dies_putting(steps, &queue, &[], SMALL)
        })?;
    }

    only [forkserver ForkServer]
    fn put_into_a_bounded_queue() {
        sweep_all_over("put", |steps| {
            let queue = Queue::bounded(3).unwrap();
            let before = prepare(&queue, &[SMALL, SMALL]);
            dies_putting(steps, &queue, &before, SMALL)
        })?;
    }

    only [forkserver ForkServer]
    fn put_when_the_ring_must_grow() {
        const PART: Kind = (9000, false);
        sweep_all_over("put", |steps| {
            let queue = Queue::unbounded().unwrap();
            // It has gone round, so that records are copied.
            prepare(&queue, &[PART; 5]);
            (0..5).for_each(|_| drop(queue.try_get().unwrap()));
            let before = prepare(&queue, &[PART; 6]);
            dies_putting(steps, &queue, &before, PART)
        })?;
    }

    only [forkserver ForkServer]
    fn put_of_a_large_item() {
        sweep_all_over("put", |steps| {
            let queue = Queue::unbounded().unwrap();
            let before = prepare(&queue, &[SMALL, (LARGE, false), SMALL]);
            dies_putting(steps, &queue, &before, (LARGE, false))
        })?;
    }

    only [forkserver ForkServer]
    fn put_of_a_handle() {
        sweep_all_over("put", |steps| {
            let queue = Queue::bounded(64).unwrap();
            let before = prepare(&queue, &[SMALL, HANDLE]);
            dies_putting(steps, &queue, &before, HANDLE)
        })?;
    }

    only [forkserver ForkServer]
    fn put_when_a_consumer_sleeps() {
        sweep_in_time("put", |steps| {
            let queue = Queue::<Parcel>::unbounded().unwrap();
            thread::scope(|scope| {
                let consumer = sleeper(scope, get_one(queue.clone()));
                steps.count();
                let child = die_putting(queue.clone(), steps.clone(), SMALL, false);
                let killed = was_killed(child.spawn().unwrap());
                let len = queue.len();
                if len > 0 || !killed {
                    unaided("woken", || consumer.is_finished());
                }
                queue.put_timeout(Parcel::new((OTHER, 1), SMALL), PROMPT).unwrap();
                match consumer.join().unwrap() {
                    (VICTIM, 1) => assert_eq!(survive(&queue), [(OTHER, 1)]),
                    (OTHER, 1) => {
                        assert!(killed && len == 0);
                        assert_eq!(survive(&queue), []);
                    }
                    unknown => panic!("{unknown:?}"),
                }
                killed
            })
        })?;
    }

    only [forkserver ForkServer]
    fn put_when_there_is_room_again() {
        sweep_in_time("woken", |steps| {
            let queue = Queue::bounded(2).unwrap();
            prepare(&queue, &[SMALL, SMALL]);
            thread::scope(|scope| {
                let child = die_putting(queue.clone(), steps.clone(), SMALL, true).spawn().unwrap();
                let child = stepping_sleeper(child, steps);
                let producer = sleeper(scope, put_one(queue.clone()));
                let mut got = Vec::new();
                steps.count();
                assert!(try_get(&queue, &mut got));
                let killed = die_woken(child, &producer, || assert!(try_get(&queue, &mut got)));
                if queue.len() < 2 {
                    unaided("woken", || producer.is_finished());
                } else if !producer.is_finished() {
                    assert!(try_get(&queue, &mut got));
                }
                producer.join().unwrap();
                got.extend(survive(&queue));
                assert_eq!(got[..2], [(BEFORE, 0), (BEFORE, 1)]);
                got.drain(..2);
                got.sort();
                assert_all_but((VICTIM, 1), &got, &[(VICTIM, 1), (OTHER, 1)]);
                killed
            })
        })?;
    }

    only [forkserver ForkServer]
    fn get_of_a_small_item() {
        sweep_all_over("get", |steps| {
            let queue = Queue::bounded(3).unwrap();
            let before = prepare(&queue, &[SMALL; 3]);
            dies_getting(steps, &queue, &before)
        })?;
    }

    only [forkserver ForkServer]
    fn get_of_a_large_item() {
        sweep_all_over("get", |steps| {
            let queue = Queue::unbounded().unwrap();
            let before = prepare(&queue, &[(LARGE, false), SMALL, (LARGE, false)]);
            dies_getting(steps, &queue, &before)
        })?;
    }

    only [forkserver ForkServer]
    fn get_of_a_handle() {
        sweep_all_over("get", |steps| {
            let queue = Queue::bounded(4).unwrap();
            let before = prepare(&queue, &[HANDLE, SMALL, HANDLE, HANDLE]);
            dies_getting(steps, &queue, &before)
        })?;
    }

    only [forkserver ForkServer]
    fn get_of_the_last_item_of_a_ring_that_has_grown() {
        sweep_all_over("get", |steps| {
            let queue = Queue::unbounded().unwrap();
            let before = prepare(&queue, &[(500_000, false), (500_000, false), (500_000, false), SMALL]);
            (0..3).for_each(|_| drop(queue.try_get().unwrap()));
            dies_getting(steps, &queue, &before[3..])
        })?;
    }

    only [forkserver ForkServer]
    fn get_when_a_producer_sleeps() {
        sweep_in_time("get", |steps| {
            let queue = Queue::bounded(2).unwrap();
            prepare(&queue, &[SMALL, SMALL]);
            thread::scope(|scope| {
                let producer = sleeper(scope, put_one(queue.clone()));
                steps.count();
                let child = die_getting(queue.clone(), steps.clone(), false).spawn().unwrap();
                let killed = was_killed(child);
                let mut got = Vec::new();
                if queue.len() < 2 {
                    unaided("woken", || producer.is_finished());
                } else if !producer.is_finished() {
                    assert!(try_get(&queue, &mut got));
                }
                producer.join().unwrap();
                got.extend(survive(&queue));
                assert_all_but((BEFORE, 0), &got, &[(BEFORE, 0), (BEFORE, 1), (OTHER, 1)]);
                assert!(killed || got.len() == 2);
                killed
            })
        })?;
    }

    only [forkserver ForkServer]
    fn get_when_an_item_comes() {
        sweep_in_time("woken", |steps| {
            let queue = Queue::<Parcel>::unbounded().unwrap();
            thread::scope(|scope| {
                let child = die_getting(queue.clone(), steps.clone(), true).spawn().unwrap();
                let child = stepping_sleeper(child, steps);
                let consumer = sleeper(scope, get_one(queue.clone()));
                let mut put = 0;
                let mut put_one_more = || {
                    put += 1;
                    queue.put_timeout(Parcel::new((OTHER, put), SMALL), PROMPT).unwrap();
                };
                steps.count();
                put_one_more();
                let killed = die_woken(child, &consumer, &mut put_one_more);
                if !queue.is_empty() {
                    unaided("woken", || consumer.is_finished());
                }
                put_one_more();
                let mut got = vec![consumer.join().unwrap()];
                got.extend(survive(&queue));
                // Each once, in order, but perhaps one.
                assert!(got.is_sorted_by(|one, next| one < next), "{got:?}");
                assert!((put - 1..=put).contains(&(got.len() as u64)), "{got:?} of {put}");
                killed
            })
        })?;
    }
}
