//! Barriers: Python's `_TestBarrier`, and parties that are killed.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use offspring::sync::{Barrier, BarrierError, Mutex};
use offspring::{Child, Error, Process, Sender, pipe, process};
use serde::{Deserialize, Serialize};
use tests::crew::{By, Worker, daemon};
use tests::each_start_method;
use tests::family::until;

/// How many parties a barrier has, if nothing else is said.
const N: usize = 5;
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(50);

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Python's `run_threads`: has the work done by `N` in all, one of them the case itself.
fn run<P: Process<Output: Send> + Send + 'static>(by: By, work: impl Fn() -> P) -> Vec<P::Output> {
    let workers: Vec<_> = (1..N).map(|_| by.start(work())).collect();
    let own = work().run();
    workers.into_iter().map(Worker::join).chain([own]).collect()
}

/// Python's `multipass`: all do a step before any does the next.
#[process]
fn multipass(barrier: Barrier, results: [Mutex<usize>; 2], passes: usize) {
    for pass in 0..passes {
        *results[0].lock().unwrap() += 1;
        assert_eq!(*results[1].lock().unwrap(), pass * N);
        barrier.wait().unwrap();
        *results[1].lock().unwrap() += 1;
        assert_eq!(*results[0].lock().unwrap(), (pass + 1) * N);
        barrier.wait().unwrap();
    }
    assert!(!barrier.is_broken());
}

fn test_barrier(by: By, passes: usize) -> Outcome {
    let barrier = Barrier::new(N)?;
    let results = [Mutex::new(0)?, Mutex::new(0)?];
    run(by, || multipass(barrier.clone(), results.clone(), passes));
    assert_eq!((barrier.waiting(), barrier.parties(), barrier.is_broken()), (0, N, false));
    Ok(())
}

#[process]
fn which_am_i(barrier: Barrier) -> (usize, bool) {
    let result = barrier.wait().unwrap();
    (result.index(), result.is_leader())
}

fn test_wait_return(by: By) -> Outcome {
    let barrier = Barrier::new(N)?;
    for _ in 0..5 {
        let mut results = run(by, || which_am_i(barrier.clone()));
        results.sort_unstable();
        let expected: Vec<_> = (0..N).map(|index| (index, index == 0)).collect();
        assert_eq!(results, expected);
        // No thread may be left where children are copies.
        until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);
    }
    Ok(())
}

#[process]
fn pass_with_an_action(barrier: Barrier, results: Mutex<usize>) {
    barrier
        .wait_with(|| {
            assert_eq!(*results.lock().unwrap(), 0);
            // The others have come, and none has gone.
            assert_eq!(barrier.waiting(), N);
            *results.lock().unwrap() += 1;
        })
        .unwrap();
    assert_eq!(*results.lock().unwrap(), 1);
}

fn test_action(by: By) -> Outcome {
    let (barrier, results) = (Barrier::new(N)?, Mutex::new(0)?);
    run(by, || pass_with_an_action(barrier.clone(), results.clone()));
    assert_eq!(*results.lock().unwrap(), 1);
    Ok(())
}

/// One passes once and aborts; what the others are told of the second time.
#[process]
fn pass_and_abort(barrier: Barrier, all_waiting: bool) -> Option<BarrierOutcome> {
    if barrier.wait().unwrap().index() == N / 2 {
        if all_waiting {
            until(|| barrier.waiting() == N - 1);
        }
        barrier.abort();
        return None;
    }
    Some(outcome(&barrier))
}

/// What a wait gave; errors do not travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum BarrierOutcome {
    Passed,
    TimedOut,
    Aborted,
    WaiterDied,
    ActionFailed,
    Reset,
}

impl From<BarrierError> for BarrierOutcome {
    fn from(error: BarrierError) -> Self {
        match error {
            BarrierError::Timeout => Self::TimedOut,
            BarrierError::Aborted => Self::Aborted,
            BarrierError::WaiterDied => Self::WaiterDied,
            BarrierError::ActionFailed => Self::ActionFailed,
            BarrierError::Reset => Self::Reset,
            other => panic!("{other}"),
        }
    }
}

fn outcome(barrier: &Barrier) -> BarrierOutcome {
    match barrier.wait() {
        Ok(_) => BarrierOutcome::Passed,
        Err(error) => error.into(),
    }
}

fn test_abort(by: By) -> Outcome {
    for all_waiting in [false, true] {
        until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);
        let barrier = Barrier::new(N)?;
        let told = run(by, || pass_and_abort(barrier.clone(), all_waiting));
        let aborted = told.iter().filter(|told| **told == Some(BarrierOutcome::Aborted));
        assert_eq!(aborted.count(), N - 1, "{told:?}");
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait().unwrap_err(), BarrierError::Aborted);
        assert_eq!(barrier.wait_timeout(LONG).unwrap_err(), BarrierError::Aborted);
    }
    Ok(())
}

#[process]
fn pass_and_reset(barrier: Barrier) -> Option<BarrierOutcome> {
    let told = if barrier.wait().unwrap().index() == N / 2 {
        until(|| barrier.waiting() == N - 1);
        barrier.reset();
        None
    } else {
        Some(outcome(&barrier))
    };
    barrier.wait().unwrap();
    told
}

fn test_reset(by: By) -> Outcome {
    let barrier = Barrier::new(N)?;
    let told = run(by, || pass_and_reset(barrier.clone()));
    let reset = told.iter().filter(|told| **told == Some(BarrierOutcome::Reset)).count();
    assert_eq!(reset, N - 1, "{told:?}");
    assert!(!barrier.is_broken());
    barrier.reset(); // with nobody there
    run(by, || which_am_i(barrier.clone()));
    Ok(())
}

#[process]
fn abort_and_reset(barrier: Barrier, other: Barrier) -> Option<BarrierOutcome> {
    let told = if barrier.wait().unwrap().index() == N / 2 {
        barrier.abort();
        None
    } else {
        Some(outcome(&barrier))
    };
    // All have left before it is reset, and nobody comes before that.
    if other.wait().unwrap().index() == N / 2 {
        barrier.reset();
    }
    other.wait().unwrap();
    barrier.wait().unwrap();
    told
}

fn test_abort_and_reset(by: By) -> Outcome {
    let (barrier, other) = (Barrier::new(N)?, Barrier::new(N)?);
    let told = run(by, || abort_and_reset(barrier.clone(), other.clone()));
    let aborted = told.iter().filter(|told| **told == Some(BarrierOutcome::Aborted)).count();
    assert_eq!(aborted, N - 1, "{told:?}");
    assert!(!barrier.is_broken());
    Ok(())
}

/// All pass once; then one is late, until the others are told that it is.
#[process]
fn be_late(barrier: Barrier, timeout: Option<Duration>) -> BarrierOutcome {
    let wait = || match timeout {
        Some(timeout) => barrier.wait_timeout(timeout),
        None => barrier.wait(),
    };
    if barrier.wait_timeout(LONG).unwrap().index() == N / 2 {
        until(|| barrier.is_broken());
        return wait().unwrap_err().into();
    }
    wait().unwrap_err().into()
}

fn test_timeout(by: By, barrier: &Barrier, timeout: Option<Duration>) -> Outcome {
    let told = run(by, || be_late(barrier.clone(), timeout));
    assert_eq!(told, [BarrierOutcome::TimedOut; N]);
    assert!(barrier.is_broken());
    Ok(())
}

/// Python's `_test_thousand_f`
#[process]
fn pass_and_tell(barrier: Barrier, passes: usize, to: Sender<usize>) {
    for pass in 0..passes {
        barrier.wait().unwrap();
        to.send(pass).unwrap();
    }
}

fn test_thousand(by: By) -> Outcome {
    let barrier = Barrier::new(N)?;
    let (to, from) = pipe()?;
    let workers: Vec<_> =
        (0..N).map(|_| by.start(pass_and_tell(barrier.clone(), 1000, to.clone()))).collect();
    for pass in 0..1000 {
        for _ in 0..N {
            assert_eq!(from.recv()?, pass);
        }
    }
    workers.into_iter().for_each(Worker::join);
    Ok(())
}

each_start_method! {
    /// `test_barrier`
    fn test_barrier_is_passed_in_step() {
        test_barrier(By::Children, 1)?;
    }

    /// `test_barrier_10`
    fn test_barrier_10_times() {
        test_barrier(By::Children, 10)?;
    }

    only [spawn Spawn]
    fn test_barrier_10_times_by_threads() {
        test_barrier(By::Threads, 10)?;
    }

    /// `test_wait_return`
    fn test_wait_return_is_another_number_for_each() {
        test_wait_return(By::Children)?;
    }

    only [spawn Spawn]
    fn test_wait_return_in_threads() {
        test_wait_return(By::Threads)?;
    }

    /// `test_action`
    fn test_action_runs_once_before_anybody_is_released() {
        test_action(By::Children)?;
    }

    only [spawn Spawn]
    fn test_action_in_a_thread() {
        test_action(By::Threads)?;
    }

    /// `test_abort`
    fn test_abort_breaks_it_for_all() {
        test_abort(By::Children)?;
    }

    only [spawn Spawn]
    fn test_abort_by_a_thread() {
        test_abort(By::Threads)?;
    }

    /// `test_reset`
    fn test_reset_frees_those_who_wait_and_mends_it() {
        test_reset(By::Children)?;
    }

    only [spawn Spawn]
    fn test_reset_by_a_thread() {
        test_reset(By::Threads)?;
    }

    /// `test_abort_and_reset`
    fn test_abort_and_reset_make_it_usable_again() {
        test_abort_and_reset(By::Children)?;
    }

    only [spawn Spawn]
    fn test_abort_and_reset_by_threads() {
        test_abort_and_reset(By::Threads)?;
    }

    /// `test_timeout`
    fn test_timeout_breaks_it_for_all() {
        test_timeout(By::Children, &Barrier::new(N)?, Some(SHORT))?;
    }

    only [spawn Spawn]
    fn test_timeout_in_threads() {
        test_timeout(By::Threads, &Barrier::new(N)?, Some(SHORT))?;
    }

    /// `test_default_timeout`
    fn test_default_timeout_breaks_it_for_all() {
        test_timeout(By::Children, &Barrier::builder(N).timeout(SHORT).build()?, None)?;
    }

    only [spawn Spawn]
    fn test_default_timeout_in_threads() {
        test_timeout(By::Threads, &Barrier::builder(N).timeout(SHORT).build()?, None)?;
    }

    /// `test_thousand`
    fn test_thousand_times_nobody_gets_ahead() {
        test_thousand(By::Children)?;
    }

    only [spawn Spawn]
    fn test_thousand_times_no_thread_gets_ahead() {
        test_thousand(By::Threads)?;
    }

    only [spawn Spawn]
    /// `test_single_thread`
    fn test_single_thread_never_waits() {
        for parties in [1, 0] {
            let barrier = Barrier::new(parties).unwrap();
            for _ in 0..3 {
                assert!(barrier.wait().unwrap().is_leader());
                assert_eq!(barrier.wait_timeout(Duration::ZERO).unwrap().index(), 0);
                let mut ran = false;
                barrier.wait_with(|| ran = true).unwrap();
                assert!(ran && barrier.waiting() == 0);
            }
        }
    }

    only [spawn Spawn]
    fn a_timeout_is_no_shorter_than_it_is_told() {
        let mut builder = Barrier::builder(2);
        builder.timeout(SHORT);
        let limited = builder.build().unwrap();
        let plain = Barrier::new(2).unwrap();
        let expect_timeout = |wait: &dyn Fn() -> Result<_, BarrierError>| {
            let before = Instant::now();
            assert_eq!(wait().map(drop).unwrap_err(), BarrierError::Timeout);
            before.elapsed()
        };
        assert!(expect_timeout(&|| limited.wait()) >= SHORT);
        assert!(expect_timeout(&|| plain.wait_timeout(SHORT)) >= SHORT);
        plain.reset();
        expect_timeout(&|| plain.wait_timeout(Duration::ZERO));
        assert!(plain.is_broken() && limited.is_broken());
        limited.reset();
        limited.abort(); // with nobody there
        assert_eq!(limited.wait().unwrap_err(), BarrierError::Aborted);
        assert_eq!(limited.wait_with(|| unreachable!()).unwrap_err(), BarrierError::Aborted);
    }
}

#[test]
fn there_are_no_more_parties_than_8_192() {
    match Barrier::new(8193) {
        Err(Error::TooLarge { len: 8193, max: 8192, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(Barrier::new(8192).unwrap().parties(), 8192);
}

#[test]
fn debug_shows_how_it_stands() {
    let barrier = Barrier::new(3).unwrap();
    let shown = format!("{barrier:?}");
    assert!(shown.contains("parties: 3, waiting: 0, broken: false"), "{shown}");
    barrier.abort();
    let shown = format!("{barrier:?}");
    assert!(shown.contains("broken: true") && shown.contains(file!()), "{shown}");
}

/// Waits, and says what it was told.
#[process]
fn come(barrier: Barrier) -> BarrierOutcome {
    outcome(&barrier)
}

/// Children that wait at the barrier.
fn waiting_children(barrier: &Barrier, count: usize) -> Vec<Child<BarrierOutcome>> {
    let children = (0..count).map(|_| daemon(come(barrier.clone())).unwrap()).collect();
    until(|| barrier.waiting() == count);
    children
}

fn expect_broken_by_a_death(barrier: &Barrier, others: Vec<Child<BarrierOutcome>>) -> Outcome {
    for other in others {
        assert_eq!(other.join()?, BarrierOutcome::WaiterDied);
    }
    assert_eq!(barrier.wait().unwrap_err(), BarrierError::WaiterDied);
    assert!(barrier.is_broken() && barrier.waiting() == 0);
    barrier.reset();
    assert!(!barrier.is_broken());
    let others = waiting_children(barrier, barrier.parties() - 1);
    assert!(barrier.wait()?.is_leader());
    for other in others {
        assert_eq!(other.join()?, BarrierOutcome::Passed);
    }
    Ok(())
}

/// Waits in a thread, and exits beside it.
#[process]
fn exit_beside_a_waiter(barrier: Barrier) {
    let before = barrier.waiting();
    let waiter = barrier.clone();
    thread::spawn(|| come(waiter).run());
    until(|| barrier.waiting() > before);
    std::process::exit(0);
}

/// Comes last, and is killed in its action.
#[process]
fn die_in_the_action(barrier: Barrier) {
    let _ = barrier.wait_with(|| raise(Signal::SIGKILL).unwrap());
}

/// Comes last, and panics in its action.
#[process]
fn panic_in_the_action(barrier: Barrier) {
    let _ = barrier.wait_with(|| resume_unwind(Box::new("on purpose")));
}

/// Ends the round from within its action.
#[process]
fn end_in_the_action(barrier: Barrier, reset: bool) -> BarrierOutcome {
    let end = if reset { Barrier::reset } else { Barrier::abort };
    barrier.wait_with(|| end(&barrier)).unwrap_err().into()
}

each_start_method! {
    fn a_waiter_that_is_killed_breaks_it_for_all() {
        for victim in [0, 2, 3] {
            let barrier = Barrier::new(N)?;
            let mut children = waiting_children(&barrier, N - 1);
            let victim = children.remove(victim);
            victim.kill()?;
            victim.wait()?;
            expect_broken_by_a_death(&barrier, children)?;
        }
    }

    /// Also if it is one of so many that not all can watch it.
    fn one_of_many_waiters_that_is_killed_breaks_it_for_all() {
        let barrier = Barrier::new(50)?;
        let mut children = waiting_children(&barrier, 49);
        let victim = children.remove(0);
        victim.kill()?;
        for other in children {
            assert_eq!(other.join()?, BarrierOutcome::WaiterDied);
        }
    }

    /// Before anybody else has come to it.
    fn a_barrier_is_broken_as_soon_as_its_only_waiter_is_dead() {
        let barrier = Barrier::new(2)?;
        let child = waiting_children(&barrier, 1).remove(0);
        child.kill()?;
        child.wait()?;
        assert!(barrier.is_broken());
        assert!(format!("{barrier:?}").contains("broken: true"));
        assert_eq!(barrier.wait(), Err(BarrierError::WaiterDied));
    }

    fn several_waiters_are_killed() {
        let barrier = Barrier::new(N)?;
        let mut children = waiting_children(&barrier, N - 1);
        for victim in children.drain(..3) {
            victim.kill()?;
            victim.wait()?;
        }
        expect_broken_by_a_death(&barrier, children)?;
        let children = waiting_children(&barrier, N - 1);
        for victim in children {
            victim.kill()?;
            victim.wait()?;
        }
        expect_broken_by_a_death(&barrier, vec![])?;
    }

    fn a_process_that_exits_while_its_thread_waits_breaks_it() {
        let barrier = Barrier::new(N)?;
        let children = waiting_children(&barrier, N - 2);
        daemon(exit_beside_a_waiter(barrier.clone()))?.wait()?;
        expect_broken_by_a_death(&barrier, children)?;
    }

    fn one_that_is_killed_in_its_action_breaks_it() {
        let barrier = Barrier::new(N)?;
        let children = waiting_children(&barrier, N - 1);
        daemon(die_in_the_action(barrier.clone()))?.wait()?;
        expect_broken_by_a_death(&barrier, children)?;
    }

    fn an_action_that_panics_breaks_it() {
        let barrier = Barrier::new(N)?;
        for here in [false, true] {
            let children = waiting_children(&barrier, N - 1);
            if here {
                let act = || panic_in_the_action(barrier.clone()).run();
                assert!(catch_unwind(AssertUnwindSafe(act)).is_err());
            } else {
                assert!(daemon(panic_in_the_action(barrier.clone()))?.join().is_err());
            }
            for child in children {
                assert_eq!(child.join()?, BarrierOutcome::ActionFailed);
            }
            assert_eq!(barrier.wait().unwrap_err(), BarrierError::ActionFailed);
            barrier.reset();
        }
        let children = waiting_children(&barrier, N - 1);
        barrier.wait()?;
        for child in children {
            assert_eq!(child.join()?, BarrierOutcome::Passed);
        }
    }

    fn an_action_may_end_the_round() {
        let barrier = Barrier::new(N)?;
        for (reset, expected) in [(true, BarrierOutcome::Reset), (false, BarrierOutcome::Aborted)] {
            let children = waiting_children(&barrier, N - 1);
            let last = daemon(end_in_the_action(barrier.clone(), reset))?;
            for child in children.into_iter().chain([last]) {
                assert_eq!(child.join()?, expected);
            }
            assert_eq!(barrier.is_broken(), !reset);
        }
    }

    /// Whoever is killed, at whatever moment, the others do not wait for ever.
    fn kills_at_random_moments_hang_nobody() {
        for round in 0..10 {
            let barrier = Barrier::new(3)?;
            let (begun, has_begun) = pipe()?;
            let start = || daemon(pass_until_it_breaks(barrier.clone(), begun.clone()));
            let [victim, second, third] = [start()?, start()?, start()?];
            (0..3).try_for_each(|_| has_begun.recv())?;
            (0..round * 1000).for_each(|_| std::hint::spin_loop());
            victim.kill()?;
            for other in [second, third] {
                let told = other.join()?;
                assert!(
                    matches!(told, BarrierOutcome::WaiterDied | BarrierOutcome::TimedOut),
                    "{told:?}"
                );
            }
        }
    }
}

/// Passes again and again. One that is not there is missed only in the end.
#[process]
fn pass_until_it_breaks(barrier: Barrier, begun: Sender<()>) -> BarrierOutcome {
    barrier.wait().unwrap();
    begun.send(()).unwrap();
    loop {
        if let Err(error) = barrier.wait_timeout(4 * SHORT) {
            return error.into();
        }
    }
}

/// Says how often it was the leader.
#[process]
fn lead(barrier: Barrier, passes: usize) -> usize {
    (0..passes).filter(|_| barrier.wait().unwrap().is_leader()).count()
}

fn exactly_one_leads_each_round(by: By) -> Outcome {
    let barrier = Barrier::new(3)?;
    let workers: Vec<_> = (0..3).map(|_| by.start(lead(barrier.clone(), 500))).collect();
    assert_eq!(workers.into_iter().map(Worker::join).sum::<usize>(), 500);
    Ok(())
}

each_start_method! {
    fn exactly_one_process_leads_each_round() {
        exactly_one_leads_each_round(By::Children)?;
    }

    only [spawn Spawn]
    fn exactly_one_thread_leads_each_round() {
        exactly_one_leads_each_round(By::Threads)?;
    }
}
