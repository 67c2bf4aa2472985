//! What is called when a task is done.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use offspring::{Pool, TaskError};
use tests::each_start_method;
use tests::tasks::{Stop, exit, fail, square};

use super::LONG;

each_start_method! {
    /// `test_map_async_callbacks`, `test_async_error_callback`
    fn test_async_error_callback_and_callback_are_called_once() {
        let pool = Pool::new(2)?;
        let (tx, rx) = mpsc::channel();
        for x in 0..100 {
            let tx = tx.clone();
            pool.submit(square(x)).on_done(move |result| tx.send((x, result)).unwrap());
        }
        let failing = tx.clone();
        pool.submit(fail("on purpose".into())).on_done(move |result| failing.send((100, result)).unwrap());
        let dying = tx.clone();
        pool.submit(exit(3)).on_done(move |result| dying.send((101, result)).unwrap());
        drop(tx);
        let mut all: Vec<_> = rx.iter().collect(); // until each callback is gone
        all.sort_by_key(|(x, _)| *x);
        assert_eq!(all.len(), 102);
        assert!(matches!(&all[101].1, Err(TaskError::WorkerDied(death)) if death.code() == Some(3)));
        assert!(matches!(&all[100].1, Err(TaskError::Panicked(_))));
        for (x, result) in all.drain(..100) {
            assert_eq!(result?, x * x);
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_callback_for_what_is_done_already_is_called_too() {
        let pool = Pool::new(2)?;
        let job = pool.submit(square(3));
        assert!(job.wait_timeout(LONG));
        let (tx, rx) = mpsc::channel();
        let main = thread::current().id();
        job.on_done(move |result| tx.send((result, thread::current().id())).unwrap());
        let (result, by) = rx.recv()?;
        assert_eq!(result?, 9);
        assert_ne!(by, main, "on the pool's own thread");
    }

    only [forkserver ForkServer, spawn Spawn]
    /// Its panic is printed, and the next is called.
    fn a_callback_that_panics_harms_no_other() {
        let pool = Pool::new(2)?;
        let (tx, rx) = mpsc::channel();
        for x in 0..10 {
            let tx = tx.clone();
            pool.submit(square(x)).on_done(move |result| {
                assert!(x % 2 == 0, "no odd ones");
                tx.send(result.unwrap()).unwrap();
            });
        }
        drop(tx);
        let mut all: Vec<_> = rx.iter().collect();
        all.sort();
        assert_eq!(all, [0, 4, 16, 36, 64]);
        assert_eq!(pool.apply(square(7))?, 49);
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_callback_may_use_the_pool() {
        let pool = Arc::new(Pool::new(2)?);
        let (tx, rx) = mpsc::channel();
        let own = Arc::clone(&pool);
        pool.submit(square(2)).on_done(move |result| {
            let x = result.unwrap();
            assert_eq!(own.apply(square(x)).unwrap(), 16);
            assert_eq!(own.map(square, 0..3).unwrap(), [0, 1, 4]);
            assert_eq!(own.imap(square, 0..).take(3).count(), 3);
            let again = tx;
            own.submit(square(10)).on_done(move |result| again.send(result.unwrap()).unwrap());
        });
        assert_eq!(rx.recv()?, 100);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn callbacks_are_called_before_join_returns() {
        let pool = Pool::new(2)?;
        let sum = Arc::new(Mutex::new(0));
        for x in 0..200 {
            let sum = Arc::clone(&sum);
            pool.submit(square(x)).on_done(move |result| *sum.lock().unwrap() += result.unwrap());
        }
        pool.join()?;
        assert_eq!(*sum.lock().unwrap(), (0..200).map(|x| x * x).sum::<u64>());
    }

    only [forkserver ForkServer, spawn Spawn]
    fn callbacks_are_told_that_the_pool_was_ended() {
        let stop = Stop::new()?;
        let pool = Pool::new(1)?;
        let (tx, rx) = mpsc::channel();
        for _ in 0..10 {
            let tx = tx.clone();
            pool.submit(stop.hold()).on_done(move |result| tx.send(result).unwrap());
        }
        drop(tx);
        stop.arrival();
        drop(pool);
        let all: Vec<_> = rx.iter().collect();
        assert_eq!(all.len(), 10);
        assert!(all.iter().all(|result| matches!(result, Err(TaskError::PoolClosed { .. }))));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_callback_given_to_a_closed_pool_is_called() {
        let pool = Pool::new(1)?;
        let done = pool.submit(square(3));
        pool.close();
        let (tx, rx) = mpsc::channel();
        let refused = tx.clone();
        pool.submit(square(4)).on_done(move |result| refused.send(result.is_err()).unwrap());
        assert!(rx.recv()?);
        done.on_done(move |result| tx.send(result.is_err()).unwrap());
        assert!(!rx.recv()?);
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_callback_given_after_the_end_of_the_pool_is_called_or_dropped() {
        let pool = Pool::new(1)?;
        let done = pool.submit(square(3));
        assert!(done.wait_timeout(LONG));
        pool.join()?;
        let (tx, rx) = mpsc::channel();
        done.on_done(move |result| tx.send(result).unwrap());
        assert_eq!(rx.recv()??, 9);
    }
}
