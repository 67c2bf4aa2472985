//! Waiters, and workers at random moments, are killed: the others go on.

use offspring::sync::{LockError, Mutex, PoisonCause};
use offspring::{Sender, pipe, process};
use tests::crew::{daemon, until_asleep};
use tests::each_start_method;

use super::{Lock, take};

each_start_method! {
    fn a_waiter_that_is_killed_harms_nobody() {
        for lock in Lock::one_of_each()? {
            let (about_to, waiting) = pipe()?;
            let mut waiters = Vec::new();
            lock.hold(false, |_| {
                for _ in 0..4 {
                    let waiter = daemon(take(lock.clone(), about_to.clone())).unwrap();
                    until_asleep(waiting.recv().unwrap());
                    waiters.push(waiter);
                }
                for waiter in waiters.drain(..2) {
                    waiter.kill().unwrap();
                    waiter.wait().unwrap();
                }
            });
            for waiter in waiters {
                assert_eq!(waiter.join()?, Ok(1));
            }
            assert!(!lock.is_poisoned());
        }
    }
}

/// Changes two values in step, for ever.
#[process]
fn keep_in_step(mutex: Mutex<[u64; 2]>, begun: Sender<()>) {
    begun.send(()).unwrap();
    loop {
        let mut values = mutex.lock().unwrap_or_else(|error| error.into_inner());
        values[0] += 1;
        values[1] = values[0];
    }
}

each_start_method! {
    /// Whoever is killed, at whatever moment, the others go on; what is not poisoned is in step.
    fn kills_at_random_moments_stop_nobody() {
        let mutex = Mutex::new([0, 0])?;
        let (begun, has_begun) = pipe()?;
        let start = || daemon(keep_in_step(mutex.clone(), begun.clone()));
        let mut workers = vec![start()?, start()?];
        let mut poisoned = 0;
        for round in 0..30 {
            has_begun.recv()?;
            for _ in 0..round * 7 % 30 {
                drop(mutex.lock().unwrap_or_else(|error| error.into_inner()));
            }
            let victim = workers.remove(0);
            victim.kill()?;
            victim.wait()?;
            workers.push(start()?);
            match mutex.lock() {
                Ok(values) => assert_eq!(values[0], values[1]),
                Err(LockError::Poisoned(error)) => {
                    poisoned += 1;
                    assert_eq!(error.cause(), PoisonCause::Died);
                    // 0 if it had no time to say who it was.
                    assert!([victim.pid(), 0].contains(&error.holder().pid()), "{error}");
                    let mut values = error.into_inner();
                    assert!(values[0] - values[1] <= 1, "{values:?}");
                    values[1] = values[0];
                    mutex.clear_poison();
                }
                Err(other) => panic!("{other}"),
            }
        }
        println!("{poisoned} of 30 held it");
        workers.into_iter().try_for_each(|worker| worker.kill())?;
    }
}
