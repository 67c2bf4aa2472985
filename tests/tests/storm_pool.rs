//! Workers of pools are killed at random moments, busy and idle. Each task has one outcome, the right
//! one or `WorkerDied`; with retries, all are right; and when all is over, nothing is left.
//!
//! `OFFSPRING_STORM_SEED` repeats the order of a storm, as far as the machine allows;
//! `OFFSPRING_LONG_TESTS=1` and `OFFSPRING_SOAK=1` have many more tasks go through each.

#[path = "storm_pool/each_instruction.rs"]
mod each_instruction;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;
use std::{env, fs, thread};

use offspring::{Pool, TaskError, process};
use tests::each_start_method;
use tests::family::until;
use tests::storm::Random;
use tests::tasks::{KILLED, died, kill, square, squares, text};

const WORKERS: usize = 4;

fn count() -> u64 {
    match (tests::soak(), tests::long()) {
        (true, _) => 1_000_000,
        (_, true) => 100_000,
        _ => 10_000,
    }
}

fn random() -> Random {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let given = env::var("OFFSPRING_STORM_SEED").ok();
    let seed = given.map_or(now, |seed| seed.parse().expect("a number"));
    println!("OFFSPRING_STORM_SEED={seed}");
    Random::new(seed)
}

/// Takes a moment, of no particular length.
#[process]
fn work(x: u64) -> (u64, u64) {
    let random = Random::new(x);
    random.dawdle();
    (x, x.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// As [`work`], with an argument and a result that may travel beside the others.
#[process]
fn work_at_large(x: u64, argument: String) -> (u64, String) {
    assert!(argument == tests::tasks::text(len(x)));
    Random::new(x).dawdle();
    (x, tests::tasks::text(len(x + 1)))
}

fn len(x: u64) -> usize {
    match x % 50 {
        7 => 600_000 + x as usize % 100,
        8 => 20_000 + x as usize % 100,
        other => other as usize,
    }
}

fn is_right(x: u64, outcome: (u64, u64)) -> bool {
    outcome == (x, x.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Kills workers of the pool until this is over: busy ones, idle ones, one that has just begun, several
/// at once. Says how many.
fn rage(pool: &Pool, random: &Random, over: &AtomicBool, kills: &AtomicU64) {
    while !over.load(Ordering::Relaxed) {
        random.dawdle();
        if !random.one_in(4) {
            continue;
        }
        let workers = pool.stats().workers;
        if workers.is_empty() {
            continue;
        }
        let victims = if random.one_in(5) { random.below(WORKERS as u64) + 1 } else { 1 };
        for _ in 0..victims {
            let victim = random.below(workers.len() as u64) as usize;
            kill(workers[victim].pid);
            kills.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Has workers be killed while `body` uses the pool. Says how many were.
fn storm(pool: &Pool, body: impl FnOnce()) -> u64 {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (over, kills) = (AtomicBool::new(false), AtomicU64::new(0));
    let random = random();
    thread::scope(|scope| {
        let (over, kills) = (&over, &kills);
        scope.spawn(move || rage(pool, &random, over, kills));
        let _over = Over(over);
        body();
    });
    kills.into_inner()
}

/// What this process has, to be the same before and after: descriptors, threads, and memory in KiB.
fn possessions() -> (usize, usize, u64) {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    let threads = fs::read_dir("/proc/self/task").unwrap().count();
    (tests::descriptors().len(), threads, pages * 4)
}

#[track_caller]
fn assert_nothing_grew(before: (usize, usize, u64), pool: &Pool) {
    until(|| pool.stats().workers.len() == WORKERS);
    until(|| {
        let now = possessions();
        (now.0, now.1) == (before.0, before.1)
    });
    let after = possessions();
    println!("before and after: {before:?}, {after:?}");
    assert!(after.2 < before.2 + (64 << 10), "{before:?} {after:?}");
}

each_start_method! {
    only [forkserver ForkServer]
    fn each_task_of_a_storm_has_one_outcome() {
        let pool = Pool::new(WORKERS)?;
        pool.map_settled(work, 0..2000);
        until(|| pool.stats().workers.len() == WORKERS);
        let before = possessions();
        let mut deaths = 0_u64;
        let kills = storm(&pool, || {
            for size in [None, Some(1), Some(16), Some(500)] {
                let mapper = size.map_or(pool.mapper(), |size| pool.mapper().chunk_size(size));
                let outcomes = mapper.map_settled(work, 0..count() / 4);
                assert_eq!(outcomes.len() as u64, count() / 4);
                for (x, outcome) in outcomes.into_iter().enumerate() {
                    match outcome {
                        Ok(value) => assert!(is_right(x as u64, value), "{x}: {value:?}"),
                        Err(error) => {
                            assert_eq!(error.task().index(), Some(x));
                            assert_eq!(died(Err::<(), _>(error)).0, KILLED);
                            deaths += 1;
                        }
                    }
                }
            }
        });
        println!("{kills} killed, {deaths} tasks lost");
        assert!(kills > 0 && deaths <= kills, "no task is lost without a worker: {deaths} of {kills}");
        assert_nothing_grew(before, &pool);
        assert_eq!(pool.map(square, 0..100)?, squares(100));
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    fn with_retries_all_results_of_a_storm_are_right() {
        let pool = Pool::builder().workers(WORKERS).retries(1000).build()?;
        let kills = storm(&pool, || {
            let count = count() / 4;
            for size in [None, Some(1), Some(64)] {
                let mapper = size.map_or(pool.mapper(), |size| pool.mapper().chunk_size(size));
                let values = mapper.map(work, 0..count).unwrap();
                assert_eq!(values.len() as u64, count);
                for (x, value) in (0..count).zip(values) {
                    assert!(is_right(x, value), "{x}: {value:?}");
                }
            }
            for (x, outcome) in (0..count).zip(pool.imap(work, 0..count)) {
                assert!(is_right(x, outcome.unwrap()));
            }
        });
        println!("{kills} killed");
        pool.join()?;
    }

    only [forkserver ForkServer]
    /// Large ones, which travel beside the others.
    fn a_storm_over_large_tasks() {
        let pool = Pool::new(WORKERS)?;
        let mut deaths = 0;
        let kills = storm(&pool, || {
            for (size, retries) in [(1, 0), (10, 0), (10, 1000)] {
                let task = |x| work_at_large(x, text(len(x)));
                let mapper = pool.mapper().chunk_size(size).retries(retries);
                let outcomes = mapper.map_settled(task, 0..count() / 20);
                for (x, outcome) in (0..).zip(outcomes) {
                    match outcome {
                        Ok((y, text)) => {
                            assert!(x == y && text == tests::tasks::text(len(x + 1)));
                        }
                        Err(error) => {
                            assert_eq!(retries, 0, "{error}");
                            assert_eq!(died(Err::<(), _>(error)).0, KILLED);
                            deaths += 1;
                        }
                    }
                }
            }
        });
        println!("{kills} killed, {deaths} tasks lost");
        pool.join()?;
    }

    only [forkserver ForkServer]
    /// Single ones, from several threads, some of which are cancelled.
    fn a_storm_over_jobs_of_many_threads() {
        let pool = Pool::new(WORKERS)?;
        let kills = storm(&pool, || {
            thread::scope(|scope| {
                for thread in 0..4 {
                    let pool = &pool;
                    scope.spawn(move || {
                        for round in 0..count() / 1000 {
                            let random = Random::new(thread << 32 | round);
                            let jobs: Vec<_> = (0..100).map(|x| pool.submit(work(x))).collect();
                            let cancelled = jobs[50].cancel();
                            if random.one_in(2) {
                                drop(pool.map_async(work, 0..100));
                            }
                            for (x, job) in (0..).zip(jobs) {
                                match job.wait() {
                                    Ok(value) => assert!(is_right(x, value)),
                                    Err(TaskError::Cancelled { .. }) => {
                                        assert!(x == 50 && cancelled);
                                    }
                                    Err(error) => assert_eq!(died(Err::<(), _>(error)).0, KILLED),
                                }
                            }
                        }
                    });
                }
            });
        });
        println!("{kills} killed");
        until(|| pool.stats().waiting == 0);
        pool.join()?;
    }

    only [forkserver ForkServer]
    /// Workers that leave by themselves, too.
    fn a_storm_over_workers_that_come_and_go() {
        let pool = Pool::builder().workers(WORKERS).max_tasks_per_child(2).retries(1000).build()?;
        let kills = storm(&pool, || {
            let count = count() / 10;
            let values = pool.map(work, 0..count).unwrap();
            assert!((0..count).zip(values).all(|(x, value)| is_right(x, value)));
        });
        println!("{kills} killed");
        pool.join()?;
    }
}
