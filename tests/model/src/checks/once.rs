//! What is done once.

use std::time::Duration;

use super::{Noted, is_dead};
use crate::kernel::{self, check, gettid, settle, spawn, still, victim};
use crate::sync::{Once, OnceError, OnceLock, PoisonCause};

/// How the work goes on: 0 not begun, 1 begun, 2 done.
fn work(state: &Noted<u32>, by: &Noted<u32>) {
    assert!(state.get() != 2, "it is done once");
    assert!(state.get() == 0 || is_dead(by.get()), "two do it");
    by.set(gettid());
    state.set(1);
    kernel::step();
    state.set(2);
}

/// Killed while it does the work, it leaves it to another, who does not mind.
#[test]
fn by_force() {
    check(8_000, || {
        let once = Once::new().unwrap();
        let (state, by) = (Noted::new(0), Noted::new(0));
        for index in 0..3 {
            let (once, state, by) = (once.clone(), state.clone(), by.clone());
            let call = move || {
                let done = once.call_once_force(|| {
                    if state.get() == 2 {
                        // Killed when it had done the work, and before it could say so.
                        assert!(is_dead(by.get()));
                        return;
                    }
                    work(&state, &by);
                });
                assert!(done.is_ok() && once.is_completed() && state.get() == 2);
            };
            if index < 2 {
                victim(150, call)
            } else {
                spawn(call)
            };
        }
        assert_eq!(settle(), 0);
        assert!(once.is_completed());
    });
}

/// The others are told if it was killed after it had begun, and only then.
#[test]
fn the_others_are_told() {
    check(8_000, || {
        let once = Once::new().unwrap();
        let (state, by) = (Noted::new(0), Noted::new(0));
        let told = Noted::new(0);
        for index in 0..3 {
            let (once, state, by) = (once.clone(), state.clone(), by.clone());
            let told = told.clone();
            let call = move || match once.call_once(|| work(&state, &by)) {
                Ok(()) => assert!(once.is_completed() && state.get() == 2),
                Err(OnceError::Poisoned(error)) => {
                    assert_eq!(error.cause(), PoisonCause::Died);
                    assert!(!kernel::deaths().is_empty());
                    let tid = error.holder().tid();
                    assert!(tid == 0 || is_dead(tid), "{tid} lives");
                    told.add(1);
                }
                Err(error) => panic!("{error}"),
            };
            if index < 2 {
                victim(150, call)
            } else {
                spawn(call)
            };
        }
        assert_eq!(settle(), 0);
        assert!(once.is_completed() || told.get() > 0);
        if state.get() == 1 {
            assert!(!once.is_completed());
        }
    });
}

/// A panic is told as well.
#[test]
fn the_work_panics() {
    check(2_000, || {
        let once = Once::new().unwrap();
        let panicking = once.clone();
        let panicking = spawn(move || panicking.call_once(|| kernel::panic()));
        let other = once.clone();
        let other = spawn(move || match other.call_once(|| ()) {
            Ok(()) => false,
            Err(OnceError::Poisoned(error)) => error.cause() == PoisonCause::Panicked,
            Err(error) => panic!("{error}"),
        });
        assert_eq!(settle(), 0);
        // The one that panics is first, or has nothing to do.
        match panicking.join() {
            None => assert_eq!(other.join(), Some(true)),
            Some(done) => assert!(done.is_ok() && other.join() == Some(false)),
        }
    });
}

/// A value is one value for all.
#[test]
fn a_value() {
    check(8_000, || {
        let value = OnceLock::<[u32; 2]>::new().unwrap();
        let seen = Noted::new(0);
        for index in 0..3 {
            let (value, seen) = (value.clone(), seen.clone());
            let get = move || {
                let own = gettid();
                let [first, second] = *value.get_or_init(|| {
                    kernel::step();
                    [own, own]
                });
                assert_eq!(first, second);
                assert!(seen.get() == 0 || seen.get() == first);
                seen.set(first);
            };
            if index < 2 {
                victim(150, get)
            } else {
                spawn(get)
            };
        }
        assert_eq!(settle(), 0);
        assert!(value.get().is_some());
    });
}

/// Whoever waits without doing the work is woken when it is done, and told when it was begun and not
/// finished; who is killed at whatever step changes nothing of that.
#[test]
fn waiting() {
    check(12_000, || {
        let once = Once::new().unwrap();
        let (state, by) = (Noted::new(0), Noted::new(0));
        for index in 0..3 {
            let (once, state) = (once.clone(), state.clone());
            let wait = move || match once.wait() {
                Ok(()) => assert!(once.is_completed() && state.get() == 2),
                Err(OnceError::Poisoned(error)) => {
                    assert_eq!(error.cause(), PoisonCause::Died);
                    assert!(!kernel::deaths().is_empty());
                }
                Err(error) => panic!("{error}"),
            };
            if index < 2 {
                victim(100, wait)
            } else {
                spawn(wait)
            };
        }
        for _ in 0..2 {
            let (once, state, by) = (once.clone(), state.clone(), by.clone());
            victim(120, move || match once.call_once(|| work(&state, &by)) {
                Ok(()) => assert!(once.is_completed()),
                Err(error) => assert!(matches!(error, OnceError::Poisoned(_)), "{error}"),
            });
        }
        let asleep = settle();
        // If it was never begun, they wait still; and he who does it now lets them go.
        let begun = state.get() != 0 || still(|| once.is_completed());
        assert!(asleep == 0 || !begun, "it was begun, and {asleep} sleep");
        let done = once.call_once_force(|| state.set(2));
        assert!(done.is_ok() && settle() == 0);
        assert!(once.wait().is_ok());
    });
}

/// Who waits and who wants to do it may be woken in each other's place.
#[test]
fn waiting_beside_those_who_do_it() {
    check(8_000, || {
        let once = Once::new().unwrap();
        let panicking = once.clone();
        spawn(move || panicking.call_once(|| kernel::panic()));
        for index in 0..4 {
            let once = once.clone();
            let call = move || {
                let told = match index % 2 {
                    0 => once.wait(),
                    _ => once.call_once(|| ()),
                };
                assert!(told.is_ok() == once.is_completed());
            };
            if index < 2 {
                victim(100, call)
            } else {
                spawn(call)
            };
        }
        // One of those who do it is not killed: it has done it, or has been told.
        assert_eq!(settle(), 0);
    });
}

/// With a limit of time, it gives up; what it was woken for goes to another.
#[test]
fn waiting_for_a_while() {
    check(8_000, || {
        let once = Once::new().unwrap();
        for index in 0..2 {
            let once = once.clone();
            let wait = move || match once.wait_timeout(Duration::from_secs(3600)) {
                Ok(done) => assert!(!done || once.is_completed()),
                Err(error) => assert!(matches!(error, OnceError::Poisoned(_)), "{error}"),
            };
            if index == 0 {
                victim(100, wait)
            } else {
                spawn(wait)
            };
        }
        let waiting = once.clone();
        spawn(move || assert!(waiting.wait().is_ok() == waiting.is_completed()));
        for _ in 0..2 {
            let once = once.clone();
            victim(120, move || {
                let _ = once.call_once(|| _ = kernel::step());
            });
        }
        let last = once.clone();
        spawn(move || _ = last.call_once(|| ()));
        assert_eq!(settle(), 0);
    });
}

/// Whoever waits for a value goes on waiting when one who makes it dies, until another has made it.
#[test]
fn waiting_for_a_value() {
    check(8_000, || {
        let value = OnceLock::<[u32; 2]>::new().unwrap();
        for index in 0..3 {
            let value = value.clone();
            let wait = move || {
                let [first, second] = *value.wait();
                assert!(first == second && first != 0);
            };
            if index < 2 {
                victim(100, wait)
            } else {
                spawn(wait)
            };
        }
        let making = value.clone();
        victim(120, move || {
            let own = gettid();
            making.get_or_init(|| {
                kernel::step();
                [own, own]
            });
        });
        let asleep = settle();
        assert!(asleep == 0 || !still(|| value.get().is_some()), "it is there, and {asleep} sleep");
        value.get_or_init(|| [1, 1]);
        assert_eq!(settle(), 0);
    });
}

/// Who comes to wait while it fails, and others are woken, is told as well.
#[test]
fn waiting_beside_those_who_are_just_told() {
    check(6_000, || {
        let once = Once::new().unwrap();
        let wait = || {
            let once = once.clone();
            spawn(move || {
                let told = once.wait();
                assert!(matches!(told, Err(OnceError::Poisoned(_))));
            })
        };
        wait();
        assert_eq!(settle(), 1);
        wait();
        let panicking = once.clone();
        spawn(move || panicking.call_once(|| kernel::panic()));
        assert_eq!(settle(), 0);
    });
}
