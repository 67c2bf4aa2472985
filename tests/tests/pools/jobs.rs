//! Single tasks.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use offspring::{Pool, process, wait_timeout};
use tests::each_start_method;
use tests::family::until;
use tests::tasks::{Stop, nap, pid, square, squares};

use super::{AMPLE, LONG, SHORT};

#[process]
fn greet(greeting: String, name: Option<String>, times: usize) -> Vec<String> {
    vec![format!("{greeting}, {}", name.unwrap_or_default()); times]
}

#[process]
fn odds(x: u64, fails: Option<u64>) -> u64 {
    assert_ne!(Some(x), fails);
    x
}

#[process]
#[derive(Debug)]
struct Adder {
    terms: Vec<i64>,
}

impl offspring::Process for Adder {
    type Output = Result<i64, String>;

    fn run(self) -> Self::Output {
        self.terms.into_iter().reduce(|a, b| a + b).ok_or("nothing to add".into())
    }
}

each_start_method! {
    /// `test_apply`, and the executor's `test_submit`, `test_submit_keyword`.
    fn test_apply_waits_for_the_value() {
        let pool = Pool::new(2)?;
        assert_eq!(pool.apply(square(5))?, 25);
        let greetings = pool.apply(greet("hello".into(), Some("you".into()), 2))?;
        assert_eq!(greetings, ["hello, you", "hello, you"]);
        assert_eq!(pool.apply(Adder { terms: vec![1, 2, -10] })?, Ok(-7));
        assert_eq!(pool.apply(Adder { terms: vec![] })?, Err("nothing to add".into()));
    }

    /// `test_async`
    fn test_async_gives_the_value_later() {
        let pool = Pool::new(2)?;
        let start = Instant::now();
        let job = pool.submit(nap(100));
        assert_eq!(job.wait()?, 100);
        assert!(start.elapsed() >= Duration::from_millis(100));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_async_timeout`: and the pool can be ended meanwhile.
    fn test_async_timeout_at_the_deadline() {
        let stop = Stop::new()?;
        let pool = Pool::new(2)?;
        let job = pool.submit(stop.hold());
        stop.arrival();
        for timeout in [Duration::ZERO, SHORT] {
            let start = Instant::now();
            assert!(!job.wait_timeout(timeout));
            assert!(start.elapsed() >= timeout);
        }
        assert!(!job.is_ready());
        pool.terminate();
        assert!(job.wait_timeout(LONG));
        assert!(job.wait().is_err());
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_job_is_ready_when_it_is_done() {
        let pool = Pool::new(1)?;
        let stop = Stop::new()?;
        let (first, second) = (pool.submit(stop.hold()), pool.submit(square(3)));
        assert!(!first.is_ready() && !second.is_ready());
        stop.open();
        assert!(second.wait_timeout(AMPLE));
        assert!(first.is_ready() && second.is_ready());
        assert!(second.wait_timeout(Duration::ZERO));
        assert_eq!(second.wait()?, 9);
        first.wait()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// It takes no call to find out: replies are heard by the pool itself.
    fn a_job_is_ready_although_nobody_waits() {
        let pool = Pool::new(1)?;
        let job = pool.submit(square(3));
        until(|| job.is_ready());
        assert_eq!(job.wait()?, 9);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn the_task_of_a_job_that_is_dropped_runs_all_the_same() {
        let stop = Stop::new()?;
        let pool = Pool::new(2)?;
        for _ in 0..3 {
            drop(pool.submit(stop.hold()));
        }
        stop.open();
        (0..3).for_each(|_| _ = stop.arrival());
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// In the order of their submission, if one worker has them all.
    fn tasks_of_one_worker_run_in_the_order_of_their_submission() {
        let pool = Pool::new(1)?;
        let (tell, told) = offspring::pipe()?;
        let jobs: Vec<_> = (0..100).map(|x| pool.submit(say(tell.clone(), x))).collect();
        for x in 0..100 {
            assert_eq!(told.recv()?, x);
        }
        for job in jobs.into_iter().rev() {
            job.wait()?;
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// The executor's `test_saturation`: fifteen times as many as there are workers.
    fn test_saturation_has_each_worker_have_one() {
        let stop = Stop::new()?;
        let pool = Pool::new(3)?;
        let jobs: Vec<_> = (0..45).map(|_| pool.submit(stop.hold())).collect();
        let workers: HashSet<_> = (0..3).map(|_| stop.arrival()).collect();
        assert_eq!(workers.len(), 3);
        assert_eq!(stop.others(), 0);
        stop.open();
        for job in jobs {
            assert!(workers.contains(&job.wait()?));
        }
        assert_eq!(pool.stats().workers_started, 3);
    }

    only [forkserver ForkServer, spawn Spawn]
    /// Waited for from the last to the first, and only when all are there.
    fn ten_thousand_jobs_at_once() {
        let pool = Pool::new(2)?;
        let jobs: Vec<_> = (0..10_000).map(|x| pool.submit(square(x))).collect();
        for (x, job) in jobs.into_iter().enumerate().rev() {
            assert_eq!(job.wait()?, (x * x) as u64);
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    fn tasks_run_elsewhere() {
        let pool = Pool::new(1)?;
        let worker = pool.submit(pid()).wait()?;
        assert_ne!(worker, std::process::id());
        assert_eq!(pool.submit(pid()).wait()?, worker);
        assert_eq!(pool.stats().workers[0].pid, worker);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn wait_is_told_of_jobs_among_other_things() {
        let pool = Pool::new(2)?;
        let (long, (tx, rx)) = (pool.submit(nap(600_000)), offspring::pipe::<u64>()?);
        let quick = pool.submit(square(3));
        assert_eq!(offspring::wait(&[&long, &rx, &quick])?, [2]);
        assert_eq!(offspring::wait_timeout(&[&long, &quick, &rx], AMPLE)?, [1]); // and stays so
        assert_eq!(quick.wait()?, 9);
        assert!(offspring::wait_timeout(&[&long, &rx], SHORT)?.is_empty());
        let said = pool.submit(say(tx, 5));
        assert!(offspring::wait_timeout(&[&long, &rx], AMPLE)? == [1]);
        assert_eq!(rx.recv()?, 5);
        said.wait()?;
        long.cancel();
        assert_eq!(offspring::wait_timeout(&[&long], AMPLE)?, [0]);
        assert!(long.wait().is_err());
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_task_sees_that_it_is_overdue_and_another_is_not() {
        let limit = Duration::from_millis(50);
        let pool = Pool::builder().workers(2).soft_timeout(limit).build()?;
        let begin = Instant::now();
        let other = pool.submit(overdue_at_once());
        assert_eq!(pool.apply(until_overdue())?, 1);
        assert!(begin.elapsed() >= limit);
        assert!(!other.wait()?);
        assert!(!pool.apply(overdue_at_once())?, "it is about one task, and not about its worker");
        assert!(pool.map(|_| until_overdue(), 0..4)?.iter().all(|seen| *seen == 1));
        assert!(!offspring::pool::is_overdue());
    }

    only [forkserver ForkServer]
    /// As a task does whose job is dropped.
    fn the_tasks_of_a_map_that_is_dropped_run_all_the_same() {
        let pool = Pool::new(2)?;
        drop(pool.map_async(square, 0..1000));
        until(|| pool.stats().tasks == 1000);
        assert_eq!(pool.apply(square(3))?, 9);
    }

    only [forkserver ForkServer]
    fn a_map_tells_when_it_is_done() {
        let stop = Stop::new()?;
        let pool = Pool::new(2)?;
        let (tx, rx) = std::sync::mpsc::channel();
        for fails in [None, Some(77)] {
            let tx = tx.clone();
            let task = move |x| odds(x, fails);
            pool.mapper().chunk_size(3).map_async(task, 0..100).on_done(move |all| tx.send(all).unwrap());
        }
        let mut outcomes = [rx.recv_timeout(LONG)?, rx.recv_timeout(LONG)?];
        outcomes.sort_by_key(Result::is_err);
        let [all, failed] = outcomes;
        assert!(all?.into_iter().eq(0..100));
        assert_eq!(failed.unwrap_err().task().index(), Some(77));

        let held = pool.map_async(|()| stop.hold(), [(), ()]);
        let quick = pool.submit(square(3));
        assert!(wait_timeout(&[&held, &quick], Duration::from_millis(20))?.is_empty());
        let _ = [stop.arrival(), stop.arrival()];
        stop.open();
        assert!(wait_timeout(&[&held], AMPLE)? == [0] && held.is_ready());
        assert!(!held.cancel(), "it is done");
        assert_eq!(held.wait()?.len(), 2);
        assert_eq!(quick.wait()?, 9);
    }

    only [forkserver ForkServer]
    fn a_pool_has_as_many_workers_as_it_was_told_last() {
        let pool = Pool::new(1)?;
        for workers in [4, 2, 7, 1, 3] {
            pool.resize(workers)?;
            assert_eq!(pool.workers(), workers);
            until(|| pool.stats().workers.len() == workers);
            assert_eq!(pool.map(square, 0..100)?, squares(100));
        }
        assert!(pool.resize(5000).is_err());
        assert_eq!(pool.workers(), 3);
    }
}

#[process]
fn until_overdue() -> u32 {
    while !offspring::pool::is_overdue() {
        std::thread::yield_now();
    }
    1
}

#[process]
fn overdue_at_once() -> bool {
    offspring::pool::is_overdue()
}

#[process]
fn say(to: offspring::Sender<u64>, x: u64) {
    to.send(x).unwrap();
}
