//! A condition variable between producers and consumers.

use std::sync::atomic::{Ordering, compiler_fence};
use std::thread;

use offspring::process;
use offspring::shm::Shareable;
use offspring::sync::{Condvar, Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use tests::each_start_method;
use tests::family::until;
use tests::storm::{Job, Random, SURVIVOR, Storm, Survivor, kills};

use super::moment;

/// What producers and consumers share. There are two of it, one of which counts: a change is made
/// to the other, and then that one counts. So it is whole whenever somebody is killed.
#[derive(Debug, Clone, Copy, Shareable)]
struct Belt {
    /// The numbers that were made and not taken, from `taken` to `made`.
    items: [u64; Belt::ROOM],
    made: u64,
    taken: u64,
    /// Taken, by whom, and not yet used.
    in_hand: [(u64, u64); 64],
    used: u64,
    sum_of_used: u64,
}

impl Belt {
    const ROOM: usize = 4;

    const fn new() -> Self {
        let (items, in_hand) = ([0; Self::ROOM], [(0, 0); 64]);
        Self { items, made: 0, taken: 0, in_hand, used: 0, sum_of_used: 0 }
    }

    fn is_empty(&self) -> bool {
        self.made == self.taken
    }

    fn is_full(&self) -> bool {
        self.made - self.taken == Self::ROOM as u64
    }
}

#[derive(Debug, Shareable)]
struct Belts {
    belts: [Belt; 2],
    counts: usize,
}

impl Belts {
    fn belt(&self) -> &Belt {
        &self.belts[self.counts]
    }

    fn change(&mut self, change: impl FnOnce(&mut Belt)) {
        let other = 1 - self.counts;
        self.belts[other] = self.belts[self.counts];
        change(&mut self.belts[other]);
        compiler_fence(Ordering::SeqCst);
        self.counts = other;
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Factory {
    belts: Mutex<Belts>,
    not_empty: Condvar,
    not_full: Condvar,
}

/// Whether somebody waits by what may end by itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    None,
    Some,
    Endless,
}

type Belted<'a> = MutexGuard<'a, Belts>;

impl Factory {
    pub(super) fn new() -> offspring::Result<Self> {
        let belts = Mutex::new(Belts { belts: [Belt::new(); 2], counts: 0 })?;
        Ok(Self { belts, not_empty: Condvar::new()?, not_full: Condvar::new()? })
    }

    fn lock(&self) -> Belted<'_> {
        self.belts.lock().unwrap_or_else(|error| self.healed(error.into_inner()))
    }

    /// Who died with the mutex may have been woken just before, for the sake of all: so whoever is
    /// told of that wakes the others.
    fn healed<'a>(&self, guard: Belted<'a>) -> Belted<'a> {
        self.belts.clear_poison();
        self.not_empty.notify_all();
        self.not_full.notify_all();
        guard
    }

    /// Waits for as long as that is so; `None` if it lost patience.
    fn wait(
        &self,
        condvar: &Condvar,
        random: &Random,
        patience: Patience,
        so: impl Fn(&Belt) -> bool,
    ) -> Option<Belted<'_>> {
        let mut guard = self.lock();
        while so(guard.belt()) {
            let patient = match patience {
                Patience::None => false,
                Patience::Some => random.one_in(2),
                Patience::Endless => true,
            };
            if patient {
                guard = condvar.wait(guard).unwrap_or_else(|error| self.healed(error.into_inner()));
                continue;
            }
            let waited = condvar.wait_timeout(guard, moment(random));
            let (taken, result) = waited.unwrap_or_else(|error| {
                let (guard, result) = error.into_inner();
                (self.healed(guard), result)
            });
            if result.timed_out() {
                return None;
            }
            guard = taken;
        }
        Some(guard)
    }

    // Both notify before they change anything, as who is killed in between must not owe that. It
    // makes no difference otherwise: the mutex is held.

    pub(super) fn produce(&self, patience: Patience, random: &Random) {
        let Some(mut guard) = self.wait(&self.not_full, random, patience, Belt::is_full) else {
            return;
        };
        self.not_empty.notify_one();
        guard.change(|belt| {
            belt.made += 1;
            belt.items[belt.made as usize % Belt::ROOM] = belt.made;
        });
    }

    pub(super) fn consume(&self, patience: Patience, who: u64, random: &Random) {
        let Some(mut guard) = self.wait(&self.not_empty, random, patience, Belt::is_empty) else {
            return;
        };
        self.not_full.notify_one();
        let mut item = 0;
        guard.change(|belt| {
            belt.taken += 1;
            item = belt.items[belt.taken as usize % Belt::ROOM];
            *belt.in_hand.iter_mut().find(|(owner, _)| *owner == 0).unwrap() = (who, item);
        });
        drop(guard);
        (0..random.below(100)).for_each(|_| std::hint::spin_loop());
        self.lock().change(|belt| {
            let hand = belt.in_hand.iter_mut().find(|hand| **hand == (who, item));
            *hand.expect("nobody else takes it away") = (0, 0);
            belt.used += 1;
            belt.sum_of_used += item;
        });
    }
}

#[process]
fn keep_making_or_using(job: Job, factory: Factory) {
    let random = job.begin();
    let maker = random.one_in(3);
    loop {
        if maker {
            factory.produce(Patience::Some, &random);
        } else {
            factory.consume(Patience::Some, job.serial, &random);
        }
    }
}

each_start_method! {
    only [forkserver ForkServer]
    fn condvar() {
        let factory = Factory::new()?;
        let mut storm = Storm::new();
        let mut sum_of_lost = 0;
        thread::scope(|scope| {
            let maker = Survivor::new(scope, |random| factory.produce(Patience::Endless, random));
            let user = Survivor::new(scope, |random| factory.consume(Patience::Endless, SURVIVOR, random));
            let start = |job| keep_making_or_using(job, factory.clone()).spawn();
            storm.rage(kills(), 5, start, |storm| {
                // What there is, is used, although nothing is made; and the other way round.
                maker.pause(true);
                until(|| user.has_failed() || factory.lock().belt().is_empty());
                user.pause(true);
                maker.pause(false);
                until(|| maker.has_failed() || factory.lock().belt().is_full());
                user.pause(false);
                maker.goes_on();
                user.goes_on();
                // What the dead had in their hands is lost, and nothing else.
                let mut lost = 0;
                factory.lock().change(|belt| {
                    for hand in &mut belt.in_hand {
                        if storm.dead.contains_key(&hand.0) {
                            sum_of_lost += hand.1;
                            lost += 1;
                            *hand = (0, 0);
                        }
                    }
                });
                storm.count("lost", lost);
            });
            maker.pause(true);
            until(|| user.has_failed() || factory.lock().belt().is_empty());
            drop(user);
            factory.produce(Patience::Endless, &storm.random); // so that it is not waiting any more
        });
        let end = *factory.lock().belt();
        assert_eq!(end.used + storm.counted("lost"), end.taken);
        assert_eq!(end.sum_of_used + sum_of_lost, (1..=end.taken).sum::<u64>());
        assert!(storm.counted("lost") > 0, "the storm missed");
    }
}
