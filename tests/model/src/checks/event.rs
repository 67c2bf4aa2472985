//! The event.

use crate::kernel::{check, settle, spawn, still, victim};
use crate::sync::Event;

/// Killed in the middle of `set`, it has set it or has not; and if it has, nobody goes on waiting.
#[test]
fn who_sets_is_killed() {
    check(10_000, || {
        let event = Event::new().unwrap();
        for index in 0..3 {
            let event = event.clone();
            let work = move || event.wait();
            if index == 0 {
                victim(80, work)
            } else {
                spawn(work)
            };
        }
        let setting = event.clone();
        let set = victim(30, move || setting.set());
        let asleep = settle();
        assert!(asleep == 0 || !still(|| event.is_set()), "it is set, and {asleep} sleep");
        if set.join().is_some() {
            assert_eq!(asleep, 0);
        }
        event.set();
        assert_eq!(settle(), 0);
    });
}

/// All who sleep are released, even if it is cleared at once.
#[test]
fn it_is_cleared_at_once() {
    check(8_000, || {
        let event = Event::new().unwrap();
        let start = |index| {
            let event = event.clone();
            let work = move || event.wait();
            if index < 2 { victim(80, work) } else { spawn(work) }
        };
        let _waiting = [0, 1, 2, 3].map(start);
        settle();
        let setting = event.clone();
        spawn(move || {
            setting.set();
            setting.clear();
        });
        assert_eq!(settle(), 0);
    });
}

/// Two set it and one clears it: whenever it is set, nobody sleeps.
#[test]
fn set_and_cleared_in_turn() {
    check(8_000, || {
        let event = Event::new().unwrap();
        for index in 0..5 {
            let event = event.clone();
            match index {
                0 => victim(80, move || event.wait()),
                1 => spawn(move || event.wait()),
                2 => victim(40, move || event.set()),
                3 => victim(40, move || event.clear()),
                _ => spawn(move || event.set()),
            };
        }
        let asleep = settle();
        assert!(asleep == 0 || !still(|| event.is_set()), "it is set, and {asleep} sleep");
        event.set();
        assert_eq!(settle(), 0);
    });
}
