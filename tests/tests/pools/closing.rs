//! The end of a pool: when all is done, or at once.

use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use offspring::{Pool, TaskError, process};
use tests::tasks::{Stop, die, died, echo, fail, held, nap, pid, square, squares, text};
use tests::{Holdings, each_start_method, pidfd};

use super::{AMPLE, Fragile, LONG};

/// No pool takes as long to end that ends at once.
const PROMPT: Duration = Duration::from_secs(20);

#[process]
fn make_bad(open: offspring::sync::Event) -> Fragile {
    open.wait();
    Fragile::NotEncoded
}

fn assert_closed(outcome: Result<impl Sized, TaskError>, may_have_run: bool) {
    match outcome.map(drop) {
        Err(error @ TaskError::PoolClosed { .. }) => {
            assert_eq!(error.may_have_run(), may_have_run, "{error}");
            assert!(error.to_string().contains("the pool was closed"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

each_start_method! {
    /// What was given is done; nothing more is taken. Executor's `issue12364`.
    fn what_was_submitted_before_the_close_is_done() {
        let pool = Pool::new(2)?;
        let jobs: Vec<_> = (0..50).map(|x| pool.submit(square(x))).collect();
        let map = pool.map_async(square, 0..1000);
        pool.close();
        assert_closed(pool.apply(square(3)), false);
        assert_closed(pool.map(square, 0..10), false);
        assert_closed(pool.map_async(square, 0..10).wait(), false);
        let refused = pool.map_settled(square, 0..3);
        assert!(!refused.is_empty());
        refused.into_iter().for_each(|outcome| assert_closed(outcome, false));
        pool.join()?;
        for (x, job) in (0..50).zip(jobs) {
            assert!(job.is_ready());
            assert_eq!(job.wait()?, x * x);
        }
        assert!(map.is_ready());
        assert_eq!(map.wait()?, squares(1000));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_lazy_map_of_a_closed_pool_ends_with_an_error() {
        let pool = Pool::new(2)?;
        let mut outcomes = pool.mapper().window(4).imap(square, 0..);
        assert_eq!(outcomes.next().unwrap()?, 0);
        pool.close();
        let rest: Vec<_> = outcomes.take(1000).collect();
        println!("{} came", rest.len());
        let ended = rest.into_iter().skip_while(|outcome| outcome.is_ok());
        let ended: Vec<_> = ended.collect();
        assert!(ended.iter().all(|outcome| outcome.is_err()), "{ended:?}");
        assert!(pool.imap(square, 0..3).all(|outcome| outcome.is_err()));
        assert!(pool.imap_unordered(square, 0..3).all(|outcome| outcome.is_err()));
        assert!(pool.imap(square, 0..).take(10).all(|outcome| outcome.is_err()));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_terminate`: ten thousand long tasks.
    fn test_terminate_ends_what_would_take_for_ever() {
        let stop = Stop::new()?;
        let pool = Pool::builder().workers(3).initializer(stop.equip()).build()?;
        let running = pool.submit(held(1));
        stop.arrival();
        let job = pool.map_async(held, 0..10_000);
        stop.arrival();
        let workers: Vec<_> = pool.stats().workers.iter().filter_map(|one| pidfd(one.pid)).collect();
        let start = Instant::now();
        pool.terminate();
        assert!(running.is_ready() && job.is_ready());
        assert_closed(running.wait(), true);
        assert_closed(job.wait(), true);
        pool.join()?;
        assert!(start.elapsed() < PROMPT);
        for worker in &workers {
            assert_eq!(offspring::wait_timeout(&[worker], AMPLE)?, [0]);
        }
    }

    /// `test_context`: a scope that is left ends the pool.
    fn test_context_of_a_scope_ends_the_pool() {
        let job = {
            let pool = Pool::new(2)?;
            assert_eq!(pool.map(square, 0..10)?, squares(10));
            pool.submit(nap(600_000))
        };
        assert!(job.is_ready());
        assert!(job.wait().is_err());
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_enter`: a pool that has ended takes nothing, by whatever method.
    fn test_enter_a_pool_that_has_ended() {
        let pool = Pool::new(2)?;
        pool.terminate();
        pool.terminate();
        pool.close();
        assert_closed(pool.apply(square(3)), false);
        assert_closed(pool.map(square, 0..10), false);
        assert!(pool.imap(square, 0..10).all(|outcome| outcome.is_err()));
        assert!(pool.imap(square, 0..).take(5).all(|outcome| outcome.is_err()));
        let job = pool.submit(square(3));
        assert!(job.is_ready() && !job.cancel());
        assert_closed(job.wait(), false);
        assert!(pool.stats().waiting == 0);
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// The jobs outlive their pool.
    fn the_jobs_of_a_pool_that_is_gone_have_their_outcomes() {
        let stop = Stop::new()?;
        let pool = Pool::new(1)?;
        let done = pool.submit(square(3));
        assert!(done.wait_timeout(AMPLE));
        let running = pool.submit(stop.hold());
        stop.arrival();
        let waiting = pool.submit(square(4));
        let map = pool.map_async(square, 0..100);
        drop(pool);
        assert!(done.is_ready() && running.is_ready() && waiting.is_ready() && map.is_ready());
        assert!(!done.cancel() && !running.cancel() && !waiting.cancel());
        assert_eq!(done.wait()?, 9);
        assert_closed(running.wait(), true);
        assert!(waiting.wait_timeout(Duration::ZERO));
        assert!(matches!(waiting.wait(), Err(TaskError::PoolClosed { .. })));
        assert!(matches!(map.wait(), Err(TaskError::PoolClosed { .. })));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn who_waits_for_a_job_is_told_that_the_pool_has_ended() {
        let stop = Stop::new()?;
        let pool = Pool::new(1)?;
        let job = pool.submit(stop.hold());
        let other = pool.submit(stop.hold());
        stop.arrival();
        thread::scope(|scope| {
            let waits = scope.spawn(|| job.wait());
            let also = scope.spawn(|| other.wait());
            pool.terminate();
            assert!(matches!(waits.join().unwrap(), Err(TaskError::PoolClosed { .. })));
            assert!(matches!(also.join().unwrap(), Err(TaskError::PoolClosed { .. })));
        });
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_shutdown_race_issue12456`; `test_shutdown_no_wait`.
    fn test_shutdown_race_of_a_pool_that_has_just_begun() {
        for turn in 0..60 {
            let pool = Pool::new(2)?;
            let job = pool.submit(pid());
            match turn % 4 {
                0 => pool.join()?,
                1 => drop(pool),
                2 => {
                    pool.close();
                    pool.terminate();
                    drop(pool);
                }
                _ => {
                    pool.close();
                    assert!(job.wait_timeout(LONG));
                    drop(pool);
                }
            }
            let outcome = job.wait();
            match turn % 4 {
                0 | 3 => assert!(outcome? > 1),
                _ => assert!(matches!(outcome, Ok(_) | Err(TaskError::PoolClosed { .. }))),
            }
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_shutdown_deadlock`: a worker that dies when all is to end.
    fn test_shutdown_deadlock_of_a_worker_that_dies_after_the_close() {
        let stop = Stop::new()?;
        let pool = Pool::new(2)?;
        let job = pool.submit(stop.hold());
        let victim = stop.arrival();
        let dying = pool.submit(die(libc::SIGKILL));
        let more: Vec<_> = (0..20).map(|x| pool.submit(square(x))).collect();
        pool.close();
        tests::tasks::kill(victim);
        assert_eq!(died(job.wait()).1, victim);
        died(dying.wait());
        pool.join()?;
        for (x, job) in (0..20).zip(more) {
            assert_eq!(job.wait()?, x * x);
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_shutdown_deadlock_pickle`
    fn test_shutdown_deadlock_pickle_of_a_result_after_the_close() {
        let open = offspring::sync::Event::new()?;
        let pool = Pool::new(1)?;
        let job = pool.submit(make_bad(open.clone()));
        pool.close();
        open.set();
        pool.join()?;
        assert!(matches!(job.wait(), Err(TaskError::Encode { may_have_run: true, .. })));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// A worker that leaves after each task, and a pool that closes.
    fn test_pool_worker_lifetime_early_close_and_max_tasks_early_shutdown() {
        for _ in 0..5 {
            let pool = Pool::builder().workers(3).max_tasks_per_child(1).build()?;
            let jobs: Vec<_> = (0..6).map(|x| pool.submit(square(x))).collect();
            pool.close();
            pool.join()?;
            for (x, job) in (0..6).zip(jobs) {
                assert_eq!(job.wait()?, x * x);
            }
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_pool_that_was_joined_leaves_nothing_behind() {
        let cycle = |turn| -> Result<(), Box<dyn std::error::Error>> {
            let pool = Pool::new(3)?;
            assert_eq!(pool.map(square, 0..100)?, squares(100));
            drop(pool.submit(fail("on purpose".into())));
            if turn % 2 == 0 { pool.join()? } else { drop(pool) }
            Ok(())
        };
        (0..2).try_for_each(cycle)?;
        let before = Holdings::now();
        (0..10).try_for_each(cycle)?;
        let after = Holdings::now();
        assert_eq!(Holdings { children: 0, ..after.clone() }, Holdings { children: 0, ..before });
        assert!(after.children <= 3, "more than a fork server and two children made ahead: {after:?}");
    }

    only [forkserver ForkServer, spawn Spawn]
    /// A close while all workers are busy, with tasks of all kinds waiting.
    fn a_close_under_load_loses_nothing() {
        let stop = Stop::new()?;
        let pool = Pool::builder().workers(2).initializer(stop.equip()).build()?;
        let jobs: Vec<_> = (0..100).map(|x| pool.submit(held(x))).collect();
        let large = pool.submit(echo(text(3 << 20)));
        stop.arrival();
        pool.close();
        stop.open();
        pool.join()?;
        for (x, job) in (0..100).zip(jobs) {
            assert_eq!(job.wait()?, x * x);
        }
        assert!(large.wait()? == text(3 << 20));
    }
}
