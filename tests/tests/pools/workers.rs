//! What workers are told: how many, what they do first and last, what they may use, when they leave.

use std::collections::HashSet;
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use offspring::shm::Shared;
use offspring::{Error, Pool, Sender, TaskError, pipe, process};
use tests::each_start_method;
use tests::family::until;
use tests::tasks::{Stop, kill, nap, pid, square, squares};

use super::{AMPLE, Fragile};

static READY: AtomicU32 = AtomicU32::new(0);

#[process]
fn get_ready(number: u32, tell: Sender<u32>) {
    assert_eq!(READY.swap(number, Ordering::Relaxed), 0, "once in each");
    tell.send(std::process::id()).unwrap();
}

#[process]
fn readiness() -> u32 {
    READY.load(Ordering::Relaxed)
}

#[process]
fn say_goodbye(tell: Sender<u32>) {
    tell.send(std::process::id()).unwrap();
}

#[process]
fn fail_to_start(how: u32, first: u64, started: Shared<AtomicU64>) {
    if started.fetch_add(1, Ordering::SeqCst) >= first {
        return;
    }
    match how {
        // A long story.
        0 => panic!("no licence{}", ".".repeat(100_000)),
        1 => std::process::exit(3),
        2 => std::process::abort(),
        _ => kill(std::process::id()),
    }
}

#[process]
fn refuse(value: Fragile) {
    assert_eq!(value, Fragile::Good(1));
}

static LEAK: std::sync::Mutex<Vec<Vec<u8>>> = std::sync::Mutex::new(Vec::new());

#[process]
fn leak(mebibytes: usize) -> u32 {
    LEAK.lock().unwrap().push(vec![1; mebibytes << 20]);
    std::process::id()
}

#[process]
fn allocate(bytes: usize) -> usize {
    black_box(vec![1_u8; bytes]).len()
}

#[process]
fn affinity() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap()).collect()
}

#[process]
fn name() -> String {
    offspring::current().name().to_owned()
}

each_start_method! {
    /// `test_pool_initializer`, the executor's `test_initializer`.
    fn test_initializer_runs_once_in_each_worker() {
        let (tell, told) = pipe()?;
        let pool = Pool::builder().workers(3).initializer(get_ready(7, tell)).build()?;
        assert_eq!(pool.map(|_| readiness(), 0..100)?, [7; 100]);
        let ready: HashSet<_> = (0..3).map(|_| told.recv().unwrap()).collect();
        let workers: HashSet<_> = pool.stats().workers.into_iter().map(|worker| worker.pid).collect();
        assert_eq!(ready, workers);
        assert!(told.try_recv().is_err());
    }

    only [forkserver ForkServer, spawn Spawn]
    fn an_initializer_runs_in_those_that_come_later() {
        let (tell, told) = pipe()?;
        let pool = Pool::builder()
            .workers(1)
            .max_tasks_per_child(1)
            .initializer(get_ready(7, tell))
            .build()?;
        for _ in 0..5 {
            assert_eq!(pool.apply(readiness())?, 7);
        }
        (0..5).for_each(|_| _ = told.recv().unwrap());
    }

    only [forkserver ForkServer, spawn Spawn]
    /// The executor's tests of initializers that fail. Its workers are not started for ever.
    fn test_initializer_that_fails_fails_the_pool() {
        for how in 0..4 {
            let started = Shared::new(AtomicU64::new(0))?;
            let initializer = fail_to_start(how, u64::MAX, started.clone());
            let pool = Pool::builder().workers(2).initializer(initializer).build()?;
            let (job, map) = (pool.submit(square(3)), pool.map_async(square, 0..10));
            for error in [job.wait().unwrap_err(), map.wait().unwrap_err()] {
                assert!(matches!(error, TaskError::PoolFailed { .. }), "{error:?}");
                assert!(!error.may_have_run());
                assert!(how > 0 || error.to_string().contains("no licence"), "{error}");
                println!("{:.200}", error.to_string());
            }
            let later = pool.apply(square(3)).unwrap_err();
            assert!(matches!(later, TaskError::PoolFailed { .. }), "{later:?}");
            assert!(pool.imap(square, 0..).take(3).all(|outcome| outcome.is_err()));
            let error = pool.join().unwrap_err();
            assert!(error.to_string().starts_with("the pool has failed: "), "{error}");
            // Who is killed may have been killed by somebody else: it takes more of those.
            let most = if how == 3 { 200 } else { 5 };
            assert!(started.load(Ordering::SeqCst) <= most, "{started:?}");
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// One or two failures in a row cost nothing but those workers.
    fn an_initializer_that_fails_twice_is_tried_again() {
        for how in 0..4 {
            let started = Shared::new(AtomicU64::new(0))?;
            let initializer = fail_to_start(how, 2, started.clone());
            let pool = Pool::builder().workers(1).initializer(initializer).build()?;
            assert_eq!(pool.map(square, 0..10)?, squares(10), "{how}");
            assert_eq!(started.load(Ordering::SeqCst), 3);
            pool.join()?;
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    fn an_initializer_that_cannot_be_encoded_is_refused_at_once() {
        let refused = Pool::builder().workers(1).initializer(refuse(Fragile::NotEncoded)).build();
        match refused.map(drop) {
            Err(error @ Error::Encode { .. }) => {
                assert!(error.to_string().contains("refuse"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        let refused = Pool::builder().workers(1).finalizer(refuse(Fragile::NotEncoded)).build();
        assert!(matches!(refused.map(drop), Err(Error::Encode { .. })));
        let mut undecodable = Pool::builder();
        undecodable.workers(1).initializer(refuse(Fragile::NotDecoded));
        let pool = undecodable.build()?;
        assert!(matches!(pool.apply(square(3)), Err(TaskError::PoolFailed { .. })));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// One builder, several pools, with a handle in what they run first.
    fn a_builder_makes_any_number_of_pools() {
        let (tell, told) = pipe()?;
        let mut builder = Pool::builder();
        builder.workers(2).initializer(get_ready(3, tell));
        let pools = [builder.build()?, builder.workers(1).build()?];
        for pool in &pools {
            assert_eq!(pool.apply(readiness())?, 3);
        }
        let ready: HashSet<_> = (0..3).map(|_| told.recv().unwrap()).collect();
        assert_eq!(ready.len(), 3);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_finalizer_runs_when_a_worker_leaves_and_not_when_it_is_killed() {
        let (tell, told) = pipe()?;
        let mut builder = Pool::builder();
        builder.workers(2).finalizer(say_goodbye(tell));
        let pool = builder.build()?;
        let workers: HashSet<_> = pool.stats().workers.into_iter().map(|worker| worker.pid).collect();
        assert_eq!(pool.map(square, 0..10)?, squares(10));
        pool.join()?;
        assert_eq!((0..2).map(|_| told.try_recv().unwrap()).collect::<HashSet<_>>(), workers);

        let pool = builder.workers(1).max_tasks_per_child(2).build()?;
        let pids: Vec<_> = (0..4).map(|_| pool.apply(pid())).collect::<Result<_, _>>()?;
        assert_eq!([told.recv()?, told.recv()?], [pids[0], pids[2]]);
        pool.terminate();
        drop(pool);
        let left: Vec<u32> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_worker_that_has_grown_too_large_leaves() {
        let pool = Pool::builder().workers(1).max_memory_per_child(100 << 20).build()?;
        let small: HashSet<_> = (0..5).map(|_| pool.apply(leak(1))).collect::<Result<_, _>>()?;
        assert_eq!(small.len(), 1);
        let large: Vec<_> = (0..3).map(|_| pool.apply(leak(150))).collect::<Result<_, _>>()?;
        assert!(small.contains(&large[0]));
        assert!(large[0] != large[1] && large[1] != large[2]);
        // What a task has and gives back does not count.
        assert_eq!(pool.apply(allocate(150 << 20))?, 150 << 20);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_task_beyond_the_memory_limit_costs_itself() {
        let pool = Pool::builder().workers(2).memory_limit(1 << 30).build()?;
        assert_eq!(pool.apply(allocate(10 << 20))?, 10 << 20);
        match pool.apply(allocate(2 << 30)) {
            Err(TaskError::WorkerDied(death)) => {
                assert_eq!(death.status().signal(), Some(libc::SIGABRT));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.map(square, 0..100)?, squares(100));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn idle_workers_leave_and_come_back_for_work() {
        let pool = Pool::builder().workers(3).idle_timeout(Duration::from_millis(100)).build()?;
        for _ in 0..4 {
            assert_eq!(pool.map(square, 0..100)?, squares(100));
            until(|| pool.stats().workers.is_empty());
            assert_eq!(pool.workers(), 3);
            assert_eq!(pool.apply(square(3))?, 9);
            until(|| pool.stats().workers.is_empty());
        }
        // One that is busy does not leave.
        assert_eq!(pool.apply(nap(400))?, 400);
        let jobs: Vec<_> = (0..20).map(|x| pool.submit(square(x))).collect();
        for (x, job) in (0..20).zip(jobs) {
            assert_eq!(job.wait()?, x * x);
        }
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    fn workers_run_where_they_may() {
        let allowed = affinity().run();
        let last = *allowed.last().unwrap();
        let pool = Pool::builder().workers(2).cpu_affinity([last]).build()?;
        assert_eq!(pool.map(|_| affinity(), 0..4)?, vec![vec![last]; 4]);
        assert_eq!(affinity().run(), allowed);
        let pool = Pool::new(2)?;
        assert_eq!(pool.apply(affinity())?, allowed);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn workers_have_names() {
        let pool = Pool::builder().workers(2).name("crew").build()?;
        let names: HashSet<_> = pool.map(|_| name(), 0..50)?.into_iter().collect();
        assert!(names.iter().all(|name| name.starts_with("crew-")), "{names:?}");
        let mut names: Vec<_> = pool.stats().workers.into_iter().map(|worker| worker.name).collect();
        names.sort();
        println!("{names:?}");
        let other = Pool::new(1)?;
        assert!(other.apply(name())?.starts_with("pool-1"));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_pool_grows_and_shrinks() {
        let stop = Stop::new()?;
        let pool = Pool::new(1)?;
        assert_eq!(pool.grow(2)?, 3);
        assert_eq!(pool.workers(), 3);
        let jobs: Vec<_> = (0..9).map(|_| pool.submit(stop.hold())).collect();
        let busy: HashSet<_> = (0..3).map(|_| stop.arrival()).collect();
        assert_eq!(busy.len(), 3);
        // Those that are busy finish what they have.
        assert_eq!(pool.shrink(2)?, 1);
        stop.open();
        for job in jobs {
            job.wait()?;
        }
        until(|| pool.stats().workers.len() == 1);
        assert_eq!(pool.map(square, 0..100)?, squares(100));
        assert_eq!(pool.shrink(100)?, 1, "one at least");
        assert_eq!(pool.apply(square(3))?, 9);
        assert_eq!(pool.grow(1)?, 2);
        until(|| pool.stats().workers.len() == 2);
        assert_eq!(pool.map(square, 0..100)?, squares(100));
        match pool.grow(5000) {
            Err(Error::TooLarge { max: 1024, .. }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.workers(), 2);
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_pool_that_changes_its_size_all_the_time_does_its_work() {
        let pool = Pool::new(2)?;
        let map = pool.mapper().chunk_size(3).map_async(nap, [1; 1000]);
        for turn in 0..30 {
            if turn % 2 == 0 { pool.grow(1 + turn % 5)? } else { pool.shrink(1 + turn % 4)? };
            assert_eq!(pool.apply(square(turn as u64))?, (turn * turn) as u64);
        }
        assert_eq!(map.wait()?, [1; 1000]);
        let target = pool.workers();
        until(|| pool.stats().workers.len() == target);
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// Those that leave are counted right although some are killed meanwhile.
    fn a_pool_shrinks_while_workers_are_killed() {
        let pool = Pool::new(6)?;
        for _ in 0..5 {
            let workers = pool.stats().workers;
            assert_eq!(pool.shrink(4)?, 2);
            workers.iter().take(3).for_each(|worker| kill(worker.pid));
            assert_eq!(pool.map(square, 0..50)?, squares(50));
            until(|| pool.stats().workers.len() == 2);
            assert_eq!(pool.map(square, 0..50)?, squares(50));
            assert_eq!(pool.grow(4)?, 6);
            until(|| pool.stats().workers.len() == 6);
        }
        assert!(pool.submit(square(3)).wait_timeout(AMPLE));
    }
}
