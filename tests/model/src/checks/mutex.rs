//! The mutex with its value, and who is said to have poisoned it.

use super::{Inside, Noted, died_owning, is_dead};
use crate::kernel::{self, check, deaths, gettid, settle, spawn, victim};
use crate::sync::{LockError, Mutex, PoisonCause, ReentrantLock, lock_all};

/// Poisoned if and only if a holder died, by one that died.
#[test]
fn poisoned_by_who_died() {
    check(10_000, || {
        let mutex = Mutex::new([0u32; 2]).unwrap();
        let inside = Inside::new();
        let word = std::ptr::from_ref(mutex.lock_state().raw().word().value()) as usize;
        for index in 0..3 {
            let (mutex, inside) = (mutex.clone(), inside.clone());
            let work = move || {
                for _ in 0..2 {
                    let mut value = match mutex.lock() {
                        Ok(value) => {
                            assert_eq!(value[0], value[1], "half changed, and nobody says so");
                            value
                        }
                        Err(LockError::Poisoned(error)) => {
                            assert!(died_owning(word) > 0, "nobody died with it");
                            assert_eq!(error.cause(), PoisonCause::Died);
                            let tid = error.holder().tid();
                            assert!(tid == 0 || is_dead(tid), "{tid} is alive");
                            error.into_inner()
                        }
                        Err(error) => panic!("{error}"),
                    };
                    value[0] += 1;
                    inside.pass();
                    value[1] = value[0];
                }
            };
            if index < 2 {
                victim(250, work)
            } else {
                spawn(work)
            };
        }
        assert_eq!(settle(), 0);
        assert_eq!(mutex.is_poisoned(), died_owning(word) > 0);
        let value = mutex.lock();
        assert_eq!(value.is_err(), died_owning(word) > 0);
        drop(value);
        mutex.clear_poison();
        assert!(mutex.lock().is_ok());
    });
}

/// Several mutexes at once, by many, in whatever order: nobody waits for ever.
#[test]
fn several_at_once() {
    check(3_000, || {
        let mutexes = [(); 3].map(|()| Mutex::new(0u32).unwrap());
        for index in 0..3 {
            let mutexes = mutexes.clone();
            let work = move || {
                let (first, second) = (&mutexes[index], &mutexes[(index + 1) % 3]);
                match lock_all((first, second)) {
                    Ok((mut first, mut second)) => (*first, *second) = (*first + 1, *second + 1),
                    Err(error) => drop(error.into_inner()),
                }
            };
            if index == 0 {
                victim(200, work)
            } else {
                spawn(work)
            };
        }
        assert_eq!(settle(), 0);
    });
}

/// The lock that its holder can take again.
#[test]
fn taken_again() {
    check(4_000, || {
        let lock = ReentrantLock::new(()).unwrap();
        let inside = Inside::new();
        for index in 0..3 {
            let (lock, inside) = (lock.clone(), inside.clone());
            let work = move || {
                let first = lock.lock().unwrap_or_else(|error| error.into_inner());
                let second = lock.lock().unwrap_or_else(|error| error.into_inner());
                drop(first);
                inside.pass();
                drop(second);
            };
            if index < 2 {
                victim(250, work)
            } else {
                spawn(work)
            };
        }
        assert_eq!(settle(), 0);
        assert!(lock.lock().is_ok() || !deaths().is_empty());
    });
}
