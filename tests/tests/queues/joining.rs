//! Items that are done: `task_done` and `join`, beyond Python's case.

use std::time::{Duration, Instant};

use nix::unistd::gettid;
use offspring::queue::{QueueJoinError, TooManyDone};
use offspring::{Queue, Sender, pipe, process};
use tests::crew::{By, Worker, daemon, until_asleep};
use tests::each_start_method;

use super::{AMPLE, Outcome, SHORT};

#[test]
fn one_too_many_is_an_error() {
    let queue = Queue::unbounded().unwrap();
    assert_eq!(queue.task_done(), Err(TooManyDone));
    queue.put_many([1, 2]).unwrap();
    queue.task_done().unwrap(); // also before it is got, as in Python
    queue.get_many(2).unwrap();
    queue.task_done().unwrap();
    assert_eq!(queue.task_done(), Err(TooManyDone));
    queue.put(3).unwrap();
    queue.task_done().unwrap();
    assert_eq!(queue.task_done(), Err(TooManyDone));
    queue.join().unwrap();
}

#[test]
fn a_queue_that_was_never_used_is_joined_at_once() {
    let queue = Queue::<u64>::unbounded().unwrap();
    queue.join().unwrap();
    queue.join_timeout(Duration::ZERO).unwrap();
}

#[test]
fn join_timeout_is_no_shorter_than_it_is_told() {
    let queue = Queue::unbounded().unwrap();
    let _other = queue.clone();
    queue.put(1).unwrap();
    queue.get().unwrap();
    for timeout in [Duration::ZERO, SHORT, Duration::from_millis(550)] {
        let before = Instant::now();
        assert_eq!(queue.join_timeout(timeout), Err(QueueJoinError::Timeout));
        assert!(before.elapsed() >= timeout);
    }
    queue.task_done().unwrap();
    queue.join_timeout(Duration::ZERO).unwrap();
}

#[process]
fn join(queue: Queue<u64>, about_to: Sender<i32>) {
    about_to.send(gettid().as_raw()).unwrap();
    queue.join().unwrap();
}

#[process]
fn do_one(queue: Queue<u64>) {
    queue.get().unwrap();
    queue.task_done().unwrap();
}

fn the_last_one_done_wakes_all_who_join(by: By) -> Outcome {
    let (about_to, waiting) = pipe()?;
    let queue = Queue::bounded(2)?;
    queue.put_many([1, 2]).unwrap();
    let mut waiters = Vec::new();
    for _ in 0..3 {
        waiters.push(by.start(join(queue.clone(), about_to.clone())));
        until_asleep(waiting.recv()?);
    }
    by.start(do_one(queue.clone())).join();
    assert_eq!(queue.join_timeout(SHORT), Err(QueueJoinError::Timeout));
    by.start(do_one(queue.clone())).join();
    waiters.into_iter().for_each(Worker::join);
    Ok(())
}

/// Gets one, and dies with it, when there is another as well.
#[process]
fn get_and_die(queue: Queue<u64>) {
    queue.get().unwrap();
    std::process::abort();
}

each_start_method! {
    fn the_last_one_done_wakes_all_processes_that_join() {
        the_last_one_done_wakes_all_who_join(By::Children)?;
    }

    only [spawn Spawn]
    fn the_last_one_done_wakes_all_threads_that_join() {
        the_last_one_done_wakes_all_who_join(By::Threads)?;
    }

    /// What is never done is not waited for when nobody is left who could do it.
    fn who_joins_is_told_that_the_workers_are_gone() {
        let queue = Queue::unbounded()?;
        queue.put(1)?;
        let child = daemon(get_and_die(queue.clone()))?;
        assert_eq!(queue.join(), Err(QueueJoinError::Disconnected));
        assert_eq!(queue.join_timeout(AMPLE), Err(QueueJoinError::Disconnected));
        child.wait()?;
        queue.task_done()?;
        queue.join()?;
    }
}
