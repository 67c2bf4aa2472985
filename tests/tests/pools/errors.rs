//! Each way in which a task fails: what its caller is told, and that nobody else is concerned.

use std::os::unix::process::ExitStatusExt;
use std::panic::panic_any;
use std::thread;

use nix::libc;
use offspring::{Pool, TaskError, process};
use serde::{Deserialize, Serialize};
use tests::each_start_method;
use tests::tasks::{Stop, fail, kill, pid, square, squares};

use super::{Fragile, WRONG};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum End {
    Exit(i32),
    ExitNow(i32),
    ExitInThread(i32),
    Abort,
    Segfault,
    Overflow,
    Killed,
    /// A panic while another unwinds.
    PanicTwice,
}

#[process]
fn end(how: End) -> u32 {
    struct Worse;
    impl Drop for Worse {
        fn drop(&mut self) {
            panic!("worse");
        }
    }
    match how {
        End::Exit(code) => std::process::exit(code),
        // SAFETY: _exit has no memory effects.
        End::ExitNow(code) => unsafe { libc::_exit(code) },
        End::ExitInThread(code) => {
            thread::spawn(move || std::process::exit(code));
            thread::sleep(super::LONG);
        }
        End::Abort => std::process::abort(),
        // SAFETY: none. It is to crash.
        End::Segfault => unsafe { std::ptr::null_mut::<u32>().write_volatile(1) },
        End::Overflow => drop(std::hint::black_box(descend(0))),
        End::Killed => kill(std::process::id()),
        End::PanicTwice => {
            let _worse = Worse;
            panic!("bad");
        }
    }
    7
}

#[allow(unconditional_recursion, reason = "it is to overflow the stack")]
fn descend(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 512]);
    frame[7] + descend(depth + 1)
}

/// A code and a signal, as in an exit status.
type Shows = (Option<i32>, Option<i32>);

const ENDS: [(End, Shows); 9] = [
    (End::Exit(0), (Some(0), None)),
    (End::Exit(3), (Some(3), None)),
    (End::ExitNow(255), (Some(255), None)),
    (End::ExitInThread(4), (Some(4), None)),
    (End::Abort, (None, Some(libc::SIGABRT))),
    (End::Segfault, (None, Some(libc::SIGSEGV))),
    (End::Overflow, (None, Some(libc::SIGSEGV))),
    (End::Killed, (None, Some(libc::SIGKILL))),
    (End::PanicTwice, (None, Some(libc::SIGABRT))),
];

#[process]
fn give(value: Fragile) -> Fragile {
    value
}

/// It makes it there, so that it is the result that breaks.
#[process]
fn make(good: Option<u64>) -> Fragile {
    good.map_or(Fragile::NotEncoded, Fragile::Good)
}

#[process]
fn make_undecodable() -> Fragile {
    Fragile::NotDecoded
}

#[process]
fn throw(what: u32) {
    match what {
        0 => panic_any(17_u64),
        1 => panic_any(String::from("a string")),
        2 => panic_any("a str"),
        _ => std::panic::resume_unwind(Box::new(vec![1, 2, 3])),
    }
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// `test_traceback`, `test_wrapped_exception`, and the executor's `test_traceback`.
    fn test_traceback_of_a_panic_tells_all() {
        let pool = Pool::builder().name("crew").workers(1).build()?;
        let worker = pool.apply(pid())?;
        match pool.apply(fail("the message".into())) {
            Err(error @ TaskError::Panicked(_)) => {
                let TaskError::Panicked(panic) = &error else { unreachable!() };
                assert_eq!(panic.message(), "the message");
                assert_eq!(panic.pid(), worker);
                assert!(panic.process().starts_with("crew-1"), "{}", panic.process());
                assert!(panic.location().unwrap().contains("tasks.rs:"));
                assert_eq!(panic.task().process(), "fail");
                assert_eq!(panic.task().index(), None);
                assert!(error.may_have_run());
                let text = error.to_string();
                assert!(text.starts_with("task `fail` failed: "), "{text}");
                assert!(text.contains("the message") && text.contains(&worker.to_string()), "{text}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.apply(pid())?, worker, "its worker goes on");
    }

    only [forkserver ForkServer, spawn Spawn]
    /// Each end of a worker in a task: the code or the signal, the name and the number; all others are
    /// done.
    fn a_worker_that_ends_in_a_task_is_told_and_replaced() {
        let pool = Pool::new(2)?;
        for (how, (code, signal)) in ENDS {
            let job = pool.submit(end(how));
            let others: Vec<_> = (0..20).map(|x| pool.submit(square(x))).collect();
            match job.wait() {
                Err(error @ TaskError::WorkerDied(_)) => {
                    let TaskError::WorkerDied(death) = &error else { unreachable!() };
                    assert_eq!((death.status().code(), death.status().signal()), (code, signal));
                    assert!(death.worker().starts_with("pool-"), "{}", death.worker());
                    assert!(death.pid() > 1);
                    assert_eq!(death.task().process(), "end");
                    assert!(error.may_have_run());
                    let text = error.to_string();
                    assert!(text.starts_with("task `end` was lost: worker 'pool-"), "{text}");
                    assert!(text.contains(&format!("(pid {})", death.pid())), "{text}");
                    let expected = code.or(signal).unwrap().to_string();
                    assert!(text.contains(&expected), "{text}");
                }
                other => panic!("{how:?}: {other:?}"),
            }
            for (x, job) in (0..20).zip(others) {
                assert_eq!(job.wait()?, x * x, "beside {how:?}");
            }
        }
        assert_eq!(pool.map(square, 0..100)?, squares(100));
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// The executor's deadlock tests: an error when a task is encoded, or decoded, and when a result is
    /// encoded, or decoded. `test_unpickleable_result`, which loses no worker.
    fn test_unpickleable_result_twenty_times() {
        let pool = Pool::new(2)?;
        assert_eq!(pool.map(square, 0..10)?, squares(10));
        for _ in 0..20 {
            let (mut kinds, mut jobs) = (Vec::new(), Vec::new());
            jobs.push(pool.submit(give(Fragile::NotEncoded)));
            jobs.push(pool.submit(give(Fragile::NotDecoded)));
            jobs.push(pool.submit(make(None)));
            jobs.push(pool.submit(make_undecodable_as_make()));
            for job in jobs {
                let error = job.wait().unwrap_err();
                assert!(error.to_string().contains(WRONG), "{error}");
                assert!(error.to_string().starts_with("task `"), "{error}");
                kinds.push(match error {
                    TaskError::Encode { may_have_run, .. } => ("encode", may_have_run, error.may_have_run()),
                    TaskError::Decode { may_have_run, .. } => ("decode", may_have_run, error.may_have_run()),
                    other => panic!("{other}"),
                });
            }
            assert_eq!(kinds[0], ("encode", false, false));
            assert_eq!(kinds[1], ("decode", false, false));
            assert_eq!(kinds[2], ("encode", true, true));
            assert_eq!(pool.apply(make(Some(5)))?, Fragile::Good(5));
        }
        let outcome = pool.apply(make_undecodable());
        assert!(matches!(outcome, Err(TaskError::Decode { may_have_run: true, .. })), "{outcome:?}");
        let stats = pool.stats();
        assert_eq!(stats.workers_started, 2);
        assert_eq!(pool.map(square, 0..10)?, squares(10));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_panic_may_be_of_any_type() {
        let pool = Pool::new(1)?;
        let outcomes = pool.map_settled(throw, 0..4);
        let texts: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Err(TaskError::Panicked(panic)) => panic.message().to_owned(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(texts[1..3], ["a string", "a str"]);
        assert_eq!(pool.stats().workers_started, 1);
        assert_eq!(pool.apply(square(3))?, 9);
    }

    only [forkserver ForkServer, spawn Spawn]
    /// The executor's `test_killed_child`. Differs: one task fails, and the pool goes on.
    fn test_killed_child_costs_one_task() {
        let pool = Pool::new(2)?;
        let stop = Stop::new()?;
        let jobs = [pool.submit(stop.hold()), pool.submit(stop.hold())];
        let (victim, other) = (stop.arrival(), stop.arrival());
        kill(victim);
        let first = offspring::wait_any(&jobs).unwrap();
        stop.open();
        let mut jobs = Vec::from(jobs);
        let (signal, pid) = tests::tasks::died(jobs.remove(first).wait());
        assert_eq!((signal, pid), (tests::tasks::KILLED, victim));
        assert_eq!(jobs.remove(0).wait()?, other);
        assert_eq!(pool.apply(square(3))?, 9);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_task_that_was_lost_is_run_again_as_often_as_allowed() {
        let lives = offspring::shm::Shared::new(std::sync::atomic::AtomicU64::new(0))?;
        for (retries, deaths) in [(0, 0), (1, 1), (3, 3), (5, 2)] {
            let pool = Pool::builder().workers(2).retries(retries).build()?;
            lives.store(0, std::sync::atomic::Ordering::SeqCst);
            assert_eq!(pool.apply(die_times(lives.clone(), deaths))?, deaths);
            lives.store(0, std::sync::atomic::Ordering::SeqCst);
            let outcome = pool.apply(die_times(lives.clone(), u64::from(retries) + 1));
            assert!(matches!(outcome, Err(TaskError::WorkerDied(_))), "{outcome:?}");
            assert_eq!(lives.load(std::sync::atomic::Ordering::SeqCst), u64::from(retries) + 1);
            // It is for deaths alone.
            assert!(matches!(pool.apply(fail("once".into())), Err(TaskError::Panicked(_))));
            lives.store(0, std::sync::atomic::Ordering::SeqCst);
            let mapper = pool.mapper().retries(2);
            assert_eq!(mapper.map(|x| die_times(lives.clone(), x), [2])?, [2]);
        }
    }
}

fn make_undecodable_as_make() -> give {
    give(Fragile::NotDecoded)
}

/// Kills its worker the first times that it runs.
#[process]
fn die_times(lives: offspring::shm::Shared<std::sync::atomic::AtomicU64>, deaths: u64) -> u64 {
    let before = lives.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    if before < deaths {
        std::process::abort();
    }
    before
}
