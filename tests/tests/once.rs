//! What is done once by whichever process comes first, and what becomes of it if that one is gone.
//! Python's module has none.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use nix::unistd::gettid;
use offspring::sync::{Mutex, Once, OnceError, OnceLock, PoisonCause, Semaphore};
use offspring::{Receiver, Sender, pipe, process};
use serde::{Deserialize, Serialize};
use tests::crew::{By, Worker, daemon, until_asleep};
use tests::each_start_method;
use tests::family::until;

const SHORT: Duration = Duration::from_millis(20);

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Says who it is, waits until it is done, and gives what is counted then.
#[process]
fn see_it_done(once: Once, count: Mutex<u32>, about_to: Sender<i32>) -> u32 {
    about_to.send(gettid().as_raw()).unwrap();
    once.wait().unwrap();
    assert!(once.wait_timeout(Duration::ZERO).unwrap());
    *count.lock().unwrap()
}

fn work_is_waited_for(by: By) -> Outcome {
    let (once, count) = (Once::new()?, Mutex::new(0)?);
    let (about_to, coming) = pipe()?;
    let before = Instant::now();
    assert!(!once.wait_timeout(SHORT)?);
    assert!(before.elapsed() >= SHORT);
    let mut workers = Vec::new();
    let mut start = || {
        workers.push(by.start(see_it_done(once.clone(), count.clone(), about_to.clone())));
        until_asleep(coming.recv().unwrap());
    };
    start(); // before anybody has begun
    start();
    once.call_once(|| {
        start(); // and while somebody is at it
        start();
        *count.lock().unwrap() += 1;
    })?;
    for worker in workers {
        assert_eq!(worker.join(), 1);
    }
    Ok(())
}

/// Says who it is, and counts one, if nobody has; gives what is counted then.
#[process]
fn count_once(once: Once, count: Mutex<u32>, about_to: Sender<i32>) -> u32 {
    about_to.send(gettid().as_raw()).unwrap();
    once.call_once(|| *count.lock().unwrap() += 1).unwrap();
    assert!(once.is_completed());
    *count.lock().unwrap()
}

fn work_is_done_once(by: By) -> Outcome {
    let (once, count) = (Once::new()?, Mutex::new(0)?);
    let (about_to, coming) = pipe()?;
    let mut workers = Vec::new();
    once.call_once(|| {
        for _ in 0..4 {
            workers.push(by.start(count_once(once.clone(), count.clone(), about_to.clone())));
            until_asleep(coming.recv().unwrap());
        }
        assert!(!once.is_completed());
        *count.lock().unwrap() += 1;
    })?;
    for worker in workers {
        assert_eq!(worker.join(), 1);
    }
    once.call_once(|| unreachable!())?;
    once.call_once_force(|| unreachable!())?;

    // Without anybody to begin.
    let (once, count) = (Once::new()?, Mutex::new(0)?);
    // No thread may be left where children are copies.
    until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);
    let start = |_| by.start(count_once(once.clone(), count.clone(), about_to.clone()));
    let workers: Vec<_> = (0..4).map(start).collect();
    for worker in workers {
        assert_eq!(worker.join(), 1);
    }
    Ok(())
}

/// The value that was first.
#[process]
fn decide(value: OnceLock<[u32; 2]>, own: u32) -> [u32; 2] {
    *value.get_or_init(|| [own, own])
}

fn a_value_is_set_once(by: By) -> Outcome {
    for _ in 0..5 {
        let value = OnceLock::new()?;
        assert_eq!(value.get(), None);
        until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);
        let workers: Vec<_> = (0..4).map(|own| by.start(decide(value.clone(), own))).collect();
        let decided = workers.into_iter().map(Worker::join).collect::<Vec<_>>();
        let first = *value.get().ok_or("it was set")?;
        assert!(first[0] == first[1] && first[0] < 4);
        assert_eq!(decided, [first; 4]);
        assert_eq!(value.set([9, 9]), Err([9, 9]));
        assert_eq!(*value.get_or_init(|| unreachable!()), first);
    }
    let value = OnceLock::new()?;
    assert_eq!(value.set([5, 5]), Ok(()));
    until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);
    assert_eq!(by.start(decide(value.clone(), 1)).join(), [5, 5]);
    Ok(())
}

/// How one who has begun does not finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Grief {
    Panic,
    Exit,
    Kill,
}

impl Grief {
    fn come(self) {
        match self {
            Self::Panic => resume_unwind(Box::new("on purpose")),
            Self::Exit => std::process::exit(0),
            Self::Kill => raise(Signal::SIGKILL).unwrap(),
        }
    }
}

/// Begins the work, and does not finish it.
#[process]
fn begin(once: Once, how: Grief, begun: Sender<u32>, go: Receiver<()>) {
    let work = || {
        begun.send(gettid().as_raw().cast_unsigned()).unwrap();
        let _ = go.recv();
        how.come();
    };
    once.call_once_force(work).unwrap();
}

/// What one who waits for the work is told: by whose fault, and how, it is not done.
#[process]
fn wait_in_vain(once: Once, about_to: Sender<i32>) -> (u32, bool, String) {
    about_to.send(gettid().as_raw()).unwrap();
    told(&once)
}

/// As [`wait_in_vain`], of one who would not do the work itself.
#[process]
fn wait_to_see_in_vain(once: Once, about_to: Sender<i32>) -> (u32, bool, String) {
    about_to.send(gettid().as_raw()).unwrap();
    told_by(once.wait().unwrap_err())
}

fn told(once: &Once) -> (u32, bool, String) {
    told_by(once.call_once(|| unreachable!()).unwrap_err())
}

fn told_by(error: OnceError) -> (u32, bool, String) {
    let text = error.to_string();
    let OnceError::Poisoned(poisoned) = error else { panic!("{error}") };
    (poisoned.holder().tid(), poisoned.cause() == PoisonCause::Panicked, text)
}

fn unfinished_work_is_told(by: By, ways: &[Grief]) -> Outcome {
    let once = Once::new()?;
    for (turn, &how) in ways.iter().enumerate() {
        until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);
        // Before anybody has begun, and while one is at it. (Later, it would be told of the first.)
        let mut onlookers = Vec::new();
        let mut look_on = || {
            let (about_to, coming) = pipe().unwrap();
            onlookers.push(by.start(wait_to_see_in_vain(once.clone(), about_to)));
            until_asleep(coming.recv().unwrap());
        };
        if turn == 0 {
            look_on();
            look_on();
        }
        let (begun, has_begun) = pipe()?;
        let (go, let_go) = pipe::<()>()?;
        let clumsy = by.start(begin(once.clone(), how, begun, let_go));
        let tid = has_begun.recv()?;
        let waiters = [(); 2].map(|()| {
            let (about_to, coming) = pipe().unwrap();
            let waiter = by.start(wait_in_vain(once.clone(), about_to));
            until_asleep(coming.recv().unwrap());
            waiter
        });
        look_on();
        drop(go);
        let own = offspring::current();
        let process = if by == By::Children { "worker" } else { own.name() };
        let process = format!("process '{process}'");
        let expect = |(culprit, panicked, text): (u32, bool, String)| {
            assert_eq!((culprit, panicked), (tid, how == Grief::Panic), "{text}");
            assert!(text.contains("Once") && text.contains(&process), "{text}");
        };
        for waiter in waiters.into_iter().chain(onlookers) {
            expect(waiter.join());
        }
        clumsy.bury();
        expect(told(&once)); // as often as one comes
        expect(told_by(once.wait().unwrap_err()));
        assert!(!once.is_completed());
    }
    let mut done = false;
    once.call_once_force(|| done = true)?;
    assert!(done && once.is_completed());
    once.call_once(|| unreachable!())?;
    Ok(())
}

/// Begins to make the value, and does not finish.
#[process]
fn begin_a_value(value: OnceLock<[u32; 2]>, how: Grief, begun: Sender<()>, go: Receiver<()>) {
    value.get_or_init(|| {
        begun.send(()).unwrap();
        let _ = go.recv();
        how.come();
        unreachable!()
    });
}

/// Says who it is, and has the value, its own if there is no other.
#[process]
fn decide_next(value: OnceLock<[u32; 2]>, own: u32, about_to: Sender<i32>) -> [u32; 2] {
    about_to.send(gettid().as_raw()).unwrap();
    decide(value, own).run()
}

/// Says who it is, and has the value that another makes.
#[process]
fn see_the_value(value: OnceLock<[u32; 2]>, about_to: Sender<i32>) -> [u32; 2] {
    about_to.send(gettid().as_raw()).unwrap();
    *value.wait()
}

/// Whoever waits for a value is not told of those who did not finish, and has that of another.
fn a_value_is_waited_for(by: By, ways: &[Grief]) -> Outcome {
    let value = OnceLock::new()?;
    assert_eq!(value.wait_timeout(SHORT), None);
    let mut onlookers = Vec::new();
    for &how in ways {
        until(|| by == By::Threads || fs::read_dir("/proc/self/task").unwrap().count() == 1);
        let (begun, has_begun) = pipe()?;
        let (go, let_go) = pipe::<()>()?;
        let clumsy = by.start(begin_a_value(value.clone(), how, begun, let_go));
        has_begun.recv()?;
        let (about_to, coming) = pipe()?;
        onlookers.push(by.start(see_the_value(value.clone(), about_to)));
        until_asleep(coming.recv()?);
        drop(go);
        clumsy.bury();
        assert_eq!(value.wait_timeout(SHORT), None);
    }
    assert_eq!(value.set([7, 7]), Ok(()));
    for onlooker in onlookers {
        assert_eq!(onlooker.join(), [7, 7]);
    }
    assert_eq!(value.wait_timeout(Duration::ZERO), Some(&[7, 7]));
    Ok(())
}

/// Nobody sees anything of it, and the next who comes sets it, or who waits.
fn an_unfinished_value_is_made_by_another(by: By, ways: &[Grief]) -> Outcome {
    for (&how, awaited) in ways.iter().flat_map(|how| [(how, true), (how, false)]) {
        until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);
        let value = OnceLock::new()?;
        let (begun, has_begun) = pipe()?;
        let (go, let_go) = pipe::<()>()?;
        let clumsy = by.start(begin_a_value(value.clone(), how, begun, let_go));
        has_begun.recv()?;
        assert_eq!(value.get(), None);
        let waiters = (0..if awaited { 2 } else { 0 }).map(|own| {
            let (about_to, coming) = pipe().unwrap();
            let waiter = by.start(decide_next(value.clone(), own, about_to));
            until_asleep(coming.recv().unwrap());
            waiter
        });
        let waiters: Vec<_> = waiters.collect();
        drop(go);
        let decided: Vec<_> = waiters.into_iter().map(Worker::join).collect();
        clumsy.bury();
        assert_eq!(value.get().is_some(), awaited);
        if !awaited {
            assert_eq!(value.set([7, 7]), Ok(()));
        }
        let first = *value.get().ok_or("it was set")?;
        assert!(decided.iter().all(|value| *value == first));
    }
    Ok(())
}

each_start_method! {
    fn work_is_done_by_one_process_and_awaited_by_the_others() {
        work_is_done_once(By::Children)?;
    }

    only [spawn Spawn]
    fn work_is_done_by_one_thread_and_awaited_by_the_others() {
        work_is_done_once(By::Threads)?;
    }

    fn work_of_one_process_is_waited_for_by_others() {
        work_is_waited_for(By::Children)?;
    }

    only [spawn Spawn]
    fn work_of_one_thread_is_waited_for_by_others() {
        work_is_waited_for(By::Threads)?;
    }

    fn a_value_that_processes_have_begun_is_waited_for_until_one_has_made_it() {
        a_value_is_waited_for(By::Children, &[Grief::Kill, Grief::Panic, Grief::Exit])?;
    }

    only [spawn Spawn]
    fn a_value_that_threads_have_begun_is_waited_for_until_one_has_made_it() {
        a_value_is_waited_for(By::Threads, &[Grief::Panic])?;
    }

    fn a_value_is_that_of_one_process() {
        a_value_is_set_once(By::Children)?;
    }

    only [spawn Spawn]
    fn a_value_is_that_of_one_thread() {
        a_value_is_set_once(By::Threads)?;
    }

    fn work_that_a_process_has_begun_and_not_finished_is_told() {
        unfinished_work_is_told(By::Children, &[Grief::Kill, Grief::Panic, Grief::Exit])?;
    }

    only [spawn Spawn]
    fn work_that_a_thread_has_begun_and_not_finished_is_told() {
        unfinished_work_is_told(By::Threads, &[Grief::Panic])?;
    }

    fn a_value_that_a_process_has_begun_and_not_finished_is_made_by_another() {
        let ways = [Grief::Kill, Grief::Panic, Grief::Exit];
        an_unfinished_value_is_made_by_another(By::Children, &ways)?;
    }

    only [spawn Spawn]
    fn a_value_that_a_thread_has_begun_and_not_finished_is_made_by_another() {
        an_unfinished_value_is_made_by_another(By::Threads, &[Grief::Panic])?;
    }

    /// Killed while they wait, they are not missed.
    fn those_who_are_killed_while_they_wait_harm_nobody() {
        let (once, count) = (Once::new()?, Mutex::new(0)?);
        let (about_to, coming) = pipe()?;
        let mut children = Vec::new();
        once.call_once(|| {
            for _ in 0..4 {
                let work = count_once(once.clone(), count.clone(), about_to.clone());
                children.push(daemon(work).unwrap());
                until_asleep(coming.recv().unwrap());
            }
            for _ in 0..4 {
                let look = see_it_done(once.clone(), count.clone(), about_to.clone());
                children.push(daemon(look).unwrap());
                until_asleep(coming.recv().unwrap());
            }
            for victim in children.drain(2..6) {
                victim.kill().unwrap();
                victim.wait().unwrap();
            }
            *count.lock().unwrap() += 1;
        })?;
        for child in children {
            assert_eq!(child.join()?, 1);
        }
    }

    only [spawn Spawn]
    /// Whoever waits for itself is told at once.
    fn work_that_asks_for_itself_is_a_deadlock() {
        let once = Once::new().unwrap();
        let wanted = line!() + 2;
        once.call_once(|| {
            let error = once.call_once(|| unreachable!()).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, OnceError::Deadlock(_)), "{text}");
            assert!(text.contains("waits for itself"), "{text}");
            assert!(text.contains(&format!("{}:{wanted}:", file!())), "{text}");
            assert!(matches!(once.call_once_force(|| unreachable!()), Err(OnceError::Deadlock(_))));
            assert!(matches!(once.wait(), Err(OnceError::Deadlock(_))));
            assert!(matches!(once.wait_timeout(Duration::MAX), Err(OnceError::Deadlock(_))));
        })
        .unwrap();
        assert!(once.is_completed());

        let value = OnceLock::new().unwrap();
        let nested = catch_unwind(AssertUnwindSafe(|| {
            value.get_or_init(|| *value.get_or_init(|| 1) + 1);
        }));
        let text = *nested.unwrap_err().downcast::<String>().unwrap();
        assert!(text.contains("waits for itself"), "{text}");
        let again: [fn(&OnceLock<i32>); 2] = [|value| value.set(1).unwrap(), |value| _ = value.wait()];
        for again in again {
            let nested = catch_unwind(AssertUnwindSafe(|| {
                value.get_or_init(|| {
                    again(&value);
                    2
                });
            }));
            assert!(nested.is_err());
            assert_eq!(value.get(), None);
        }
        let made = value.try_get_or_init(|| {
            let error = value.try_get_or_init(|| 1).unwrap_err();
            assert!(matches!(error, OnceError::Deadlock(_)), "{error}");
            3
        });
        assert_eq!(*made.unwrap(), 3);
    }

    only [spawn Spawn]
    /// While a thread unwinds, too, work that unwinds was begun and not finished.
    fn work_that_panics_in_a_destructor_that_runs_for_a_panic_is_told() {
        struct OnTheWayOut<'a>(&'a Once);
        impl Drop for OnTheWayOut<'_> {
            fn drop(&mut self) {
                let work = || resume_unwind(Box::new("within"));
                assert!(catch_unwind(AssertUnwindSafe(|| self.0.call_once(work))).is_err());
            }
        }
        let failed = Once::new().unwrap();
        let unwinding = catch_unwind(AssertUnwindSafe(|| {
            let _last = OnTheWayOut(&failed);
            resume_unwind(Box::new("without"));
        }));
        assert!(unwinding.is_err());
        assert!(matches!(failed.wait(), Err(OnceError::Poisoned(_))));
    }

    only [spawn Spawn]
    /// Where `get_or_init` would panic, there is a way to be told.
    fn a_value_that_cannot_be_had_for_too_many_locks_is_an_error() {
        let permits = Semaphore::new(2_000).unwrap();
        let held: Vec<_> = (0..2_000).map(|_| permits.acquire().unwrap()).collect();
        let value = OnceLock::new().unwrap();
        assert!(matches!(value.try_get_or_init(|| 1), Err(OnceError::TooMany)));
        assert!(catch_unwind(AssertUnwindSafe(|| *value.get_or_init(|| 1))).is_err());
        assert_eq!(value.get(), None);
        drop(held);
        assert!(matches!(value.try_get_or_init(|| 1), Ok(1)));
    }
}

#[test]
fn debug_shows_whether_it_is_done() {
    let (once, value) = (Once::new().unwrap(), OnceLock::new().unwrap());
    let shown = format!("{once:?} {value:?}");
    assert!(shown.contains("completed: false") && shown.contains("value: <unset>"), "{shown}");
    once.call_once(|| {}).unwrap();
    value.set(5).unwrap();
    let shown = format!("{once:?} {value:?}");
    assert!(shown.contains("completed: true") && shown.contains("value: 5"), "{shown}");
    assert_eq!(shown.matches(file!()).count(), 2, "{shown}");
}
