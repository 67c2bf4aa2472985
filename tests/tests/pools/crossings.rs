//! Several things at once: an end, a panic, a death or a lack in the middle of something else. Nothing is
//! lost by it, taken for something that it is not, or waited for in vain.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offspring::{Pool, TaskError, as_completed, process};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::each_start_method;
use tests::family::until;
use tests::tasks::{Stop, held, nap, pid, square, squares};

use super::{AMPLE, LONG};

/// Ends its worker, for one input in 60, the first time that it is run.
#[process]
fn stumble(x: u64, notes: PathBuf, padding: String) -> u64 {
    if x.is_multiple_of(60) && File::create_new(notes.join(x.to_string())).is_ok() {
        std::process::abort();
    }
    x + padding.len() as u64
}

#[process]
fn length(text: String) -> usize {
    assert!(!text.starts_with("fail"), "as it was asked to");
    text.len()
}

/// An initializer.
#[process]
fn start_slowly() {
    thread::sleep(Duration::from_millis(300));
}

#[process]
fn abort() -> u64 {
    std::process::abort()
}

/// Panics where its owner looks at it: in the process that has this number.
#[derive(Debug)]
struct Explosive {
    on_the_way_out: bool,
    on_the_way_in: u32,
}

impl Serialize for Explosive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = (self.on_the_way_in, self.on_the_way_out).serialize(serializer);
        assert!(!self.on_the_way_out, "on the way out");
        bytes
    }
}

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (on_the_way_in, on_the_way_out) = Deserialize::deserialize(deserializer)?;
        assert_ne!(on_the_way_in, std::process::id(), "on the way in");
        Ok(Self { on_the_way_out, on_the_way_in })
    }
}

/// What is done to an [`Explosive`], and a number beside it.
#[process]
fn handle_with_care(number: u64, explosive: Explosive) -> (u64, u32) {
    (number * number, explosive.on_the_way_in)
}

#[process]
fn send_back(explodes_in: u32) -> Explosive {
    Explosive { on_the_way_out: false, on_the_way_in: explodes_in }
}

/// Panics once more when it is dropped.
struct Grudge;

impl Drop for Grudge {
    fn drop(&mut self) {
        panic!("and another thing");
    }
}

/// No more descriptors can be had from this number on.
fn limit_descriptors(limit: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
}

fn lift_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

each_start_method! {
    only [forkserver ForkServer]
    fn a_cancelled_map_is_not_taken_for_a_whole_one() {
        let pool = Pool::new(1)?;
        let job = pool.map_async(nap, [0, 600_000]);
        until(|| pool.stats().tasks == 1);
        job.cancel();
        assert!(matches!(job.wait(), Err(TaskError::Cancelled { .. })));
    }

    only [forkserver ForkServer]
    fn a_map_that_sees_its_pool_end_has_an_outcome_for_each_input() {
        for settled in [true, false] {
            let pool = Pool::new(2)?;
            let inputs = (0..50_000).inspect(|x| {
                if *x == 20_000 {
                    until(|| pool.stats().tasks > 100);
                    pool.terminate();
                }
            });
            if settled {
                let outcomes = pool.map_settled(square, inputs);
                assert_eq!(outcomes.len(), 50_000);
                let closed = |outcome: &Result<_, _>| {
                    matches!(outcome, Err(TaskError::PoolClosed { .. }))
                };
                assert!(outcomes.iter().skip(20_000).all(closed));
                for (x, value) in (0..).zip(outcomes).filter_map(|(x, value)| Some((x, value.ok()?))) {
                    assert_eq!(value, x * x);
                }
            } else {
                assert!(matches!(pool.map(square, inputs), Err(TaskError::PoolClosed { .. })));
            }
        }
    }

    only [forkserver ForkServer]
    fn a_pool_of_very_many_workers_takes_tasks() {
        let pool = Pool::new(1)?;
        assert_eq!(pool.grow(699)?, 700);
        assert_eq!(pool.apply(square(3))?, 9);
        assert_eq!(pool.map(square, 0..1000)?, squares(1000));
    }

    only [forkserver ForkServer]
    /// The other thread is the one whom workers wake.
    fn the_first_outcome_comes_while_another_thread_waits_for_a_task() {
        let stop = Stop::new()?;
        let pool = Pool::new(2)?;
        thread::scope(|scope| {
            let other = scope.spawn(|| pool.apply(stop.hold()));
            stop.arrival();
            let mut outcomes = pool.imap(nap, [1, 600_000]);
            assert_eq!(outcomes.next().unwrap().unwrap(), 1);
            stop.open();
            other.join().unwrap().unwrap();
        });
    }

    only [forkserver ForkServer]
    fn cancelling_a_map_of_short_chunks_stands_whatever_ends_meanwhile() {
        let pool = Pool::new(4)?;
        for turn in 0..100 {
            let job = pool.mapper().chunk_size(1).map_async(square, 0..2000);
            for _ in 0..turn * 20 {
                std::hint::spin_loop();
            }
            job.cancel();
            match job.wait() {
                Ok(all) => assert_eq!(all, squares(2000)),
                Err(TaskError::Cancelled { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(pool.apply(square(4))?, 16);
    }

    only [forkserver ForkServer]
    /// What was withdrawn lies behind what its worker has died with.
    fn tasks_behind_a_withdrawn_one_are_put_up_after_a_death() {
        let pool = Pool::builder().workers(1).initializer(start_slowly()).build()?;
        for _ in 0..3 {
            let stop = Stop::new()?;
            let first = pool.submit(stop.hold());
            stop.arrival();
            let dies = pool.submit(abort());
            let withdrawn = pool.submit(square(3));
            assert!(withdrawn.cancel());
            let map = pool.map_async(square, 0..10);
            stop.open();
            first.wait()?;
            assert!(matches!(dies.wait(), Err(TaskError::WorkerDied(_))));
            assert!(map.wait_timeout(AMPLE));
            assert_eq!(map.wait()?, squares(10));
        }
    }

    only [forkserver ForkServer]
    fn many_withdrawn_tasks_hold_up_no_other() {
        let stop = Stop::new()?;
        let pool = Pool::builder().workers(1).initializer(start_slowly()).build()?;
        let first = pool.submit(stop.hold());
        stop.arrival();
        let dies = pool.submit(abort());
        for job in (0..600).map(|x| pool.submit(square(x))).collect::<Vec<_>>() {
            assert!(job.cancel());
        }
        let last = pool.submit(square(5));
        stop.open();
        first.wait()?;
        assert!(matches!(dies.wait(), Err(TaskError::WorkerDied(_))));
        assert!(last.wait_timeout(AMPLE));
        assert_eq!(last.wait()?, 25);
    }

    only [forkserver ForkServer]
    fn a_map_that_waits_for_room_hears_of_its_first_error() {
        let pool = Pool::builder().workers(2).max_tasks_per_child(7).build()?;
        let text = |x| if x == 5000 { "fail".into() } else { "x".repeat(1024) };
        let all = pool.mapper().chunk_size(10).map(length, (0..100_000).map(text));
        match all {
            Err(TaskError::Panicked(panic)) => assert_eq!(panic.task().index(), Some(5000)),
            other => panic!("{:?}", other.map(|all| all.len())),
        }
    }

    only [forkserver ForkServer]
    fn tasks_that_are_run_again_leave_room_for_others() {
        let pool = Pool::builder().workers(2).retries(1).build()?;
        let notes = tempfile::tempdir()?;
        let padding = "x".repeat(1024);
        let task = |x| stumble(x, notes.path().into(), padding.clone());
        let all = pool.mapper().chunk_size(60).map(task, 0..9000)?;
        assert!(all.into_iter().eq((0..9000).map(|x| x + 1024)));
    }

    only [forkserver ForkServer]
    /// Each is a file until it is sent.
    fn a_map_of_large_inputs_needs_few_descriptors() {
        let pool = Pool::new(2)?;
        pool.map(nap, [0, 0, 0, 0])?;
        limit_descriptors(120);
        let text = |_| "x".repeat(600 << 10);
        let all = pool.map(length, (0..300).map(text))?;
        assert!(all.iter().all(|len| *len == 600 << 10));
        let unordered = pool.imap_unordered(length, (0..300).map(text));
        assert_eq!(unordered.map(Result::unwrap).sum::<usize>(), 300 * (600 << 10));
    }

    only [forkserver ForkServer]
    fn tasks_that_do_not_fit_into_a_workers_memory_fail() {
        let pool = Pool::builder().workers(1).memory_limit(200 << 20).build()?;
        let stop = Stop::new()?;
        let first = pool.submit(stop.hold());
        stop.arrival();
        let jobs: Vec<_> = (0..600).map(|_| pool.submit(length("x".repeat(400 << 10)))).collect();
        stop.open();
        first.wait()?;
        let mut refused = 0;
        for job in jobs {
            assert!(job.wait_timeout(AMPLE));
            match job.wait() {
                Ok(len) => assert_eq!(len, 400 << 10),
                Err(error @ TaskError::Decode { may_have_run: false, .. }) => {
                    assert!(error.to_string().contains("memory_limit"), "{error}");
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(refused > 0, "more than 200 MiB were there at once");
    }

    only [forkserver ForkServer]
    fn a_task_whose_serialize_panics_spoils_no_other_of_its_chunk() {
        let pool = Pool::new(2)?;
        let task = |x| {
            let explosive = Explosive { on_the_way_out: x == 7, on_the_way_in: 1 };
            handle_with_care(x, explosive)
        };
        let mut outcomes = pool.imap(task, 0..20);
        let (mut values, mut panics) = (Vec::new(), 0);
        loop {
            match catch_unwind(AssertUnwindSafe(|| outcomes.next())) {
                Ok(Some(value)) => values.push(value?.0),
                Ok(None) => break,
                Err(_) => panics += 1,
            }
        }
        assert_eq!(panics, 1);
        assert!(values.into_iter().eq((0..20).filter(|x| *x != 7).map(|x| x * x)));
    }

    only [forkserver ForkServer]
    fn a_value_whose_deserialize_panics_ends_its_map() {
        let pool = Pool::new(2)?;
        let own = std::process::id();
        let mut outcomes = pool.imap(send_back, (0..100).map(|x| if x == 50 { own } else { 1 }));
        let panicked = catch_unwind(AssertUnwindSafe(|| outcomes.by_ref().map(Result::unwrap).count()));
        assert!(panicked.is_err());
        assert!(outcomes.next().is_none());
        assert_eq!(pool.apply(square(4))?, 16);
    }

    only [forkserver ForkServer]
    /// The pool's own thread looks after the workers meanwhile.
    fn a_callback_may_wait_for_other_tasks() {
        let pool = Arc::new(Pool::builder().workers(1).max_tasks_per_child(1).build()?);
        let (tx, rx) = std::sync::mpsc::channel();
        let own = Arc::clone(&pool);
        pool.submit(square(3)).on_done(move |nine| {
            let sum = own.apply(square(nine.unwrap()));
            let died = own.apply(abort());
            let more = own.map(square, 0..10);
            let late = own.submit(nap(600_000)).wait_timeout(Duration::from_millis(20));
            tx.send((sum, died, more, late)).unwrap();
        });
        let (sum, died, more, late) = rx.recv_timeout(LONG)?;
        assert_eq!(sum?, 81);
        assert!(matches!(died, Err(TaskError::WorkerDied(_))));
        assert_eq!(more?, squares(10));
        assert!(!late);
    }

    only [forkserver ForkServer]
    fn a_callback_may_wait_while_another_thread_listens() {
        let stop = Stop::new()?;
        let pool = Arc::new(Pool::new(2)?);
        let (tx, rx) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            let other = scope.spawn(|| pool.apply(stop.hold()));
            stop.arrival();
            for x in 0..100 {
                let (own, tx) = (Arc::clone(&pool), tx.clone());
                pool.submit(square(x)).on_done(move |y| {
                    tx.send(own.apply(square(y.unwrap())).unwrap()).unwrap();
                });
            }
            let all: Vec<_> = (0..100).map(|_| rx.recv_timeout(LONG).unwrap()).collect();
            assert!(all.into_iter().eq((0..100).map(|x: u64| x.pow(4))));
            stop.open();
            other.join().unwrap().unwrap();
        });
    }

    only [forkserver ForkServer]
    fn what_a_callback_panics_with_may_panic_in_its_turn() {
        let pool = Pool::new(1)?;
        let (tx, rx) = std::sync::mpsc::channel();
        pool.submit(square(3)).on_done(|_| panic_any(Grudge));
        pool.submit(square(4)).on_done(move |result| tx.send(result).unwrap());
        assert_eq!(rx.recv_timeout(LONG)??, 16);
        pool.join()?;
    }

    only [forkserver ForkServer]
    fn a_pool_stands_a_moment_without_descriptors_and_without_workers() {
        let pool = Pool::builder().workers(1).build()?;
        assert_eq!(pool.apply(square(3))?, 9);
        let stop = Stop::new()?;
        let holds = pool.submit(stop.hold());
        let worker = stop.arrival();
        let waits = pool.submit(square(4));
        limit_descriptors(3);
        kill(Pid::from_raw(worker as i32), Signal::SIGKILL)?;
        assert!(matches!(holds.wait(), Err(TaskError::WorkerDied(_))));
        assert!(!waits.wait_timeout(Duration::from_millis(350)), "there is nobody to do it");
        lift_limit();
        assert_eq!(waits.wait()?, 16);
    }

    only [forkserver ForkServer]
    fn an_unordered_map_whose_pool_ends_tells_what_is_missing() {
        let stop = Stop::new()?;
        let pool = Pool::builder().workers(2).initializer(stop.equip()).build()?;
        let task = |x| held(x);
        stop.open();
        let mut outcomes = pool.mapper().chunk_size(1).window(6).imap_unordered(task, 0..6);
        let first = outcomes.next().unwrap()?;
        stop.close();
        pool.terminate();
        let (mut values, mut missing) = (vec![first], Vec::new());
        for outcome in outcomes {
            match outcome {
                Ok(value) => values.push(value),
                Err(error) => missing.push(error.task().index().unwrap() as u64),
            }
        }
        values.extend(missing.iter().map(|x| x * x));
        values.sort_unstable();
        assert_eq!(values, squares(6));
    }

    only [forkserver ForkServer]
    fn jobs_of_two_pools_are_refused_at_once() {
        let (one, two) = (Pool::new(1)?, Pool::new(1)?);
        let jobs = [one.submit(pid()), two.submit(pid())];
        let refused = catch_unwind(AssertUnwindSafe(|| as_completed(jobs)));
        assert!(refused.is_err());
    }

    only [forkserver ForkServer]
    fn a_pool_that_shrinks_and_grows_keeps_its_workers() {
        let stop = Stop::new()?;
        let pool = Pool::new(2)?;
        let jobs: Vec<_> = (0..2).map(|_| pool.submit(stop.hold())).collect();
        let before: Vec<_> = (0..2).map(|_| stop.arrival()).collect();
        for _ in 0..10 {
            pool.shrink(1)?;
            pool.grow(1)?;
        }
        stop.open();
        for job in jobs {
            assert!(before.contains(&job.wait()?));
        }
        for _ in 0..20 {
            assert!(before.contains(&pool.apply(pid())?));
        }
        assert_eq!(pool.stats().workers_started, 2);
    }
}
