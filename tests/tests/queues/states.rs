//! Empty, full, and between: after crossbeam's `array.rs` and `list.rs`, and Go's `TestChan`.

use std::time::{Duration, Instant};

use nix::unistd::gettid;
use offspring::queue::{GetTimeoutError, PutTimeoutError, TryGetError, TryPutError};
use offspring::{Error, Queue, Sender, pipe, process};
use tests::crew::{By, until_asleep};
use tests::each_start_method;

use super::{LONG, Outcome, SHORT};

#[test]
fn smoke() {
    for queue in [Queue::bounded(1).unwrap(), Queue::unbounded().unwrap()] {
        let _other = queue.clone();
        queue.put(7).unwrap();
        assert_eq!(queue.try_get().unwrap(), 7);
        queue.try_put(8).unwrap();
        assert_eq!(queue.get().unwrap(), 8);
        assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
        assert!(matches!(queue.get_timeout(SHORT), Err(GetTimeoutError::Timeout)));
    }
}

#[test]
fn capacity_is_what_it_was_made_with() {
    for capacity in [1, 2, 3, 10, 1000, 1 << 31] {
        assert_eq!(Queue::<u64>::bounded(capacity).unwrap().capacity(), Some(capacity));
    }
    assert_eq!(Queue::<u64>::unbounded().unwrap().capacity(), None);
    match Queue::<u64>::bounded((1 << 31) + 1) {
        Err(Error::TooLarge { len, max, .. }) => assert_eq!((len, max), ((1 << 31) + 1, 1 << 31)),
        other => panic!("{other:?}"),
    }
}

#[test]
#[should_panic(expected = "a queue for 0 items takes none")]
fn a_capacity_of_nothing_is_refused() {
    let _ = Queue::<u64>::bounded(0);
}

#[test]
fn len_empty_full() {
    let queue = Queue::bounded(2).unwrap();
    let state = |queue: &Queue<u64>| (queue.len(), queue.is_empty(), queue.is_full());
    assert_eq!(state(&queue), (0, true, false));
    queue.put(1).unwrap();
    assert_eq!(state(&queue), (1, false, false));
    queue.put(2).unwrap();
    assert_eq!(state(&queue), (2, false, true));
    assert_eq!(state(&queue.clone()), (2, false, true));
    queue.get().unwrap();
    assert_eq!(state(&queue), (1, false, false));

    let endless = Queue::unbounded().unwrap();
    endless.put_many(0..10_000).unwrap();
    assert_eq!(state(&endless), (10_000, false, false));
}

/// A bounded queue is as full on its thousandth round as on its first.
#[test]
fn full_on_every_round() {
    for capacity in [1, 2, 3, 7] {
        let queue = Queue::bounded(capacity).unwrap();
        for round in 0..1000 {
            for item in 0..capacity {
                queue.try_put((round, item)).unwrap();
            }
            assert!(matches!(queue.try_put((round, capacity)), Err(TryPutError::Full(_))));
            for item in 0..capacity {
                assert_eq!(queue.try_get().unwrap(), (round, item));
            }
            assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
        }
    }
}

#[test]
fn an_iterator_over_what_is_there_does_not_wait() {
    let queue = Queue::unbounded().unwrap();
    queue.put_many(0..3).unwrap();
    let mut items = queue.try_iter();
    assert_eq!(items.by_ref().collect::<Vec<_>>(), [0, 1, 2]);
    queue.put(3).unwrap();
    assert_eq!((items.next(), items.next()), (Some(3), None));
    assert!(items.error().is_none());
    queue.close();
    assert_eq!(items.next(), None);
    assert!(items.error().is_none());
}

#[test]
fn a_clone_is_the_same_queue() {
    let queue = Queue::<u64>::unbounded().unwrap();
    assert!(queue.same_queue(&queue.clone()));
    assert!(!queue.same_queue(&Queue::unbounded().unwrap()));
}

#[test]
fn debug_shows_how_it_is() {
    let queue = Queue::bounded(3).unwrap();
    queue.put("text").unwrap();
    queue.close();
    let shown = format!("{queue:?}");
    assert!(shown.contains("len: 1, capacity: Some(3), closed: true"), "{shown}");
    assert!(shown.contains(file!()), "{shown}");
}

#[test]
fn timeouts_are_no_shorter_than_they_are_told() {
    let full = Queue::bounded(1).unwrap();
    full.put(1).unwrap();
    let empty = Queue::<u64>::bounded(1).unwrap();
    let _others = (full.clone(), empty.clone());
    for timeout in [Duration::ZERO, SHORT, Duration::from_millis(550)] {
        let before = Instant::now();
        assert!(matches!(empty.get_timeout(timeout), Err(GetTimeoutError::Timeout)));
        assert!(before.elapsed() >= timeout);
        let before = Instant::now();
        assert!(matches!(full.put_timeout(2, timeout), Err(PutTimeoutError::Timeout(2))));
        assert!(before.elapsed() >= timeout);
    }
}

/// Says who it is, and waits for an item.
#[process]
fn get(queue: Queue<u64>, about_to: Sender<i32>) -> u64 {
    about_to.send(gettid().as_raw()).unwrap();
    queue.get_timeout(LONG).unwrap()
}

/// Says who it is, and waits for room.
#[process]
fn put(queue: Queue<u64>, item: u64, about_to: Sender<i32>) {
    about_to.send(gettid().as_raw()).unwrap();
    queue.put_timeout(item, LONG).unwrap();
}

/// Go's `TestChan`, its first parts; crossbeam's `recv` and `send`.
fn who_waits_is_woken(by: By) -> Outcome {
    let (about_to, waiting) = pipe()?;
    for capacity in [1, 3] {
        let queue = Queue::bounded(capacity)?;
        let getter = by.start(get(queue.clone(), about_to.clone()));
        until_asleep(waiting.recv()?);
        assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
        queue.put(0)?;
        assert_eq!(getter.join(), 0);

        queue.put_many(1..=capacity as u64).unwrap();
        let putter = by.start(put(queue.clone(), 99, about_to.clone()));
        until_asleep(waiting.recv()?);
        assert!(matches!(queue.try_put(100), Err(TryPutError::Full(100))));
        assert_eq!(queue.len(), capacity);
        assert_eq!(queue.get()?, 1);
        putter.join();
        assert!(queue.is_full());
        let rest = queue.get_many(10).unwrap();
        assert_eq!(rest, (2..=capacity as u64).chain([99]).collect::<Vec<_>>());
    }
    Ok(())
}

/// As many as there are items are woken, and each gets one.
fn each_item_wakes_one(by: By) -> Outcome {
    let queue = Queue::unbounded()?;
    let (about_to, waiting) = pipe()?;
    let mut getters = Vec::new();
    for _ in 0..4 {
        getters.push(by.start(get(queue.clone(), about_to.clone())));
        until_asleep(waiting.recv()?);
    }
    queue.put(0)?;
    queue.put_many(1..4).unwrap();
    let mut got: Vec<_> = getters.into_iter().map(|getter| getter.join()).collect();
    got.sort();
    assert_eq!(got, [0, 1, 2, 3]);
    Ok(())
}

each_start_method! {
    fn who_waits_in_another_process_is_woken() {
        who_waits_is_woken(By::Children)?;
    }

    only [spawn Spawn]
    fn who_waits_on_another_thread_is_woken() {
        who_waits_is_woken(By::Threads)?;
    }

    fn each_item_wakes_one_process() {
        each_item_wakes_one(By::Children)?;
    }

    only [spawn Spawn]
    fn each_item_wakes_one_thread() {
        each_item_wakes_one(By::Threads)?;
    }
}
