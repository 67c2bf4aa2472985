//! How long workers live: with the pool, with the program, with their number of tasks.

use std::collections::{HashMap, HashSet};
use std::panic::catch_unwind;
use std::process::ExitStatus;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offspring::{Builder, Error, JoinError, Pool, StartMethod, process};
use tests::family::{adopt_orphans, await_descendants, until};
use tests::tasks::{Stop, kill, nap, pid, square, squares};
use tests::{Holdings, children_of, each_start_method};

#[process]
fn forget_a_pool() -> u64 {
    let pool = Pool::new(2).unwrap();
    let value = pool.apply(square(3)).unwrap();
    std::mem::forget(pool.submit(nap(600_000)));
    std::mem::forget(pool);
    value
}

/// A pool that is busy when its program ends.
#[process]
fn exit_with_a_pool(code: i32) {
    let pool = Pool::new(2).unwrap();
    let stop = Stop::new().unwrap();
    std::mem::forget(pool.submit(stop.hold()));
    stop.arrival();
    std::process::exit(code);
}

#[process]
fn panic_with_a_pool() {
    let pool = Pool::new(2).unwrap();
    let _job = pool.submit(nap(600_000));
    panic!("and so the pool is dropped");
}

each_start_method! {
    only [fork Fork]
    fn workers_that_leave_are_replaced_where_the_first_were_forked() {
        let pool = Pool::builder().workers(2).max_tasks_per_child(1).build()?;
        assert_eq!(pool.map(square, 0..20)?, squares(20));
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_worker_finalization_via_atexit`: a pool that is forgotten does not keep its program from ending.
    fn test_worker_finalization_of_a_forgotten_pool() {
        adopt_orphans();
        assert_eq!(forget_a_pool().spawn()?.join()?, 9);
        match exit_with_a_pool(5).spawn()?.join() {
            Err(JoinError::Exited(exit)) => assert_eq!(ExitStatus::code(&exit.status()), Some(5)),
            other => panic!("{other:?}"),
        }
        assert!(matches!(panic_with_a_pool().spawn()?.join(), Err(JoinError::Panicked(_))));
        offspring::end_fork_server();
        await_descendants();
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_pool_worker_lifetime`
    fn test_pool_worker_lifetime_is_ten_tasks() {
        let pool = Pool::builder().workers(3).max_tasks_per_child(10).build()?;
        let first: HashSet<_> = pool.stats().workers.into_iter().map(|worker| worker.pid).collect();
        let mut tasks = HashMap::new();
        for pid in pool.map(|_| pid(), 0..100)? {
            *tasks.entry(pid).or_insert(0) += 1;
        }
        assert!(tasks.values().all(|count| *count <= 10), "{tasks:?}");
        until(|| {
            let workers = pool.stats().workers;
            workers.len() == 3 && workers.iter().all(|worker| !first.contains(&worker.pid))
        });
        assert_eq!(pool.map(square, 0..100)?, squares(100));
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_max_tasks_per_child`: the fourth task has another process.
    fn test_max_tasks_per_child_of_one_worker() {
        let pool = Pool::builder().workers(1).max_tasks_per_child(3).build()?;
        let pids: Vec<_> = (0..7).map(|_| pool.apply(pid())).collect::<Result<_, _>>()?;
        assert!(pids[0] == pids[1] && pids[1] == pids[2]);
        assert!(pids[3] == pids[4] && pids[4] == pids[5]);
        assert!(pids[2] != pids[3] && pids[5] != pids[6]);
        let pool = Pool::builder().workers(1).max_tasks_per_child(1).build()?;
        let pids: Vec<_> = pool.map(|_| pid(), 0..50)?;
        assert!(pids.windows(2).all(|two| two[0] != two[1]));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_pool_maxtasksperchild_invalid`, `test_make_pool`, `test_max_workers_negative`.
    fn test_make_pool_of_nobody_panics() {
        assert!(catch_unwind(|| Pool::new(0)).is_err());
        assert!(catch_unwind(|| Pool::builder().workers(0).build()).is_err());
        assert!(catch_unwind(|| Pool::builder().workers(2).max_tasks_per_child(0).build()).is_err());
        let pool = Pool::new(3)?;
        assert_eq!(pool.workers(), 3);
        assert_eq!(pool.stats().workers.len(), 3);
        assert_eq!(pool.stats().workers_started, 3);
        drop(pool);
        assert_eq!(Pool::builder().build()?.workers(), offspring::cpu_count());
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `TestPoolNotLeakOnFailure`: some could be started, and then one could not.
    fn test_release_unused_processes_when_one_cannot_be_started() {
        assert_eq!(Pool::new(1)?.apply(square(3))?, 9);
        let before = Holdings::now();
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        for room in [8, 15, 20, 25, 30, 40] {
            setrlimit(Resource::RLIMIT_NOFILE, before.descriptors as u64 + room, hard)?;
            let refused = Pool::new(60);
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
            let error = refused.map(drop).unwrap_err();
            assert!(!matches!(error, Error::TooLarge { .. }), "{error}");
            println!("{error}");
        }
        until(|| offspring::active_children().is_empty() && Holdings::now().threads == 1);
        assert!(children_of(std::process::id()).len() <= 3);
        let after = Holdings::now();
        assert_eq!(after.descriptors, before.descriptors, "{:?}", tests::descriptors());
        assert_eq!(Pool::new(2)?.map(square, 0..10)?, squares(10));
    }

    only [forkserver ForkServer]
    /// `test_large_pool`
    fn test_large_pool_of_two_hundred() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(4096)), hard)?;
        let pool = Pool::new(200)?;
        assert_eq!(pool.map(square, 0..1000)?, squares(1000));
        assert_eq!(pool.stats().workers_started, 200);
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_idle_process_reuse_one`. Differs: all workers are there from the beginning.
    fn test_idle_process_reuse_starts_no_others() {
        let pool = Pool::new(3)?;
        for x in 0..100 {
            assert_eq!(pool.apply(square(x))?, x * x);
        }
        assert_eq!(pool.stats().workers_started, 3);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn an_idle_worker_that_is_killed_costs_nothing() {
        let pool = Pool::new(2)?;
        for turn in 0..20 {
            let workers: Vec<_> = pool.stats().workers.into_iter().map(|worker| worker.pid).collect();
            workers.iter().take(1 + turn % 2).for_each(|pid| kill(*pid));
            assert_eq!(pool.map(square, 0..20)?, squares(20));
            until(|| {
                let now = pool.stats().workers;
                now.len() == 2 && now.iter().all(|one| one.pid != workers[0])
            });
        }
    }

    only [fork Fork]
    /// Workers are copies of a program that has no other threads. Later, there is one.
    fn a_pool_of_copies_does_what_it_was_given() {
        let pool = Pool::new(3)?;
        assert_eq!(pool.map(square, 0..1000)?, squares(1000));
        pool.join()?;
        let pool = Pool::builder().workers(2).start_method(StartMethod::ForkServer).build()?;
        assert_eq!(pool.map(square, 0..1000)?, squares(1000));
        assert_eq!(Builder::new().start_method(StartMethod::Spawn).spawn(square(3))?.join()?, 9);
    }
}
