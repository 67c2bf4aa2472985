//! Conditions: Python's `_TestCondition`, and waiters that are killed.

use std::fs;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::{Pid, gettid};
use offspring::sync::{Condvar, Mutex, PoisonCause};
use offspring::{Process, Receiver, Sender, pipe, process};
use tests::crew::{By, Worker, daemon, until_asleep};
use tests::each_start_method;
use tests::family::until;

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(50);

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Who waits in a case, beside the case itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crew {
    /// Children, and threads of the case itself, as in Python's tests.
    Both,
    Threads,
}

impl Crew {
    /// So many of them. Children first: where there are threads, a process is not copied.
    fn start<P>(self, count: usize, work: impl Fn() -> P) -> Vec<Worker<P::Output>>
    where
        P: Process<Output: Send> + Send + 'static,
    {
        let children = if self == Self::Both { count.div_ceil(2) } else { 0 };
        let start = |index| if index < children { By::Children } else { By::Threads }.start(work());
        (0..count).map(start).collect()
    }
}

/// Waits once; says who it is before it does, with the mutex held, and afterwards whether it was
/// notified.
#[process]
fn wait_once(
    mutex: Mutex<u32>,
    condvar: Condvar,
    timeout: Duration,
    sleeping: Sender<i32>,
    woken: Sender<(i32, bool)>,
) {
    let guard = mutex.lock().unwrap();
    let tid = gettid().as_raw();
    sleeping.send(tid).unwrap();
    let (_guard, result) = condvar.wait_timeout(guard, timeout).unwrap();
    woken.send((tid, !result.timed_out())).unwrap();
}

/// One end and the other.
type Pipe<T> = (Sender<T>, Receiver<T>);

/// A condition, its mutex, and word from those who wait for it.
struct Sleepers {
    mutex: Mutex<u32>,
    condvar: Condvar,
    sleeping: Pipe<i32>,
    woken: Pipe<(i32, bool)>,
}

impl Sleepers {
    fn new() -> offspring::Result<Self> {
        let (mutex, condvar) = (Mutex::new(0)?, Condvar::new()?);
        Ok(Self { mutex, condvar, sleeping: pipe()?, woken: pipe()? })
    }

    fn work(&self, timeout: Duration) -> wait_once {
        wait_once(
            self.mutex.clone(),
            self.condvar.clone(),
            timeout,
            self.sleeping.0.clone(),
            self.woken.0.clone(),
        )
    }

    /// Waits until so many are about to wait, and then have given the mutex back: to wait.
    fn until_asleep(&self, count: usize) -> Vec<i32> {
        let tids = (0..count).map(|_| self.sleeping.1.recv().unwrap()).collect();
        drop(self.mutex.lock().unwrap());
        self.expect_waiting(count);
        tids
    }

    /// Python's look at the two counters of a condition.
    fn expect_waiting(&self, count: usize) {
        let shown = format!("{:?}", self.condvar);
        assert!(shown.contains(&format!("waiting: {count},")), "{shown}");
    }

    /// Waits until so many are awake, all notified or none; and nobody else is.
    fn until_woken(&self, count: usize, notified: bool) -> Vec<i32> {
        let tids = (0..count)
            .map(|_| {
                let (tid, was_notified) = self.woken.1.recv().unwrap();
                assert_eq!(was_notified, notified);
                tid
            })
            .collect();
        assert!(!self.woken.1.poll(Duration::ZERO).unwrap());
        tids
    }
}

fn test_notify(crew: Crew) -> Outcome {
    let sleepers = Sleepers::new()?;
    let workers = crew.start(2, || sleepers.work(LONG));
    sleepers.until_asleep(2);
    sleepers.until_woken(0, true);
    for left in [1, 0] {
        let guard = sleepers.mutex.lock().unwrap();
        assert_eq!(sleepers.condvar.notify_one(), 1);
        sleepers.expect_waiting(left);
        sleepers.until_woken(0, true); // it needs the mutex
        drop(guard);
        sleepers.until_woken(1, true);
    }
    assert_eq!(sleepers.condvar.notify_one(), 0);
    workers.into_iter().for_each(Worker::join);
    Ok(())
}

fn test_notify_all(crew: Crew) -> Outcome {
    let sleepers = Sleepers::new()?;
    let timed = crew.start(6, || sleepers.work(SHORT));
    sleepers.until_woken(6, false);
    sleepers.expect_waiting(0);
    timed.into_iter().for_each(Worker::join);
    assert_eq!((0..6).filter(|_| sleepers.sleeping.1.recv().is_ok()).count(), 6);
    assert_eq!(sleepers.condvar.notify_all(), 0);
    // No thread may be left where children are copies.
    until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);

    let workers = crew.start(6, || sleepers.work(LONG));
    sleepers.until_asleep(6);
    sleepers.until_woken(0, true);
    assert_eq!(sleepers.condvar.notify_all(), 6); // without the mutex
    sleepers.expect_waiting(0);
    sleepers.until_woken(6, true);
    workers.into_iter().for_each(Worker::join);
    Ok(())
}

fn test_notify_n(crew: Crew) -> Outcome {
    let sleepers = Sleepers::new()?;
    let workers = crew.start(6, || sleepers.work(LONG));
    sleepers.until_asleep(6);
    for (n, woken, left) in [(0, 0, 6), (2, 2, 4), (4, 4, 0), (3, 0, 0)] {
        let guard = sleepers.mutex.lock().unwrap();
        assert_eq!(sleepers.condvar.notify_n(n), woken);
        drop(guard);
        sleepers.until_woken(woken, true);
        sleepers.expect_waiting(left);
    }
    workers.into_iter().for_each(Worker::join);
    Ok(())
}

/// Those who have waited longest are woken first.
fn test_notify_in_turn(crew: Crew) -> Outcome {
    let sleepers = Sleepers::new()?;
    let mut tids = Vec::new();
    let mut workers = Vec::new();
    for _ in 0..5 {
        // All threads, or all children: these are not started beside threads.
        let by = if crew == Crew::Both { By::Children } else { By::Threads };
        workers.push(by.start(sleepers.work(LONG)));
        tids.push(sleepers.sleeping.1.recv()?);
        drop(sleepers.mutex.lock().unwrap());
    }
    for chunk in tids.chunks(2) {
        assert_eq!(sleepers.condvar.notify_n(2), chunk.len());
        let mut woken = sleepers.until_woken(chunk.len(), true);
        woken.sort_by_key(|tid| tids.iter().position(|other| other == tid));
        assert_eq!(woken, chunk);
    }
    workers.into_iter().for_each(Worker::join);
    Ok(())
}

/// Python's `_test_waitfor_f`
#[process]
fn wait_for_four(state: Mutex<i32>, condvar: Condvar) {
    let mut guard = state.lock().unwrap();
    *guard = 0;
    condvar.notify_one();
    let guard = condvar.wait_while(guard, |state| *state != 4).unwrap();
    assert_eq!(*guard, 4);
}

fn test_waitfor(crew: Crew) -> Outcome {
    let (state, condvar) = (Mutex::new(-1)?, Condvar::new()?);
    let workers = crew.start(1, || wait_for_four(state.clone(), condvar.clone()));
    let guard = condvar.wait_while(state.lock().unwrap(), |state| *state != 0).unwrap();
    assert_eq!(*guard, 0);
    drop(guard);
    for _ in 0..4 {
        *state.lock().unwrap() += 1;
        condvar.notify_one();
    }
    workers.into_iter().for_each(Worker::join);
    Ok(())
}

/// Python's `_test_waitfor_timeout_f`
#[process]
fn wait_for_four_in_vain(state: Mutex<i32>, condvar: Condvar, begun: Sender<()>) {
    let guard = state.lock().unwrap();
    begun.send(()).unwrap();
    let before = Instant::now();
    let timeout = 2 * SHORT;
    let (guard, result) = condvar.wait_timeout_while(guard, timeout, |state| *state != 4).unwrap();
    assert!(result.timed_out() && *guard < 4);
    assert!(before.elapsed() >= timeout);
}

fn test_waitfor_timeout(crew: Crew) -> Outcome {
    let (state, condvar) = (Mutex::new(0)?, Condvar::new()?);
    let (begun, has_begun) = pipe()?;
    let workers =
        crew.start(1, || wait_for_four_in_vain(state.clone(), condvar.clone(), begun.clone()));
    has_begun.recv()?;
    for _ in 0..3 {
        *state.lock().unwrap() += 1;
        condvar.notify_one();
    }
    workers.into_iter().for_each(Worker::join);
    assert_eq!(*state.lock().unwrap(), 3);
    Ok(())
}

#[process]
fn notify_when_it_can(mutex: Mutex<u32>, condvar: Condvar) -> usize {
    drop(mutex.lock().unwrap()); // it waits
    condvar.notify_one()
}

fn test_wait_result(crew: Crew) -> Outcome {
    let (mutex, condvar) = (Mutex::new(0)?, Condvar::new()?);
    let mut guard = mutex.lock().unwrap();
    for timeout in [Duration::ZERO, SHORT] {
        let before = Instant::now();
        let (again, result) = condvar.wait_timeout(guard, timeout).unwrap();
        assert!(result.timed_out() && before.elapsed() >= timeout);
        assert!(mutex.try_lock().is_err()); // it is held again
        guard = again;
    }
    for limit in [Some(LONG), None] {
        // No thread may be left where children are copies.
        until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);
        let workers = crew.start(1, || notify_when_it_can(mutex.clone(), condvar.clone()));
        guard = match limit {
            Some(timeout) => {
                let (guard, result) = condvar.wait_timeout(guard, timeout).unwrap();
                assert!(!result.timed_out());
                guard
            }
            None => condvar.wait(guard).unwrap(),
        };
        for worker in workers {
            assert_eq!(worker.join(), 1);
        }
    }
    Ok(())
}

each_start_method! {
    /// `test_notify`
    fn test_notify_wakes_one_at_a_time() {
        test_notify(Crew::Both)?;
    }

    only [spawn Spawn]
    fn test_notify_of_threads() {
        test_notify(Crew::Threads)?;
    }

    /// `test_notify_all`
    fn test_notify_all_wakes_all_who_have_not_timed_out() {
        test_notify_all(Crew::Both)?;
    }

    only [spawn Spawn]
    fn test_notify_all_of_threads() {
        test_notify_all(Crew::Threads)?;
    }

    /// `test_notify_n`
    fn test_notify_n_wakes_so_many() {
        test_notify_n(Crew::Both)?;
    }

    only [spawn Spawn]
    fn test_notify_n_of_threads() {
        test_notify_n(Crew::Threads)?;
    }

    fn those_who_have_waited_longest_are_notified_first() {
        test_notify_in_turn(Crew::Both)?;
    }

    only [spawn Spawn]
    fn threads_that_have_waited_longest_are_notified_first() {
        test_notify_in_turn(Crew::Threads)?;
    }

    /// `test_waitfor`
    fn test_waitfor_returns_when_it_is_so() {
        test_waitfor(Crew::Both)?;
    }

    only [spawn Spawn]
    fn test_waitfor_of_a_thread() {
        test_waitfor(Crew::Threads)?;
    }

    /// `test_waitfor_timeout`
    fn test_waitfor_timeout_is_no_shorter_for_being_notified() {
        test_waitfor_timeout(Crew::Both)?;
    }

    only [spawn Spawn]
    fn test_waitfor_timeout_of_a_thread() {
        test_waitfor_timeout(Crew::Threads)?;
    }

    /// `test_timeout`, `test_wait_result`
    fn test_wait_result_says_whether_it_was_in_time() {
        test_wait_result(Crew::Both)?;
    }

    only [spawn Spawn]
    fn test_wait_result_of_a_thread() {
        test_wait_result(Crew::Threads)?;
    }
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count_signals(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Waits while signals come, and gives how many did.
#[process]
fn outlast_signals(mutex: Mutex<u32>, condvar: Condvar, ready: Sender<i32>) -> usize {
    let action =
        SigAction::new(SigHandler::Handler(count_signals), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing but what is allowed in one.
    unsafe { sigaction(Signal::SIGINT, &action) }.unwrap();
    let guard = mutex.lock().unwrap();
    ready.send(gettid().as_raw()).unwrap();
    let (guard, result) = condvar.wait_timeout(guard, LONG).unwrap();
    assert!(!result.timed_out() && *guard == 1);
    HANDLED.load(Ordering::Relaxed)
}

each_start_method! {
    /// `test_wait_result`: there, what a handler raises ends the wait. Here, nothing does.
    fn test_wait_result_is_not_disturbed_by_a_signal() {
        let (mutex, condvar) = (Mutex::new(0)?, Condvar::new()?);
        let (ready, is_ready) = pipe()?;
        let child = daemon(outlast_signals(mutex.clone(), condvar.clone(), ready))?;
        let tid = is_ready.recv()?;
        for _ in 0..10 {
            until_asleep(tid);
            kill(Pid::from_raw(tid), Signal::SIGINT)?;
        }
        until_asleep(tid);
        *mutex.lock().unwrap() = 1;
        assert_eq!(condvar.notify_all(), 1);
        assert!(child.join()? >= 1);
    }

    /// Those who are left are notified, and no others are counted.
    fn waiters_that_are_killed_are_not_notified() {
        let sleepers = Sleepers::new()?;
        let start = || daemon(sleepers.work(LONG));
        let mut children = (0..40).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
        sleepers.until_asleep(40);
        let mut expected = 40;
        for (killed, notified) in [(1, 1), (20, 5), (2, usize::MAX)] {
            for victim in children.drain(..killed) {
                victim.kill()?;
                victim.wait()?;
            }
            expected -= killed;
            let woken = sleepers.condvar.notify_n(notified);
            assert_eq!(woken, expected.min(notified));
            expected -= woken;
            let woken = sleepers.until_woken(woken, true);
            children.retain(|child| !woken.contains(&child.pid().cast_signed()));
        }
        assert!(children.is_empty());

        // Their places are there for others.
        let children = [start()?, start()?];
        sleepers.until_asleep(2);
        assert_eq!(sleepers.condvar.notify_all(), 2);
        for child in children {
            child.join()?;
        }
    }

    fn all_waiters_are_killed() {
        let sleepers = Sleepers::new()?;
        for _ in 0..2 {
            let start = || daemon(sleepers.work(LONG));
            let children = (0..5).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
            sleepers.until_asleep(5);
            for child in children {
                child.kill()?;
                child.wait()?;
            }
            sleepers.expect_waiting(0);
            assert_eq!(sleepers.condvar.notify_one(), 0);
        }
        assert!(!sleepers.mutex.is_poisoned());
    }

    /// Notified, it never had the mutex again: its notification is somebody else's.
    fn a_waiter_that_is_killed_before_it_has_the_mutex_passes_its_notification_on() {
        for _ in 0..5 {
            let sleepers = Sleepers::new()?;
            let start = |count| -> Result<Vec<_>, Box<dyn std::error::Error>> {
                let mut children = Vec::new();
                for _ in 0..count {
                    children.push(daemon(sleepers.work(LONG))?);
                    sleepers.sleeping.1.recv()?;
                    drop(sleepers.mutex.lock().unwrap()); // in this order
                }
                Ok(children)
            };
            let mut children = start(3)?;
            let guard = sleepers.mutex.lock().unwrap();
            assert_eq!(sleepers.condvar.notify_one(), 1);
            let first = children.remove(0);
            first.kill()?;
            first.wait()?;
            drop(guard);
            sleepers.until_woken(1, true);
            assert_eq!(sleepers.condvar.notify_all(), 1);
            sleepers.until_woken(1, true);
            for child in children {
                child.join()?;
            }
        }
    }
}

/// Notifies, and comes to grief with the mutex held.
#[process]
fn spoil(mutex: Mutex<u32>, condvar: Condvar) {
    let mut guard = mutex.lock().unwrap();
    *guard = 7;
    assert_eq!(condvar.notify_all(), 4);
    resume_unwind(Box::new("on purpose"));
}

/// What a wait gives if the mutex was poisoned meanwhile.
macro_rules! poisoned {
    ($result:expr, $inner:pat => $value:expr) => {{
        let poisoned = $result.unwrap_err().into_poisoned().unwrap();
        assert_eq!(poisoned.cause(), PoisonCause::Panicked);
        let $inner = poisoned.into_inner();
        $value
    }};
}

/// Waits in each of the ways there are.
#[process]
fn wait_while_others_spoil(
    mutex: Mutex<u32>,
    condvar: Condvar,
    ready: Sender<()>,
    way: usize,
) -> u32 {
    let guard = mutex.lock().unwrap();
    ready.send(()).unwrap();
    match way {
        0 => poisoned!(condvar.wait(guard), guard => *guard),
        1 => poisoned!(condvar.wait_while(guard, |value| *value < 9), guard => *guard),
        2 => poisoned!(condvar.wait_timeout(guard, LONG), (guard, result) => {
            assert!(!result.timed_out());
            *guard
        }),
        _ => poisoned!(
            condvar.wait_timeout_while(guard, LONG, |value| *value < 9),
            (guard, _) => *guard
        ),
    }
}

fn a_mutex_is_poisoned_meanwhile(crew: Crew) -> Outcome {
    let (mutex, condvar) = (Mutex::new(0)?, Condvar::new()?);
    let (ready, is_ready) = pipe()?;
    let ways = AtomicUsize::new(0);
    let waiters = crew.start(4, || {
        let way = ways.fetch_add(1, Ordering::Relaxed);
        wait_while_others_spoil(mutex.clone(), condvar.clone(), ready.clone(), way)
    });
    (0..4).try_for_each(|_| is_ready.recv())?;
    let spoiler = thread::spawn({
        let work = spoil(mutex.clone(), condvar.clone());
        || work.run()
    });
    assert!(spoiler.join().is_err());
    for waiter in waiters {
        assert_eq!(waiter.join(), 7);
    }
    Ok(())
}

/// Waits with a mutex of its own, and says by which condition it was woken.
#[process]
fn wait_with(mutex: Mutex<u32>, condvar: Condvar, sleeping: Sender<()>) -> u32 {
    let mut guard = mutex.lock().unwrap();
    sleeping.send(()).unwrap();
    guard = condvar.wait(guard).unwrap();
    *guard += 1;
    *guard
}

fn a_condition_has_two_mutexes(crew: Crew) -> Outcome {
    let mutexes = [Mutex::new(0)?, Mutex::new(10)?];
    let condvar = Condvar::new()?;
    let (sleeping, asleep) = pipe()?;
    let index = AtomicUsize::new(0);
    let waiters = crew.start(4, || {
        let mutex = &mutexes[index.fetch_add(1, Ordering::Relaxed) % 2];
        wait_with(mutex.clone(), condvar.clone(), sleeping.clone())
    });
    (0..4).try_for_each(|_| asleep.recv())?;
    let held = mutexes[0].lock().unwrap();
    drop(mutexes[1].lock().unwrap());
    assert_eq!(condvar.notify_all(), 4);
    // Two of them do not need what this thread holds.
    until(|| *mutexes[1].lock().unwrap() == 12);
    assert_eq!(*held, 0);
    drop(held);
    let mut values: Vec<_> = waiters.into_iter().map(Worker::join).collect();
    values.sort_unstable();
    assert_eq!(values, [1, 2, 11, 12]);
    Ok(())
}

each_start_method! {
    fn whoever_waits_is_told_that_the_mutex_was_poisoned_meanwhile() {
        a_mutex_is_poisoned_meanwhile(Crew::Both)?;
    }

    only [spawn Spawn]
    fn a_thread_that_waits_is_told_that_the_mutex_was_poisoned_meanwhile() {
        a_mutex_is_poisoned_meanwhile(Crew::Threads)?;
    }

    fn a_condition_may_be_used_with_two_mutexes_at_a_time() {
        a_condition_has_two_mutexes(Crew::Both)?;
    }

    only [spawn Spawn]
    fn a_condition_may_be_used_with_two_mutexes_by_threads() {
        a_condition_has_two_mutexes(Crew::Threads)?;
    }

    only [spawn Spawn]
    fn more_wait_than_there_was_room_for_at_first() {
        let sleepers = Sleepers::new()?;
        let workers = Crew::Threads.start(150, || sleepers.work(LONG));
        sleepers.until_asleep(150);
        assert_eq!(sleepers.condvar.notify_n(100), 100);
        sleepers.until_woken(100, true);
        assert_eq!(sleepers.condvar.notify_all(), 50);
        workers.into_iter().for_each(Worker::join);
    }
}

/// Passes a ball on, so often.
#[process]
fn play(ball: Mutex<usize>, thrown: Condvar, player: usize, players: usize, throws: usize) {
    for _ in 0..throws {
        let mut ball =
            thrown.wait_while(ball.lock().unwrap(), |at| *at % players != player).unwrap();
        *ball += 1;
        thrown.notify_all();
    }
}

each_start_method! {
    fn a_ball_goes_round_and_is_never_lost() {
        let (ball, thrown) = (Mutex::new(0)?, Condvar::new()?);
        let players = AtomicUsize::new(0);
        let workers = Crew::Both.start(4, || {
            let player = players.fetch_add(1, Ordering::Relaxed);
            play(ball.clone(), thrown.clone(), player, 4, 250)
        });
        workers.into_iter().for_each(Worker::join);
        assert_eq!(*ball.lock().unwrap(), 1000);
    }

    only [spawn Spawn]
    fn a_wait_that_is_not_needed_does_not_wait() {
        let (mutex, condvar) = (Mutex::new(1).unwrap(), Condvar::new().unwrap());
        let guard = condvar.wait_while(mutex.lock().unwrap(), |value| *value == 0).unwrap();
        let result = condvar.wait_timeout_while(guard, Duration::MAX, |value| *value == 0).unwrap();
        assert!(!result.1.timed_out());
        // What changes with the last look at it is seen.
        let result = condvar.wait_timeout_while(result.0, Duration::ZERO, |value| {
            *value += 1;
            *value < 3
        });
        let (guard, result) = result.unwrap();
        assert!(!result.timed_out() && *guard == 3);
        drop(guard);
        let shown = format!("{condvar:?}");
        assert!(
            shown.contains("Condvar { waiting: 0, made_at: ") && shown.contains(file!()),
            "{shown}"
        );
    }
}
