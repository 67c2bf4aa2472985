//! Several threads that use one pool, pools in the tasks of pools, several pools.

use std::collections::HashSet;
use std::thread;

use offspring::{Pool, TaskError, process};
use tests::tasks::{Stop, fail, pid, square, squares};
use tests::{children_of, each_start_method};

use super::AMPLE;

#[process]
fn sum_of_squares(workers: usize, count: u64) -> u64 {
    let pool = Pool::new(workers).unwrap();
    pool.map(square, 0..count).unwrap().into_iter().sum()
}

#[process]
fn nest(depth: u32) -> u32 {
    if depth == 0 {
        return 1;
    }
    let pool = Pool::new(2).unwrap();
    pool.map(nest, [depth - 1; 2]).unwrap().into_iter().sum()
}

/// A pool that is left when the task returns, and one that is not.
#[process]
fn leave_a_pool() -> Vec<u32> {
    let pool = Pool::new(2).unwrap();
    let pids = pool.stats().workers.into_iter().map(|worker| worker.pid).collect();
    std::mem::forget(pool);
    pids
}

fn work(pool: &Pool, turn: u64) {
    match turn % 6 {
        0 => assert_eq!(pool.map(square, 0..200).unwrap(), squares(200)),
        1 => assert_eq!(pool.apply(square(turn)).unwrap(), turn * turn),
        2 => {
            let jobs: Vec<_> = (0..20).map(|x| pool.submit(square(x))).collect();
            let values = jobs.into_iter().map(|job| job.wait().unwrap());
            assert!(values.eq(squares(20)));
        }
        3 => assert!(pool.imap(square, 0..50).map(Result::unwrap).eq(squares(50))),
        4 => {
            let error = pool.apply(fail(turn.to_string())).unwrap_err();
            let TaskError::Panicked(panic) = error else { panic!("{error}") };
            assert_eq!(panic.message(), turn.to_string());
        }
        _ => drop(pool.map_async(square, 0..100)),
    }
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    fn eight_threads_use_one_pool() {
        let pool = Pool::new(3)?;
        thread::scope(|scope| {
            for thread in 0..8 {
                let pool = &pool;
                scope.spawn(move || (0..60).for_each(|turn| work(pool, thread + turn)));
            }
        });
        assert_eq!(pool.stats().workers_started, 3);
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// The executor's `gh105829`: many threads that submit at once to workers that come and go.
    fn test_gh_105829_many_submits_at_once() {
        let pool = Pool::builder().workers(2).max_tasks_per_child(10).build()?;
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let jobs: Vec<_> = (0..100).map(|x| pool.submit(square(x))).collect();
                    for (x, job) in (0..100).zip(jobs) {
                        assert_eq!(job.wait().unwrap(), x * x);
                    }
                });
            }
        });
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// Each waits for one job, and each is woken by its own.
    fn each_of_many_threads_waits_for_its_own_job() {
        let pool = Pool::new(2)?;
        let stops: Vec<_> = (0..2).map(|_| Stop::new()).collect::<Result<_, _>>()?;
        thread::scope(|scope| {
            let mut waiting = Vec::new();
            for stop in &stops {
                let job = pool.submit(stop.hold());
                stop.arrival();
                waiting.push(scope.spawn(move || job.wait().unwrap()));
            }
            let second = waiting.pop().unwrap();
            stops[1].open();
            second.join().unwrap();
            assert!(!waiting[0].is_finished());
            stops[0].open();
            waiting.pop().unwrap().join().unwrap();
        });
    }

    /// A pool in a task; its workers end with it.
    fn a_task_may_have_a_pool_of_its_own() {
        let pool = Pool::new(2)?;
        let sum: u64 = squares(10).into_iter().sum();
        assert_eq!(pool.map(|_| sum_of_squares(2, 10), 0..6)?, [sum; 6]);
        assert_eq!(pool.apply(nest(3))?, 8);
        for worker in pool.stats().workers {
            let left = children_of(worker.pid).len();
            assert!(left <= 3, "a fork server and two children made ahead, but not {left}");
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_pool_that_a_task_has_left_behind_ends_with_its_worker() {
        let pool = Pool::new(1)?;
        let pids = pool.apply(leave_a_pool())?;
        assert_eq!(pids.len(), 2);
        let fds: Vec<_> = pids.iter().filter_map(|pid| tests::pidfd(*pid)).collect();
        drop(pool);
        for fd in fds {
            assert_eq!(offspring::wait_timeout(&[&fd], AMPLE)?, [0]);
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    fn pools_do_not_share_anything() {
        let pools: Vec<_> = (0..3).map(|_| Pool::new(2)).collect::<Result<_, _>>()?;
        let jobs: Vec<_> =
            pools.iter().map(|pool| pool.map_async(|_| pid(), 0..50)).collect();
        let sets: Vec<HashSet<u32>> = jobs
            .into_iter()
            .map(|job| job.wait().map(HashSet::from_iter))
            .collect::<Result<_, _>>()?;
        assert!(sets[0].is_disjoint(&sets[1]) && sets[1].is_disjoint(&sets[2]));
        let mut pools = pools.into_iter();
        drop(pools.next());
        for pool in pools {
            assert_eq!(pool.map(square, 0..10)?, squares(10));
        }
    }
}
