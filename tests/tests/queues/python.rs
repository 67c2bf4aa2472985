//! Python's cases, one by one.

use std::time::{Duration, Instant};

use offspring::queue::{
    GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError,
};
use offspring::{Queue, Receiver, Sender, pipe, process};
use tests::crew::daemon;
use tests::each_start_method;

use super::{Item, LONG, SHORT};

#[process]
fn get_six(queue: Queue<u64>, go: Receiver<()>) -> Vec<u64> {
    go.recv().unwrap();
    (0..6).map(|_| queue.get().unwrap()).collect()
}

/// Puts these when it is told, and stays there.
#[process]
fn put_and_stay(queue: Queue<u64>, items: Vec<u64>, put: Sender<()>, until: Receiver<()>) {
    for item in items {
        queue.put(item).unwrap();
    }
    put.send(()).unwrap();
    let _ = until.recv();
    drop(queue);
}

#[process]
fn put_ten(queue: Queue<u64>, from: u64) {
    for item in from..from + 10 {
        queue.put(item).unwrap();
    }
}

each_start_method! {
    /// `test_put`
    fn test_put_until_it_is_full() {
        let queue = Queue::bounded(6)?;
        let (go, told) = pipe()?;
        let child = daemon(get_six(queue.clone(), told))?;
        assert!(queue.is_empty() && !queue.is_full());

        queue.put(1)?;
        queue.put_timeout(2, LONG)?;
        queue.put_timeout(3, Duration::MAX)?;
        queue.put_timeout(4, Duration::ZERO)?;
        queue.try_put(5)?;
        assert!(!queue.is_empty() && !queue.is_full());
        queue.try_put(6)?;
        assert!(!queue.is_empty() && queue.is_full());

        assert!(matches!(queue.try_put(7), Err(TryPutError::Full(7))));
        for timeout in [Duration::ZERO, SHORT] {
            let before = Instant::now();
            assert!(matches!(queue.put_timeout(7, timeout), Err(PutTimeoutError::Timeout(7))));
            assert!(before.elapsed() >= timeout);
        }

        go.send(())?;
        assert_eq!(child.join()?, [1, 2, 3, 4, 5, 6]);
        assert!(queue.is_empty() && !queue.is_full());
    }

    /// `test_get`
    fn test_get_until_it_is_empty() {
        let queue = Queue::unbounded()?;
        let (put, is_put) = pipe()?;
        let (release, until) = pipe()?;
        let child = daemon(put_and_stay(queue.clone(), vec![2, 3, 4, 5], put, until))?;
        is_put.recv()?;
        assert!(!queue.is_empty());

        assert_eq!(queue.get()?, 2);
        assert_eq!(queue.get_timeout(LONG)?, 3);
        assert_eq!(queue.get_timeout(Duration::ZERO)?, 4);
        assert_eq!(queue.try_get()?, 5);
        assert!(queue.is_empty());

        assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
        for timeout in [Duration::ZERO, SHORT] {
            let before = Instant::now();
            assert!(matches!(queue.get_timeout(timeout), Err(GetTimeoutError::Timeout)));
            assert!(before.elapsed() >= timeout);
        }
        drop(release);
        child.join()?;
    }

    /// `test_fork`
    fn test_fork_of_a_child_that_puts_after_its_parent() {
        let queue = Queue::unbounded()?;
        for item in 0..10 {
            queue.put(item)?;
        }
        put_ten(queue.clone(), 10).spawn()?.join()?;
        for item in 0..20 {
            assert_eq!(queue.try_get()?, item);
        }
        assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
    }
}

#[test]
fn test_qsize() {
    let queue = Queue::unbounded().unwrap();
    assert_eq!(queue.len(), 0);
    queue.put(1).unwrap();
    assert_eq!(queue.len(), 1);
    queue.put(5).unwrap();
    assert_eq!(queue.len(), 2);
    queue.get().unwrap();
    assert_eq!(queue.len(), 1);
    queue.get().unwrap();
    assert_eq!(queue.len(), 0);
}

/// Does items until it is told that there are no more; gives how many.
#[process]
fn work(queue: Queue<Option<u64>>) -> u64 {
    let mut done = 0;
    while queue.get().unwrap().is_some() {
        queue.task_done().unwrap();
        done += 1;
    }
    done
}

each_start_method! {
    /// `test_task_done`
    fn test_task_done_by_four_workers() {
        let queue = Queue::unbounded()?;
        let workers: Vec<_> =
            (0..4).map(|_| daemon(work(queue.clone()))).collect::<Result<_, _>>()?;
        for item in 0..10 {
            queue.put(Some(item))?;
        }
        queue.join()?;
        assert!(queue.is_empty());
        queue.put_many([None; 4]).unwrap();
        let mut done = 0;
        for worker in workers {
            done += worker.join()?;
        }
        assert_eq!(done, 10);
        assert_eq!(queue.join_timeout(SHORT), Err(offspring::queue::QueueJoinError::Disconnected));
    }
}

/// `test_timeout`
#[test]
fn test_timeout_is_no_shorter_than_it_is_told() {
    let queue = Queue::<u64>::unbounded().unwrap();
    let _other = queue.clone();
    let (before, timeout) = (Instant::now(), Duration::from_millis(200));
    assert!(matches!(queue.get_timeout(timeout), Err(GetTimeoutError::Timeout)));
    assert!(before.elapsed() >= timeout);
}

#[process]
fn get_item(queue: Queue<Item>) -> u64 {
    match queue.get().unwrap() {
        Item::Good(number) => number,
        other => panic!("{other:?}"),
    }
}

each_start_method! {
    /// `test_queue_feeder_donot_stop_onexc`: nothing is stopped, and the slot is free.
    fn test_queue_feeder_donot_stop_onexc_of_what_cannot_be_encoded() {
        let queue = Queue::bounded(1)?;
        assert!(matches!(queue.put(Item::NotEncoded), Err(PutError::Encode(Item::NotEncoded, _))));
        assert!(queue.is_empty());
        queue.put_timeout(Item::Good(7), LONG)?;
        assert_eq!(get_item(queue.clone()).spawn()?.join()?, 7);
    }
}

/// `test_queue_feeder_on_queue_feeder_error`: no hook, but the error has the item and the reason.
#[test]
fn test_queue_feeder_on_queue_feeder_error_gives_the_item_and_the_reason() {
    let queue = Queue::bounded(1).unwrap();
    let error = queue.put(Item::NotEncoded).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("not put") && text.contains("does not want to leave"), "{text}");
    assert_eq!(error.into_inner(), Item::NotEncoded);
    assert!(matches!(queue.try_put(Item::NotEncoded), Err(TryPutError::Encode(..))));
    let error = queue.put_timeout(Item::NotEncoded, LONG);
    assert!(matches!(error, Err(PutTimeoutError::Encode(..))));
    assert!(queue.is_empty() && !queue.is_full());
}

#[process]
fn close(queue: Queue<u64>) {
    queue.close();
}

each_start_method! {
    /// `test_closed_queue_put_get_exceptions`
    fn test_closed_queue_put_get_exceptions_by_each_operation() {
        let queue = Queue::unbounded()?;
        close(queue.clone()).spawn()?.join()?; // for all, not for that process alone
        let error = queue.put(1).unwrap_err();
        assert_eq!(error.to_string(), "not put: the queue is closed");
        assert!(matches!(error, PutError::Closed(1)));
        assert!(matches!(queue.try_put(2), Err(TryPutError::Closed(2))));
        assert!(matches!(queue.put_timeout(3, LONG), Err(PutTimeoutError::Closed(3))));
        let error = queue.get().unwrap_err();
        assert!(error.to_string().contains("the queue is closed"), "{error}");
        assert!(matches!(error, GetError::Closed));
        assert!(matches!(queue.try_get(), Err(TryGetError::Closed)));
        assert!(matches!(queue.get_timeout(LONG), Err(GetTimeoutError::Closed)));
    }
}

/// `test_closed_queue_empty_exceptions`, and `test_empty_exceptions` of `TestSimpleQueue`.
#[test]
fn test_closed_queue_empty_exceptions_do_not_come() {
    let unused = Queue::<u64>::unbounded().unwrap();
    unused.close();
    assert!(unused.is_empty());
    let used = Queue::unbounded().unwrap();
    used.put(1).unwrap();
    used.close();
    assert!(!used.is_empty());
    used.get().unwrap();
    assert!(used.is_empty() && used.is_closed());
}

/// `TestSimpleQueue.test_empty`: says what it sees at each step.
#[process]
fn look_and_put(queue: Queue<u64>, go: Receiver<()>, seen: Sender<bool>) {
    go.recv().unwrap();
    seen.send(queue.is_empty()).unwrap();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    seen.send(queue.is_empty()).unwrap();
}

each_start_method! {
    /// `TestSimpleQueue.test_empty`
    fn test_empty_before_and_after() {
        let queue = Queue::unbounded()?;
        let (go, told) = pipe()?;
        let (seen, sees) = pipe()?;
        let child = daemon(look_and_put(queue.clone(), told, seen))?;
        assert!(queue.is_empty());
        go.send(())?;
        assert_eq!((sees.recv()?, sees.recv()?), (true, false));
        assert!(!queue.is_empty());
        assert_eq!((queue.get()?, queue.get()?), (1, 2));
        assert!(queue.is_empty());
        child.join()?;
    }
}

/// `TestSimpleQueue.test_close`, `TestSimpleQueue.test_closed`
#[test]
fn test_close_twice() {
    let queue = Queue::<u64>::unbounded().unwrap();
    assert!(!queue.is_closed());
    queue.close();
    assert!(queue.is_closed());
    queue.close();
    assert!(queue.is_closed() && queue.clone().is_closed());
}
