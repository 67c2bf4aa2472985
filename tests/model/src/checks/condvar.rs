//! The condition: items that are put into a mutex, and those who wait for them.

use std::time::Duration;

use super::Noted;
use crate::kernel::{self, Check, Process, Release, check, deaths, settle, spawn, victim};
use crate::sync::{Condvar, LockError, Mutex, MutexGuard};

#[derive(Clone)]
struct Items {
    count: Mutex<u32>,
    more: Condvar,
}

fn anyway<'a>(
    guard: Result<MutexGuard<'a, u32>, LockError<MutexGuard<'a, u32>>>,
) -> MutexGuard<'a, u32> {
    guard.unwrap_or_else(|error| error.into_inner())
}

impl Items {
    fn new() -> Self {
        Self { count: Mutex::new(0).unwrap(), more: Condvar::new().unwrap() }
    }

    fn take(&self) {
        let mut count = anyway(self.count.lock());
        while *count == 0 {
            count = anyway(self.more.wait(count));
        }
        *count -= 1;
    }

    /// False if there was none in time.
    fn take_in_time(&self) -> bool {
        let mut count = anyway(self.count.lock());
        while *count == 0 {
            let waited = self.more.wait_timeout(count, Duration::from_secs(3600));
            let (guard, result) = waited.unwrap_or_else(|error| error.into_inner());
            if result.timed_out() && *guard == 0 {
                return false;
            }
            count = guard;
        }
        *count -= 1;
        true
    }

    fn put(&self) {
        *anyway(self.count.lock()) += 1;
        self.more.notify_one();
    }

    fn put_all(&self, items: u32) {
        *anyway(self.count.lock()) += items;
        self.more.notify_all();
    }

    fn left(&self) -> u32 {
        *anyway(self.count.lock())
    }

    fn word(&self) -> usize {
        std::ptr::from_ref(self.count.lock_state().raw().word().value()) as usize
    }

    /// How many have died with the mutex and without a place at the condition: after their wait had
    /// ended, and before they had done what they had been woken for. Whoever finds the mutex
    /// poisoned must notify in their place.
    fn died_after_waiting(&self) -> usize {
        deaths().iter().filter(|death| death.owned == [self.word()]).count()
    }

    /// Nobody moves any more: no item is left that somebody waits for. Then there are items for all.
    fn check_at_end(&self) {
        let mut notified = 0;
        let mut asleep = settle();
        while notified < self.died_after_waiting() {
            self.more.notify_one();
            notified += 1;
            asleep = settle();
        }
        let left = kernel::still(|| self.left());
        assert!(asleep == 0 || left == 0, "{left} items are left, and {asleep} sleep");
        for more in 0..asleep {
            self.put();
            assert!(settle() < asleep - more, "an item was put, and nobody took it");
        }
    }
}

/// The first consumers are killed, of so many; each item is put by somebody else.
fn one_by_one(check: Check, victims: usize, consumers: usize, items: usize) {
    check.run(move || {
        let place = Items::new();
        for index in 0..consumers {
            let place = place.clone();
            let work = move || place.take();
            if index < victims {
                victim(400, work)
            } else {
                spawn(work)
            };
        }
        for _ in 0..items {
            let place = place.clone();
            spawn(move || place.put());
        }
        settle();
        place.check_at_end();
    });
}

#[test]
fn nobody_dies() {
    one_by_one(Check::times(3_000), 0, 3, 3);
}

#[test]
fn one_of_two_dies() {
    one_by_one(Check::times(6_000), 1, 2, 2);
}

#[test]
fn one_of_three_dies() {
    one_by_one(Check::times(6_000), 1, 3, 2);
}

#[test]
fn two_of_three_die() {
    one_by_one(Check::times(6_000), 2, 3, 2);
}

#[test]
fn three_of_four_die() {
    one_by_one(Check::times(6_000), 3, 4, 3);
}

/// On a kernel that cannot watch neighbours: there are items for all, and all get one.
#[test]
fn without_waitv() {
    Check::times(1_000).on(Release::NoWaitv).run(|| {
        let place = Items::new();
        for index in 0..3 {
            let place = place.clone();
            let work = move || place.take();
            if index < 2 {
                victim(400, work)
            } else {
                spawn(work)
            };
        }
        for _ in 0..3 {
            let place = place.clone();
            spawn(move || place.put());
        }
        settle();
        // Who has died when its wait was over has left its notification with the mutex.
        place.more.notify_one();
        assert_eq!(settle(), 0);
    });
}

/// All sleep, and the one that is notified first is killed just then.
#[test]
fn notified_and_killed() {
    check(6_000, || {
        let place = Items::new();
        let start = |index| {
            let place = place.clone();
            let work = move || place.take();
            if index < 2 { victim(400, work) } else { spawn(work) }
        };
        let _consumers = [0, 1, 2, 3].map(start);
        settle();
        let putting = place.clone();
        spawn(move || putting.put());
        let putting = place.clone();
        spawn(move || putting.put());
        settle();
        place.check_at_end();
    });
}

/// The places of those who have gone are taken by others, so that those who sleep are far apart.
#[test]
fn far_apart() {
    check(3_000, || {
        let place = Items::new();
        let start = |victim_too: bool| {
            let place = place.clone();
            let work = move || place.take();
            if victim_too { victim(1_000, work) } else { spawn(work) }
        };
        for _ in 0..3 {
            start(false);
            settle();
        }
        let last = start(true);
        settle();
        place.put_all(3);
        settle();
        let _others = [start(true), start(false)];
        settle();
        let putting = place.clone();
        spawn(move || putting.put());
        settle();
        place.check_at_end();
        drop(last);
    });
}

/// Killed in the middle of notifying, one has notified or has not, and blocks nobody.
#[test]
fn who_notifies_dies() {
    check(6_000, || {
        let place = Items::new();
        for index in 0..3 {
            let place = place.clone();
            let work = move || place.take();
            if index == 0 {
                victim(400, work)
            } else {
                spawn(work)
            };
        }
        let start = || {
            let place = place.clone();
            victim(200, move || place.put())
        };
        let _putting = [start(), start()];
        settle();
        // They may have put it, and not have notified.
        place.more.notify_n(2);
        settle();
        place.check_at_end();
    });
}

/// All are notified at once.
#[test]
fn all_at_once() {
    check(6_000, || {
        let place = Items::new();
        for index in 0..3 {
            let place = place.clone();
            let work = move || place.take();
            if index < 2 {
                victim(400, work)
            } else {
                spawn(work)
            };
        }
        let putting = place.clone();
        spawn(move || putting.put_all(3));
        settle();
        let asleep = settle();
        let left = kernel::still(|| place.left());
        assert!(asleep == 0, "{left} items are left, and {asleep} sleep");
    });
}

/// Some wait for a limited time: who is notified just when its time is up takes the item, or leaves
/// the notification to another.
#[test]
fn some_do_not_wait_for_ever() {
    check(5_000, || {
        let place = Items::new();
        for index in 0..4 {
            let place = place.clone();
            match index {
                0 => victim(400, move || place.take_in_time()),
                1 => spawn(move || place.take_in_time()),
                2 => victim(400, move || {
                    place.take();
                    true
                }),
                _ => spawn(move || {
                    place.take();
                    true
                }),
            };
        }
        for _ in 0..2 {
            let place = place.clone();
            spawn(move || place.put());
        }
        settle();
        place.check_at_end();
    });
}
