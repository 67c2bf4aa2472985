//! Where processes meet: barriers, events, and what is done once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use offspring::process;
use offspring::shm::Shared;
use offspring::sync::{Barrier, BarrierError, Event, Once, OnceError, PoisonCause};
use tests::each_start_method;
use tests::family::until;
use tests::storm::{Job, Random, SURVIVOR, Storm, Survivor, kills};

use super::ledger::Ledger;
use super::moment;

/// How one who came to the barrier left it.
type Left = Result<usize, BarrierError>;

#[process]
fn keep_meeting(job: Job, barrier: Barrier) {
    let random = job.begin();
    loop {
        match barrier.wait() {
            Ok(_) => random.dawdle(),
            Err(_) => std::thread::sleep(Duration::from_secs(600)), // until it is killed
        }
    }
}

/// Comes to the barrier until it breaks, and puts down what it was told each time.
fn meet_until_broken(barrier: &Barrier, passed: &AtomicUsize) -> Vec<Left> {
    let mut told = Vec::new();
    while told.last().is_none_or(Result::is_ok) {
        told.push(barrier.wait().map(|result| result.index()));
        passed.fetch_add(1, Ordering::SeqCst);
    }
    told
}

const KILLED: usize = 2;

each_start_method! {
    only [forkserver ForkServer]
    /// Two who are killed, two who are not, and this thread, which comes last.
    fn barrier() {
        let barrier = Barrier::new(KILLED + 3)?;
        let mut storm = Storm::new();
        let start = |job| keep_meeting(job, barrier.clone()).spawn();
        while storm.dead.len() < kills() {
            storm.fill(KILLED, start);
            let passed = [AtomicUsize::new(0), AtomicUsize::new(0)];
            let (own, others) = thread::scope(|scope| {
                let others = passed.each_ref().map(|passed| {
                    scope.spawn(|| meet_until_broken(&barrier, passed))
                });
                let have_left = || others.iter().all(|thread| thread.is_finished());
                let mut own = Vec::new();
                for _ in 0..storm.random.below(3) {
                    own.push(barrier.wait().map(|result| result.index()));
                }
                if storm.random.one_in(2) {
                    // All wait, or have just begun to: who is killed now breaks it. (Once two have
                    // left the round before, there are no four who were not told of its end.)
                    let are_through = |passed: &AtomicUsize| passed.load(Ordering::SeqCst) == own.len();
                    until(|| passed.iter().all(are_through));
                    until(|| barrier.waiting() == barrier.parties() - 1);
                    storm.kill(1 + storm.random.below(KILLED as u64) as usize);
                    until(have_left);
                    assert_eq!(barrier.wait(), Err(BarrierError::WaiterDied));
                    storm.count("died waiting", 1);
                } else {
                    // Wherever they are. If it was not at the barrier, nobody knows.
                    storm.random.dawdle();
                    storm.kill(1);
                    barrier.abort();
                    until(have_left);
                    assert!(barrier.is_broken());
                    storm.count("aborted", 1);
                }
                (own, others.map(|thread| thread.join().unwrap()))
            });
            // All were told the same of each round; and of those that have passed, each had another
            // number.
            let [one, other] = others;
            assert_eq!(one.len(), other.len());
            for (round, (one, other)) in one.iter().zip(&other).enumerate() {
                match (one, other) {
                    (Ok(one), Ok(other)) => {
                        let own = own[round].expect("it has passed for the others");
                        assert!(own != *one && own != *other && one != other);
                        assert!([own, *one, *other].iter().all(|index| *index < barrier.parties()));
                    }
                    (one, other) => assert!(one.is_err() && other.is_err(), "{one:?}, {other:?}"),
                }
            }
            assert_eq!(own.len() + 1, one.len());
            storm.kill_all();
            barrier.reset();
            assert!(!barrier.is_broken() && barrier.waiting() == 0);
        }
    }
}

#[process]
fn keep_setting(job: Job, event: Event) {
    let random = job.begin();
    loop {
        match random.below(8) {
            0 => event.clear(),
            1 => drop(event.wait_timeout(moment(&random))),
            _ => event.set(),
        }
    }
}

each_start_method! {
    only [forkserver ForkServer]
    fn event() {
        let event = Event::new()?;
        let mut storm = Storm::new();
        thread::scope(|scope| {
            let wait = |random: &Random| {
                event.wait();
                random.dawdle(); // or nothing else would run for as long as it is set
            };
            let waiters = [(); 2].map(|()| Survivor::new(scope, wait));
            storm.rage(kills(), 4, |job| keep_setting(job, event.clone()).spawn(), |storm| {
                // Whoever has set it may have died before it had woken all.
                if event.is_set() {
                    storm.count("set", 1);
                } else {
                    storm.count("not set", 1);
                    event.set();
                }
                waiters.iter().for_each(Survivor::goes_on);
                event.clear();
            });
            event.set();
        });
        assert!(storm.counted("set") > 0, "the storm missed");
    }
}

/// Sees to it that the work is done: many visits, so that there is time to die.
fn do_once(once: &Once, ledger: &Ledger, who: u64, random: &Random) {
    let work = || (0..random.below(3000)).for_each(|_| ledger.visit(who));
    match once.call_once(work) {
        Ok(()) => {}
        Err(OnceError::Poisoned(poisoned)) => {
            assert_eq!(poisoned.cause(), PoisonCause::Died, "{poisoned}");
            let again = once.call_once_force(|| {
                ledger.repair(poisoned.holder().pid());
                work();
            });
            again.unwrap();
        }
        Err(other) => panic!("{other}"),
    }
    assert!(once.is_completed());
    ledger.look(); // nobody is at it any more
}

#[process]
fn take_part_in_doing_once(job: Job, once: Once, ledger: Shared<Ledger>) {
    let random = job.begin();
    do_once(&once, &ledger, job.serial, &random);
    thread::sleep(Duration::from_secs(600)); // until it is killed
}

each_start_method! {
    only [forkserver ForkServer]
    fn once() {
        let mut storm = Storm::new();
        let mut told = HashSet::new();
        while storm.dead.len() < kills() {
            let (once, ledger) = (Once::new()?, Shared::new(Ledger::new())?);
            storm.fill(2, |job| take_part_in_doing_once(job, once.clone(), ledger.clone()).spawn());
            storm.random.dawdle();
            storm.kill(1 + storm.random.below(2) as usize);
            do_once(&once, &ledger, SURVIVOR, &storm.random);
            storm.kill_all();
            ledger.audit(&mut told, &mut storm);
        }
        assert!(storm.counted("died inside") > 0, "the storm missed");
    }
}
