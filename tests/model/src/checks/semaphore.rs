//! The semaphore.

use std::time::Duration;

use super::{Noted, is_dead};
use crate::kernel::{self, Check, Release, check, gettid, settle, spawn, victim};
use crate::sync::Semaphore;

/// Who has a permit: no more than there are, of those who live.
#[derive(Clone)]
struct Holders {
    tids: Noted<[u32; 16]>,
    permits: usize,
}

impl Holders {
    fn new(permits: usize) -> Self {
        Self { tids: Noted::new([0; 16]), permits }
    }

    /// Has a permit for a moment, in which it may be killed.
    fn pass(&self) {
        let tid = gettid();
        let mut tids = self.tids.get();
        let living = tids.iter().filter(|tid| **tid != 0 && !is_dead(**tid)).count();
        assert!(living < self.permits, "{living} have a permit, and {tid} another");
        let place = tids.iter().position(|tid| *tid == 0).unwrap();
        tids[place] = tid;
        self.tids.set(tids);
        kernel::step();
        let mut tids = self.tids.get();
        tids[place] = 0;
        self.tids.set(tids);
    }
}

/// All are given back, and nobody sleeps.
fn check_at_end(semaphore: &Semaphore, permits: usize) {
    let asleep = settle();
    let available = kernel::still(|| semaphore.available());
    assert_eq!((asleep, available), (0, permits), "(asleep, available)");
}

/// Threads that each take a permit twice, of which some are killed.
fn hold(check: Check, permits: usize, threads: usize, victims: usize) {
    check.run(move || {
        let semaphore = Semaphore::new(permits).unwrap();
        let holders = Holders::new(permits);
        for index in 0..threads {
            let (semaphore, holders) = (semaphore.clone(), holders.clone());
            let work = move || {
                for _ in 0..2 {
                    let permit = semaphore.acquire().unwrap();
                    holders.pass();
                    drop(permit);
                }
            };
            if index < victims {
                victim(200, work)
            } else {
                spawn(work)
            };
        }
        check_at_end(&semaphore, permits);
    });
}

#[test]
fn one_permit() {
    hold(Check::times(6_000), 1, 3, 0);
}

#[test]
fn one_permit_one_is_killed() {
    hold(Check::times(12_000), 1, 3, 1);
}

#[test]
fn one_permit_two_are_killed() {
    hold(Check::times(12_000), 1, 3, 2);
}

#[test]
fn two_permits_two_of_four_are_killed() {
    hold(Check::times(8_000), 2, 4, 2);
}

#[test]
fn two_permits_three_of_four_are_killed() {
    hold(Check::times(8_000), 2, 4, 3);
}

#[test]
fn without_waitv() {
    hold(Check::times(3_000).on(Release::NoWaitv), 2, 4, 2);
}

/// Some wait for a limited time: a permit that comes just then is not lost.
#[test]
fn some_do_not_wait_for_ever() {
    check(8_000, || {
        let semaphore = Semaphore::new(1).unwrap();
        let holders = Holders::new(1);
        for index in 0..4 {
            let (semaphore, holders) = (semaphore.clone(), holders.clone());
            let work = move || {
                for _ in 0..2 {
                    if index % 2 == 0 {
                        let permit = semaphore.acquire_timeout(Duration::from_secs(3600));
                        permit.is_ok().then(|| holders.pass());
                        drop(permit);
                    } else {
                        let permit = semaphore.acquire().unwrap();
                        holders.pass();
                        drop(permit);
                    }
                }
            };
            if index == 0 {
                victim(200, work)
            } else {
                spawn(work)
            };
        }
        check_at_end(&semaphore, 1);
    });
}

/// Permits are made on one side and used up on the other, and some on both are killed. Whenever
/// nobody moves, either there is no permit, or nobody waits for one.
fn signal(check: Check, releasing_dies: bool) {
    check.run(move || {
        let semaphore = Semaphore::new(0).unwrap();
        for index in 0..3 {
            let semaphore = semaphore.clone();
            let work = move || semaphore.acquire().unwrap().forget();
            if index == 0 {
                victim(150, work)
            } else {
                spawn(work)
            };
        }
        for index in 0..2 {
            let semaphore = semaphore.clone();
            let work = move || semaphore.release(1).unwrap();
            if index == 0 && releasing_dies {
                victim(150, work)
            } else {
                spawn(work)
            };
        }
        let mut asleep = settle();
        let mut more = 0;
        while asleep > 0 {
            let available = kernel::still(|| semaphore.available());
            assert_eq!(available, 0, "{asleep} sleep");
            semaphore.release(1).unwrap();
            more += 1;
            let before = std::mem::replace(&mut asleep, settle());
            assert!(asleep < before, "a permit was made, and nobody took it");
        }
        assert!(more <= 3 && semaphore.available() <= 2);
    });
}

#[test]
fn who_waits_for_a_signal_is_killed() {
    signal(Check::times(8_000), false);
}

#[test]
fn who_signals_is_killed() {
    signal(Check::times(8_000), true);
}

/// Several permits are made at once, for several who wait.
#[test]
fn several_at_once() {
    check(8_000, || {
        let semaphore = Semaphore::bounded(2).unwrap();
        semaphore.acquire().unwrap().forget();
        semaphore.acquire().unwrap().forget();
        for index in 0..3 {
            let semaphore = semaphore.clone();
            let work = move || drop(semaphore.acquire().unwrap());
            if index == 0 {
                victim(150, work)
            } else {
                spawn(work)
            };
        }
        let semaphore_2 = semaphore.clone();
        spawn(move || semaphore_2.release(2).unwrap());
        check_at_end(&semaphore, 2);
    });
}

/// Killed within `forget`, the permit is forgotten, or is back.
#[test]
fn who_forgets_is_killed() {
    check(4_000, || {
        let semaphore = Semaphore::new(1).unwrap();
        let forgetting = semaphore.clone();
        victim(20, move || forgetting.acquire().unwrap().forget());
        settle();
        let waiting = semaphore.clone();
        let waiting = spawn(move || drop(waiting.acquire().unwrap()));
        if settle() > 0 {
            assert_eq!(kernel::still(|| semaphore.available()), 0);
            semaphore.release(1).unwrap();
        }
        check_at_end(&semaphore, 1);
        assert!(waiting.join().is_some());
    });
}

/// A thread that ends with a leaked permit gives it back by that.
#[test]
fn a_leaked_permit_comes_back() {
    check(2_000, || {
        let semaphore = Semaphore::new(1).unwrap();
        for index in 0..2 {
            let semaphore = semaphore.clone();
            spawn(move || {
                let permit = semaphore.acquire().unwrap();
                if index == 0 { std::mem::forget(permit) } else { drop(permit) }
            });
        }
        check_at_end(&semaphore, 1);
    });
}

/// More permits than a thread can watch.
#[test]
fn more_than_can_be_watched() {
    hold(Check::times(400), kernel::MAX_WATCHED, kernel::MAX_WATCHED + 2, 2);
}
