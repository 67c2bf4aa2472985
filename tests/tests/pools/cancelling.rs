//! Tasks that are ended before their time: because nobody wants them, or because they take too long.

use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use offspring::{Pool, TaskError, process};
use tests::each_start_method;
use tests::tasks::{Stop, held, nap, pid, square, squares};

use super::{AMPLE, SHORT};

/// Blocks what can be blocked, and goes on for ever.
#[process]
fn resist() {
    SigSet::all().thread_block().unwrap();
    loop {
        std::hint::black_box(Signal::SIGTERM);
    }
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// Future's `test_cancel`. Differs: what runs is ended, too.
    fn test_cancel_of_one_that_waits_one_that_runs_and_one_that_is_done() {
        let stop = Stop::new()?;
        let pool = Pool::new(1)?;
        let done = pool.submit(square(3));
        assert!(done.wait_timeout(AMPLE));
        let running = pool.submit(stop.hold());
        stop.arrival();
        let waiting = pool.submit(square(4));

        assert!(!done.cancel());
        assert_eq!(done.wait()?, 9);
        assert!(waiting.cancel());
        assert!(waiting.is_ready());
        assert!(!waiting.cancel());
        match waiting.wait() {
            Err(error @ TaskError::Cancelled { may_have_run: false, .. }) => {
                assert!(!error.may_have_run());
                assert_eq!(error.to_string(), "task `square` was cancelled before it ran");
            }
            other => panic!("{other:?}"),
        }
        assert!(running.cancel());
        match running.wait() {
            Err(error @ TaskError::Cancelled { may_have_run: true, .. }) => {
                assert!(error.may_have_run());
                assert_eq!(error.to_string(), "task `hold` was cancelled while it ran");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.apply(square(5))?, 25);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_cancelled_task_costs_its_worker_alone() {
        let stop = Stop::new()?;
        let pool = Pool::new(3)?;
        for _ in 0..10 {
            let jobs: Vec<_> = (0..3).map(|_| pool.submit(stop.hold())).collect();
            let pids: Vec<_> = (0..3).map(|_| stop.arrival()).collect();
            let mut outcomes = Vec::new();
            let mut jobs = jobs.into_iter();
            let victim = jobs.next().unwrap();
            assert!(victim.cancel());
            assert!(matches!(victim.wait(), Err(TaskError::Cancelled { may_have_run: true, .. })));
            let again = pool.submit(stop.hold());
            assert!(!pids.contains(&stop.arrival()), "another has taken its place");
            stop.open();
            for job in jobs.chain([again]) {
                outcomes.push(job.wait()?);
            }
            assert_eq!(outcomes.iter().filter(|pid| pids.contains(pid)).count(), 2);
            stop.close();
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// The tasks that were sent to its worker along with it are done by another.
    fn a_task_ended_among_others_of_its_chunk_costs_itself() {
        let pool = Pool::builder().workers(1).task_timeout(Duration::from_millis(300)).build()?;
        let inputs = [1, 2, 600_000, 3, 4, 600_000, 5];
        let outcomes = pool.mapper().chunk_size(7).map_settled(nap, inputs);
        for (input, outcome) in inputs.into_iter().zip(outcomes) {
            match outcome {
                Ok(value) => assert_eq!(value, input),
                Err(TaskError::TimedOut(overrun)) => {
                    assert_eq!(input, 600_000);
                    assert_eq!(overrun.limit(), Duration::from_millis(300));
                    assert!([2, 5].contains(&overrun.task().index().unwrap()));
                }
                Err(other) => panic!("{input}: {other}"),
            }
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_task_that_takes_too_long_is_ended_and_no_sooner() {
        let limit = Duration::from_millis(300);
        let pool = Pool::builder().workers(2).task_timeout(limit).retries(5).build()?;
        let mut pids = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            let outcome = pool.apply(nap(600_000));
            assert!(start.elapsed() >= limit);
            match outcome {
                Err(TaskError::TimedOut(overrun)) => {
                    let (worker, pid) = (overrun.worker(), overrun.pid());
                    assert!(!pids.contains(&pid), "each worker is killed once");
                    pids.push(pid);
                    let text = format!(
                        "task `nap` took longer than 300ms: worker '{worker}' (pid {pid}) was killed"
                    );
                    assert_eq!(overrun.to_string(), text);
                    let error = TaskError::TimedOut(overrun.clone());
                    assert!(error.may_have_run());
                    assert_eq!((error.worker(), error.pid()), (Some(worker), Some(pid)));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(pool.apply(resist()), Err(TaskError::TimedOut(_))));
        assert_eq!(pool.map(square, 0..1000)?, squares(1000));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// It counts from the beginning of each task, not from the beginning of its chunk, nor while it waits.
    fn many_short_tasks_may_take_longer_together() {
        let pool = Pool::builder().workers(1).task_timeout(Duration::from_secs(2)).build()?;
        assert_eq!(pool.mapper().chunk_size(100).map(nap, [50; 60])?, [50; 60]);
        let jobs: Vec<_> = (0..50).map(|_| pool.submit(nap(50))).collect();
        for job in jobs {
            job.wait()?;
        }
        assert_eq!(pool.stats().workers_started, 1);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_map_can_be_cancelled() {
        let stop = Stop::new()?;
        let pool = Pool::builder().workers(2).initializer(stop.equip()).build()?;
        let job = pool.mapper().chunk_size(3).map_async(held, 0..100);
        stop.arrival();
        stop.arrival();
        job.cancel();
        assert!(job.is_ready());
        match job.wait() {
            Err(TaskError::Cancelled { .. }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.map(square, 0..100)?, squares(100));
        assert_eq!(stop.others(), 0);
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_cancel_futures`
    fn test_cancel_futures_that_have_not_begun() {
        let pool = Pool::new(2)?;
        let jobs: Vec<_> = (0..50).map(|_| pool.submit(nap(50))).collect();
        assert!(jobs[0].wait_timeout(AMPLE));
        let cancelled: Vec<_> = jobs.iter().map(|job| job.cancel()).collect();
        assert!(!cancelled[0]);
        assert!(cancelled.iter().filter(|cancelled| **cancelled).count() > 20);
        for (job, cancelled) in jobs.into_iter().zip(cancelled) {
            assert!(job.is_ready());
            assert_eq!(matches!(job.wait(), Err(TaskError::Cancelled { .. })), cancelled);
        }
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `gh94440`: to submit, cancel and shut down, one after the other.
    fn test_gh_94440_submit_cancel_shutdown() {
        for turn in 0..30 {
            let pool = Pool::new(1)?;
            let job = pool.submit(pid());
            let cancelled = job.cancel();
            if turn % 2 == 0 { pool.join()? } else { drop(pool) }
            match job.wait() {
                Ok(_) => assert!(!cancelled),
                Err(TaskError::Cancelled { .. }) => assert!(cancelled),
                Err(TaskError::PoolClosed { .. }) => assert!(!cancelled && turn % 2 == 1),
                Err(other) => panic!("{other}"),
            }
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// At the very moment it ends, or begins: it is one or the other, and nobody else is harmed.
    fn tasks_are_cancelled_at_any_moment() {
        let pool = Pool::new(2)?;
        let mut counts = [0; 2];
        for turn in 0..300_u64 {
            let jobs: Vec<_> = (0..4).map(|x| pool.submit(square(x))).collect();
            for _ in 0..(turn * 37) % 5000 {
                std::hint::spin_loop();
            }
            let cancelled = jobs[1].cancel();
            for (x, job) in jobs.into_iter().enumerate() {
                match job.wait() {
                    Ok(value) => assert_eq!(value, (x * x) as u64),
                    Err(TaskError::Cancelled { .. }) => assert!(x == 1 && cancelled),
                    Err(other) => panic!("{x}: {other}"),
                }
            }
            counts[usize::from(cancelled)] += 1;
        }
        println!("done, cancelled: {counts:?}");
        assert_eq!(pool.map(square, 0..100)?, squares(100));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// The executor's `test_map_timeout`: some outcomes, then the time is up.
    fn test_map_timeout_is_that_of_each_task() {
        let pool = Pool::builder().workers(2).task_timeout(Duration::from_millis(500)).build()?;
        let mut outcomes = pool.imap(nap, [0, 0, 600_000]);
        assert_eq!(outcomes.next().unwrap()?, 0);
        assert_eq!(outcomes.next().unwrap()?, 0);
        assert!(matches!(outcomes.next(), Some(Err(TaskError::TimedOut(_)))));
        assert!(outcomes.next().is_none());
        assert!(pool.submit(nap(0)).wait_timeout(AMPLE));
        assert!(!pool.submit(nap(100_000)).wait_timeout(SHORT));
    }
}
