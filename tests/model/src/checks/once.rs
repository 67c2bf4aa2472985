//! What is done once.

use super::{Noted, is_dead};
use crate::kernel::{self, check, gettid, settle, spawn, victim};
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
