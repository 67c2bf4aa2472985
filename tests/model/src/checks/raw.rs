//! The mutex that everything else stands on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::{Inside, Noted, died_owning};
use crate::kernel::{self, Check, Release, check, settle, spawn, victim};
use crate::sync::raw::{NotTaken, RawMutex, Taken};
use crate::sys::poll::Wait;

#[derive(Clone)]
struct Place {
    mutex: Arc<RawMutex>,
    inside: Inside,
    taken: Noted<u32>,
    /// How many had died with the mutex when somebody was last told.
    told: Noted<u32>,
}

impl Place {
    fn new() -> Self {
        Self {
            mutex: Arc::new(RawMutex::new()),
            inside: Inside::new(),
            taken: Noted::new(0),
            told: Noted::new(0),
        }
    }

    fn word(&self) -> usize {
        std::ptr::from_ref(self.mutex.word().value()) as usize
    }

    /// Takes the mutex, goes inside, and gives it back. False if it was not in time.
    fn visit(&self, wait: Wait) -> bool {
        // SAFETY: it stays where it is until the end of the execution.
        match unsafe { self.mutex.lock(wait, || Ok::<_, Infallible>(())) } {
            Ok(taken) => {
                self.taken.add(1);
                let died = died_owning(self.word()) as u32;
                let expected =
                    if died > self.told.get() { Taken::FromTheDead } else { Taken::Clean };
                assert_eq!(taken, expected, "{died} have died with it");
                self.told.set(died);
                self.inside.pass();
                self.mutex.unlock();
                true
            }
            Err(NotTaken::TimedOut) => {
                assert_ne!(wait, Wait::Forever);
                false
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// All have ended. Who has died with the mutex, and nobody was told of, is told of next.
    fn check_at_end(&self) {
        assert_eq!(settle(), 0, "there are sleepers, and nobody will wake them");
        let died = died_owning(self.word()) as u32;
        assert_eq!(self.mutex.is_orphaned(), died > self.told.get());
        assert_eq!(self.mutex.owner(), None);
    }
}

#[test]
fn one_at_a_time() {
    check(6_000, || {
        let place = Place::new();
        for _ in 0..3 {
            let place = place.clone();
            spawn(move || (place.visit(Wait::Forever), place.visit(Wait::Forever)));
        }
        place.check_at_end();
        assert_eq!(place.taken.get(), 6);
        assert!(place.mutex.is_free());
    });
}

#[test]
fn one_of_three_is_killed() {
    check(12_000, || {
        let place = Place::new();
        for index in 0..3 {
            let place = place.clone();
            let work = move || (place.visit(Wait::Forever), place.visit(Wait::Forever));
            if index == 0 {
                victim(150, work)
            } else {
                spawn(work)
            };
        }
        place.check_at_end();
    });
}

#[test]
fn two_of_three_are_killed() {
    check(20_000, || {
        let place = Place::new();
        for index in 0..3 {
            let place = place.clone();
            let work = move || (place.visit(Wait::Forever), place.visit(Wait::Forever));
            if index < 2 {
                victim(150, work)
            } else {
                spawn(work)
            };
        }
        place.check_at_end();
    });
}

#[test]
fn some_do_not_wait_for_ever() {
    check(8_000, || {
        let place = Place::new();
        let soon = || Wait::at_most(Duration::from_secs(3600));
        for index in 0..4 {
            let place = place.clone();
            match index {
                0 => victim(150, move || place.visit(Wait::Forever)),
                1 => spawn(move || place.visit(Wait::Never) | place.visit(soon())),
                2 => victim(150, move || place.visit(soon()) | place.visit(soon())),
                _ => spawn(move || place.visit(Wait::Forever) & place.visit(Wait::Forever)),
            };
        }
        place.check_at_end();
    });
}

/// What the locks do not stand: on a kernel that wakes nobody for a pending word that is not 0
/// altogether, a wake-up dies with a thread that is killed before it has acted on it.
#[test]
#[should_panic(expected = "nobody will wake them")]
fn an_older_kernel_loses_a_wake_up() {
    Check::times(100_000).on(Release::PendingIfZero).run(|| {
        let place = Place::new();
        for index in 0..3 {
            let place = place.clone();
            let work = move || (place.visit(Wait::Forever), place.visit(Wait::Forever));
            if index < 2 {
                victim(150, work)
            } else {
                spawn(work)
            };
        }
        place.check_at_end();
    });
}
