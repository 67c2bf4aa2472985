//! The barrier.

use std::time::Duration;

use super::Noted;
use crate::kernel::{self, Check, Release, check, deaths, settle, spawn, victim};
use crate::sync::slots::Slot;
use crate::sync::{Barrier, BarrierError};

/// What became of each round, by any of its parties: whoever passed it, all passed it, but for the
/// dead.
#[derive(Clone)]
struct Rounds {
    barrier: Barrier,
    arrived: Noted<[usize; 2]>,
    passed: Noted<[usize; 2]>,
    leaders: Noted<[usize; 2]>,
}

impl Rounds {
    fn new(parties: usize) -> Self {
        Self {
            barrier: Barrier::new(parties).unwrap(),
            arrived: Noted::new([0; 2]),
            passed: Noted::new([0; 2]),
            leaders: Noted::new([0; 2]),
        }
    }

    /// Comes to so many rounds, until one fails.
    fn come(&self, rounds: usize) -> Result<(), BarrierError> {
        for round in 0..rounds {
            add(&self.arrived, round);
            let result = self.barrier.wait()?;
            assert!(self.arrived.get()[round] >= self.barrier.parties(), "before all had come");
            add(&self.passed, round);
            if result.is_leader() {
                add(&self.leaders, round);
                assert_eq!(self.leaders.get()[round], 1);
            }
        }
        Ok(())
    }
}

fn add(counts: &Noted<[usize; 2]>, round: usize) {
    let mut now = counts.get();
    now[round] += 1;
    counts.set(now);
}

/// Nobody moves. Those who sleep wait for somebody who has not come: not for a dead one.
fn check_settled(rounds: &Rounds) -> usize {
    let asleep = settle();
    kernel::still(|| {
        if asleep > 0 {
            assert!(!rounds.barrier.is_broken(), "it is broken, and {asleep} sleep");
            assert_eq!(rounds.barrier.waiting(), asleep);
            assert!(asleep < rounds.barrier.parties(), "all have come, and sleep");
            let unnoticed = unnoticed(&rounds.barrier);
            assert_eq!(unnoticed, 0, "{asleep} sleep, and nobody has told them of a death");
        }
    });
    asleep
}

/// How many have died in this round, and nobody has looked after their place.
fn unnoticed(barrier: &Barrier) -> usize {
    barrier.waiters().dead().filter(|(_, told, _)| told.is_none()).count()
}

fn run(check: Check, parties: usize, victims: usize, rounds: usize) {
    check.run(move || {
        let place = Rounds::new(parties);
        let start = |index| {
            let place = place.clone();
            let work = move || place.come(rounds);
            if index < victims { victim(400, work) } else { spawn(work) }
        };
        let all: Vec<_> = (0..parties).map(start).collect();
        if check_settled(&place) > 0 {
            assert!(!deaths().is_empty());
            place.barrier.abort();
        }
        assert_eq!(settle(), 0);
        for process in all {
            match process.join() {
                Some(Ok(())) | None => {}
                Some(Err(BarrierError::WaiterDied | BarrierError::Aborted)) => {
                    assert!(!deaths().is_empty());
                }
                Some(Err(error)) => panic!("{error}"),
            }
        }
    });
}

#[test]
fn nobody_dies() {
    run(Check::times(3_000), 3, 0, 2);
}

#[test]
fn one_of_two_dies() {
    run(Check::times(5_000), 2, 1, 2);
}

#[test]
fn one_of_three_dies() {
    run(Check::times(5_000), 3, 1, 2);
}

#[test]
fn two_of_three_die() {
    run(Check::times(5_000), 3, 2, 2);
}

#[test]
fn two_of_four_die() {
    run(Check::times(4_000), 4, 2, 2);
}

/// All but one have come and sleep when one of them is killed: the others are told.
#[test]
fn killed_while_all_sleep() {
    check(3_000, || {
        let place = Rounds::new(4);
        let start = || {
            let place = place.clone();
            spawn(move || place.come(1))
        };
        let mut waiting = [start(), start(), start()].into_iter();
        assert_eq!(settle(), 3);
        kernel::kill(&waiting.next().unwrap());
        assert_eq!(settle(), 0, "sleep, and nobody has told them");
        for process in waiting {
            assert_eq!(process.join(), Some(Err(BarrierError::WaiterDied)));
        }
        assert_eq!(place.barrier.wait().unwrap_err(), BarrierError::WaiterDied);
        place.barrier.reset();
        assert!(!place.barrier.is_broken() && place.barrier.waiting() == 0);
    });
}

/// Those of one round come again, at other places, and then one of them is killed.
#[test]
fn killed_in_the_next_round() {
    check(3_000, || {
        let place = Rounds::new(5);
        // The last to come is the first to come again.
        let start = |rounds| {
            let place = place.clone();
            spawn(move || place.come(rounds))
        };
        let mut others: Vec<_> = (0..4).map(|_| start(1)).collect();
        settle();
        let again = start(2);
        assert_eq!(settle(), 1);
        others.push(start(2));
        settle();
        kernel::kill(&again);
        assert_eq!(settle(), 0, "sleep, and nobody has told them");
    });
}

/// Killed in the middle of breaking or mending the barrier, it has done so or has not: either all go
/// on sleeping, or all are told.
#[test]
fn who_ends_the_round_is_killed() {
    check(4_000, || {
        let barrier = Barrier::new(4).unwrap();
        let start = || {
            let barrier = barrier.clone();
            spawn(move || barrier.wait().unwrap_err())
        };
        let _waiting = [start(), start(), start()];
        settle();
        let ending = barrier.clone();
        let reset = kernel::once_in(2);
        victim(60, move || if reset { ending.reset() } else { ending.abort() });
        let asleep = settle();
        assert!(asleep == 0 || asleep == 3, "{asleep} of three sleep");
        if asleep > 0 {
            assert!(!kernel::still(|| barrier.is_broken()), "it is broken, and {asleep} sleep");
            barrier.abort();
            assert_eq!(settle(), 0);
        }
    });
}

/// The action of the last to come runs before anybody goes on, and may be cut short.
#[test]
fn killed_in_the_action() {
    check(4_000, || {
        let place = Rounds::new(3);
        let acting = Noted::new(0);
        for index in 0..3 {
            let (place, acting) = (place.clone(), acting.clone());
            let work = move || {
                let result = place.barrier.wait_with(|| {
                    acting.set(1);
                    kernel::step();
                    acting.set(2);
                });
                assert!(result.is_err() || acting.get() == 2, "passed before the action was done");
            };
            if index < 2 {
                victim(400, work)
            } else {
                spawn(work)
            };
        }
        if check_settled(&place) > 0 {
            place.barrier.abort();
        }
        assert_eq!(settle(), 0);
    });
}

/// An action that panics breaks the barrier.
#[test]
fn the_action_panics() {
    check(2_000, || {
        let barrier = Barrier::new(3).unwrap();
        let start = |_| {
            let barrier = barrier.clone();
            spawn(move || barrier.wait_with(|| kernel::panic()).unwrap_err())
        };
        let all = [0, 1, 2].map(start);
        assert_eq!(settle(), 0);
        let results = all.map(|process| process.join());
        assert_eq!(results.iter().filter(|result| result.is_none()).count(), 1);
        assert!(results.iter().flatten().all(|error| *error == BarrierError::ActionFailed));
    });
}

/// Some wait for a limited time, and somebody mends the barrier meanwhile.
#[test]
fn some_do_not_wait_for_ever() {
    check(4_000, || {
        let barrier = Barrier::new(3).unwrap();
        for index in 0..4 {
            let barrier = barrier.clone();
            let soon = Duration::from_secs(3600);
            match index {
                0 => victim(400, move || barrier.wait().is_ok()),
                1 => victim(400, move || barrier.wait_timeout(soon).is_ok()),
                2 => spawn(move || barrier.wait_timeout(soon).is_ok()),
                _ => victim(400, move || {
                    barrier.reset();
                    true
                }),
            };
        }
        let asleep = settle();
        if asleep > 0 {
            assert!(!kernel::still(|| barrier.is_broken()), "it is broken, and {asleep} sleep");
            barrier.abort();
        }
        assert_eq!(settle(), 0);
    });
}
