//! Semaphores: Python's `_TestSemaphore`, and permits whose holder is gone.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use nix::unistd::gettid;
use offspring::sync::{
    AcquireError, AcquireTimeoutError, Mutex, ReleaseError, Semaphore, TryAcquireError,
};
use offspring::{Error, Receiver, Sender, pipe, process};
use serde::{Deserialize, Serialize};
use tests::crew::{By, Worker, daemon, until_asleep};
use tests::each_start_method;

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(50);

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Python's `_test_semaphore`, with another who looks.
fn two_permits(semaphore: &Semaphore, by: By) {
    let seen = |permits| {
        assert_eq!(semaphore.available(), permits);
        assert_eq!(by.start(look(semaphore.clone())).join(), (permits, permits > 0));
    };
    seen(2);
    let first = semaphore.acquire().unwrap();
    seen(1);
    let second = semaphore.acquire().unwrap();
    seen(0);
    assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::WouldBlock);
    seen(0);
    drop(first);
    seen(1);
    drop(second);
    seen(2);
}

/// How many permits there seem to be, and whether one can be had.
#[process]
fn look(semaphore: Semaphore) -> (usize, bool) {
    (semaphore.available(), semaphore.try_acquire().is_ok())
}

fn test_semaphore(by: By) -> Outcome {
    let semaphore = Semaphore::new(2)?;
    two_permits(&semaphore, by);
    for permits in [3, 4] {
        semaphore.release(1)?;
        assert_eq!(by.start(look(semaphore.clone())).join(), (permits, true));
    }
    semaphore.release(0)?;
    assert_eq!(semaphore.available(), 4);
    Ok(())
}

fn test_bounded_semaphore(by: By) -> Outcome {
    let semaphore = Semaphore::bounded(2)?;
    two_permits(&semaphore, by);
    let refused = |wanted| match semaphore.release(wanted) {
        Err(ReleaseError::Bounded { wanted: told, released: 0, .. }) => assert_eq!(told, wanted),
        other => panic!("{other:?}"),
    };
    refused(1);
    assert_eq!(semaphore.available(), 2);
    let held = semaphore.acquire()?;
    refused(1); // it comes back when it is dropped
    held.forget();
    refused(2);
    assert_eq!(semaphore.available(), 1);
    by.start(release(semaphore.clone(), 1)).join();
    refused(1);
    two_permits(&semaphore, by);
    let text = semaphore.release(1).unwrap_err().to_string();
    assert!(text.contains("0 of 1 permits released: the semaphore is bounded"), "{text}");
    Ok(())
}

#[process]
fn release(semaphore: Semaphore, permits: usize) {
    semaphore.release(permits).unwrap();
}

/// Holds a permit until the case lets go of it.
#[process]
fn hold(semaphore: Semaphore, held: Sender<()>, until: Receiver<()>) {
    let _permit = semaphore.acquire().unwrap();
    held.send(()).unwrap();
    let _ = until.recv();
}

fn test_timeout(by: By) -> Outcome {
    let none = Semaphore::new(0)?;
    let taken = Semaphore::new(1)?;
    let (held, is_held) = pipe()?;
    let (release, until) = pipe()?;
    let holder = by.start(hold(taken.clone(), held, until));
    is_held.recv()?;
    for semaphore in [&none, &taken] {
        assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::WouldBlock);
        for timeout in [Duration::ZERO, SHORT] {
            let before = Instant::now();
            let error = semaphore.acquire_timeout(timeout).unwrap_err();
            assert_eq!(error, AcquireTimeoutError::Timeout);
            assert!(before.elapsed() >= timeout);
        }
    }
    drop(release);
    drop(taken.acquire_timeout(Duration::MAX)?);
    holder.join();
    drop(taken.acquire_timeout(Duration::ZERO)?);
    Ok(())
}

each_start_method! {
    /// `test_semaphore`
    fn test_semaphore_counts_up_and_down() {
        test_semaphore(By::Children)?;
    }

    only [spawn Spawn]
    fn test_semaphore_between_threads() {
        test_semaphore(By::Threads)?;
    }

    /// `test_bounded_semaphore`
    fn test_bounded_semaphore_has_no_more_than_at_first() {
        test_bounded_semaphore(By::Children)?;
    }

    only [spawn Spawn]
    fn test_bounded_semaphore_between_threads() {
        test_bounded_semaphore(By::Threads)?;
    }

    /// `test_timeout`
    fn test_timeout_is_no_shorter_than_it_is_told() {
        test_timeout(By::Children)?;
    }

    only [spawn Spawn]
    fn test_timeout_between_threads() {
        test_timeout(By::Threads)?;
    }
}

/// Is one of those who are let in, so often; gives the most that were.
#[process]
fn enter(semaphore: Semaphore, inside: Mutex<usize>, times: usize) -> usize {
    let most = (0..times).map(|_| {
        let _permit = semaphore.acquire().unwrap();
        *inside.lock().unwrap() += 1;
        thread::yield_now();
        let now = *inside.lock().unwrap();
        *inside.lock().unwrap() -= 1;
        now
    });
    most.max().unwrap()
}

fn no_more_than_the_permits_are_inside(by: By) -> Outcome {
    let (semaphore, inside) = (Semaphore::new(2)?, Mutex::new(0)?);
    let workers: Vec<_> =
        (0..5).map(|_| by.start(enter(semaphore.clone(), inside.clone(), 300))).collect();
    for worker in workers {
        assert!((1..=2).contains(&worker.join()));
    }
    assert_eq!((semaphore.available(), *inside.lock().unwrap()), (2, 0));
    Ok(())
}

/// Says who it is, waits for a permit, says so, and uses it up.
#[process]
fn use_up(semaphore: Semaphore, about_to: Sender<i32>, had: Sender<()>) {
    about_to.send(gettid().as_raw()).unwrap();
    semaphore.acquire().unwrap().forget();
    had.send(()).unwrap();
}

/// As a signal: as many as are released are woken, and no others.
fn released_permits_wake_as_many(by: By) -> Outcome {
    let semaphore = Semaphore::new(0)?;
    let (about_to, waiting) = pipe()?;
    let (had, have) = pipe()?;
    let mut tids = Vec::new();
    let workers: Vec<_> = (0..6)
        .map(|_| {
            let worker = by.start(use_up(semaphore.clone(), about_to.clone(), had.clone()));
            let tid = waiting.recv().unwrap();
            until_asleep(tid);
            tids.push(tid);
            worker
        })
        .collect();
    for released in [1, 3, 2] {
        semaphore.release(released)?;
        (0..released).try_for_each(|_| have.recv())?;
        assert_eq!(semaphore.available(), 0);
        assert!(!have.poll(Duration::ZERO)?);
    }
    workers.into_iter().for_each(Worker::join);
    assert_eq!(semaphore.available(), 0);
    Ok(())
}

each_start_method! {
    fn no_more_processes_than_permits_are_inside() {
        no_more_than_the_permits_are_inside(By::Children)?;
    }

    only [spawn Spawn]
    fn no_more_threads_than_permits_are_inside() {
        no_more_than_the_permits_are_inside(By::Threads)?;
    }

    fn released_permits_wake_as_many_processes() {
        released_permits_wake_as_many(By::Children)?;
    }

    only [spawn Spawn]
    fn released_permits_wake_as_many_threads() {
        released_permits_wake_as_many(By::Threads)?;
    }
}

/// How a holder comes to grief.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Grief {
    Panic,
    Exit,
    Kill,
    /// A thread leaks its permits, and ends; its process goes on.
    Leak,
}

/// Takes so many permits, and comes to grief with them when it is told.
#[process]
fn come_to_grief(
    semaphore: Semaphore,
    permits: usize,
    how: Grief,
    held: Sender<()>,
    go: Receiver<()>,
    until: Receiver<()>,
) {
    let lose = move || {
        let taken: Vec<_> = (0..permits).map(|_| semaphore.acquire().unwrap()).collect();
        held.send(()).unwrap();
        let _ = go.recv();
        match how {
            Grief::Panic => resume_unwind(Box::new("on purpose")),
            Grief::Exit => std::process::exit(0),
            Grief::Kill => raise(Signal::SIGKILL).unwrap(),
            Grief::Leak => std::mem::forget(taken),
        }
    };
    if how == Grief::Leak {
        thread::spawn(lose).join().unwrap();
        let _ = until.recv();
    } else {
        lose();
    }
}

/// Says who it is, and waits for a permit; the case takes it from there.
#[process]
fn acquire(semaphore: Semaphore, about_to: Sender<i32>) {
    about_to.send(gettid().as_raw()).unwrap();
    drop(semaphore.acquire().unwrap());
}

/// Whoever waits gets what the lost one had, and then all of it is there again.
fn lost_permits_come_back(by: By, how: Grief, permits: usize) -> Outcome {
    let semaphore = Semaphore::bounded(permits)?;
    let (held, is_held) = pipe()?;
    let (go, let_go) = pipe::<()>()?;
    let (release, until) = pipe::<()>()?;
    let clumsy = by.start(come_to_grief(semaphore.clone(), permits, how, held, let_go, until));
    is_held.recv()?;
    assert_eq!(semaphore.available(), 0);

    let (about_to, waiting) = pipe()?;
    let waiters: Vec<_> = (0..2)
        .map(|_| {
            let waiter = by.start(acquire(semaphore.clone(), about_to.clone()));
            until_asleep(waiting.recv().unwrap());
            waiter
        })
        .collect();
    drop(go);
    waiters.into_iter().for_each(Worker::join); // while that process lives, if it does
    drop(release);
    clumsy.bury();
    assert_eq!(semaphore.available(), permits);
    let all: Result<Vec<_>, _> = (0..permits.min(1000)).map(|_| semaphore.try_acquire()).collect();
    drop(all?);
    assert!(semaphore.release(1).is_err());
    Ok(())
}

each_start_method! {
    fn permits_of_a_process_that_ends_go_to_one_that_waits() {
        for how in [Grief::Panic, Grief::Exit, Grief::Kill, Grief::Leak] {
            for permits in [1, 3] {
                lost_permits_come_back(By::Children, how, permits)?;
            }
        }
    }

    only [spawn Spawn]
    fn permits_of_a_thread_that_ends_go_to_one_that_waits() {
        for how in [Grief::Panic, Grief::Leak] {
            for permits in [1, 3] {
                lost_permits_come_back(By::Threads, how, permits)?;
            }
        }
    }

    /// The kernel does not watch so many places.
    fn permits_of_a_process_that_is_killed_come_back_if_they_are_many() {
        for permits in [126, 127, 128, 1500] {
            lost_permits_come_back(By::Children, Grief::Kill, permits)?;
        }
    }

    fn a_waiter_that_is_killed_takes_no_permit() {
        let semaphore = Semaphore::new(0)?;
        let (about_to, waiting) = pipe()?;
        let (had, have) = pipe()?;
        let mut waiters = (0..6)
            .map(|_| {
                let child = daemon(use_up(semaphore.clone(), about_to.clone(), had.clone()))?;
                until_asleep(waiting.recv()?);
                Ok(child)
            })
            .collect::<Result<Vec<_>, Box<dyn std::error::Error>>>()?;
        // Some who came early, some who came late; and one at the moment when it is woken.
        for index in [4, 1, 0] {
            let victim = waiters.remove(index);
            victim.kill()?;
            victim.wait()?;
        }
        let victim = waiters.remove(0);
        semaphore.release(1)?;
        victim.kill()?;
        victim.wait()?;
        // Either it has used it up, or one of the others has it, or it is there.
        semaphore.release(2)?;
        for waiter in waiters {
            waiter.join()?;
        }
        (0..2).try_for_each(|_| have.recv())?;
        assert!(semaphore.available() <= 1);
    }

    /// Whoever is killed, at whatever moment, the permits are all there in the end.
    fn kills_at_random_moments_lose_no_permit() {
        let semaphore = Semaphore::bounded(3)?;
        let inside = Mutex::new(0)?;
        let start = || daemon(enter_for_ever(semaphore.clone(), inside.clone()));
        let mut workers = (0..4).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
        for round in 0..30 {
            for _ in 0..round * 7 % 30 {
                drop(semaphore.acquire()?);
            }
            let victim = workers.remove(0);
            victim.kill()?;
            victim.wait()?;
            workers.push(start()?);
        }
        for worker in workers {
            worker.kill()?;
            worker.wait()?;
        }
        assert_eq!(semaphore.available(), 3);
        let all = [semaphore.try_acquire()?, semaphore.try_acquire()?, semaphore.try_acquire()?];
        assert!(semaphore.release(1).is_err());
        drop(all);
    }
}

#[process]
fn enter_for_ever(semaphore: Semaphore, inside: Mutex<usize>) {
    loop {
        let _permit = semaphore.acquire().unwrap();
        // Whoever is killed here poisons this, and no more is asked of it.
        drop(inside.lock());
    }
}

each_start_method! {
    only [spawn Spawn]
    /// A permit comes back from a panic as well, and what happens then is in order.
    fn a_permit_comes_back_when_its_thread_panics() {
        let semaphore = Semaphore::new(1).unwrap();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _permit = semaphore.acquire().unwrap();
            resume_unwind(Box::new("on purpose"));
        }));
        assert_eq!(semaphore.available(), 1);
        drop(semaphore.try_acquire().unwrap());
    }
}

#[test]
fn there_are_no_more_permits_than_65_535() {
    let too_large = |result| match result {
        Err(Error::TooLarge { len, max, .. }) => assert_eq!((len, max), (65_536, 65_535)),
        other => panic!("{other:?}"),
    };
    too_large(Semaphore::new(65_536));
    too_large(Semaphore::bounded(65_536));
    assert_eq!(Semaphore::MAX_PERMITS, 65_535);

    for semaphore in [Semaphore::new(65_535).unwrap(), Semaphore::bounded(65_535).unwrap()] {
        assert_eq!(semaphore.available(), 65_535);
        assert!(semaphore.release(1).is_err());
        let permit = semaphore.acquire().unwrap();
        assert_eq!(semaphore.available(), 65_534);
        permit.forget();
        semaphore.release(1).unwrap();
        assert_eq!(semaphore.available(), 65_535);
    }
    // One that grows there.
    let semaphore = Semaphore::new(65_525).unwrap();
    semaphore.release(3).unwrap();
    match semaphore.release(10) {
        Err(ReleaseError::NoRoom {
            wanted: 10,
            released: 7,
            source: Error::TooLarge { .. },
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(semaphore.available(), 65_535);
}

each_start_method! {
    only [spawn Spawn]
    fn the_two_thousand_and_first_permit_of_a_thread_is_refused() {
        let semaphore = Semaphore::new(2100).unwrap();
        let mut permits: Vec<_> = (0..2000).map(|_| semaphore.acquire().unwrap()).collect();
        assert_eq!(semaphore.acquire().unwrap_err(), AcquireError::TooMany);
        assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::TooMany);
        assert_eq!(semaphore.acquire_timeout(LONG).unwrap_err(), AcquireTimeoutError::TooMany);
        assert_eq!(semaphore.available(), 100);
        thread::scope(|scope| scope.spawn(|| drop(semaphore.acquire().unwrap())).join().unwrap());
        permits.pop();
        drop(semaphore.acquire().unwrap());
        drop(permits);
        assert_eq!(semaphore.available(), 2100);
    }
}

#[test]
fn debug_shows_how_many_there_are() {
    let semaphore = Semaphore::bounded(3).unwrap();
    let permit = semaphore.acquire().unwrap();
    let shown = format!("{semaphore:?}");
    assert!(shown.contains("available: 2, bounded: true") && shown.contains(file!()), "{shown}");
    assert_eq!(format!("{permit:?}"), "Permit { .. }");
}
