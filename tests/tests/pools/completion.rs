//! Many jobs, each as it is done.

use std::time::{Duration, Instant};

use offspring::{Pool, TaskError, as_completed, wait_any, wait_any_timeout};
use tests::each_start_method;
use tests::tasks::{Stop, fail, square};

use super::{LONG, SHORT};

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// `as_completed`: each once, what is done first.
    fn test_as_completed_gives_what_is_done_first() {
        let pool = Pool::new(3)?;
        let stops: Vec<_> = (0..3).map(|_| Stop::new()).collect::<Result<_, _>>()?;
        let jobs: Vec<_> = stops.iter().map(|stop| pool.submit(stop.hold())).collect();
        stops.iter().for_each(|stop| _ = stop.arrival());
        let mut done = as_completed(jobs);
        for place in [1, 2, 0] {
            assert_eq!(done.size_hint(), (done.size_hint().0, Some(done.size_hint().0)));
            stops[place].open();
            let (came, result) = done.next().unwrap();
            assert_eq!(came, place);
            assert!(result.is_ok());
        }
        assert!(done.next().is_none());
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_zero_timeout`, `test_already_completed`, of those that are done, that fail and that are cancelled.
    fn test_as_completed_of_all_kinds() {
        let pool = Pool::new(1)?;
        let stop = Stop::new()?;
        let done = pool.submit(square(2));
        assert!(done.wait_timeout(LONG));
        let failed = pool.submit(fail("on purpose".into()));
        assert!(failed.wait_timeout(LONG));
        let held = pool.submit(stop.hold());
        stop.arrival();
        let cancelled = pool.submit(square(3));
        assert!(cancelled.cancel());
        stop.open();
        held.wait()?;
        let late = pool.submit(square(4));
        let mut all: Vec<_> = as_completed([done, failed, cancelled, late]).collect();
        all.sort_by_key(|(place, _)| *place);
        assert!(matches!(all[0], (0, Ok(4))));
        assert!(matches!(all[1], (1, Err(TaskError::Panicked(_)))));
        assert!(matches!(all[2], (2, Err(TaskError::Cancelled { .. }))));
        assert!(matches!(all[3], (3, Ok(16))));
        assert!(as_completed(Vec::<offspring::Job<u64>>::new()).next().is_none());
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_first_completed`, and its timeouts.
    fn test_first_completed_of_several() {
        let pool = Pool::new(2)?;
        let (first, second) = (Stop::new()?, Stop::new()?);
        let jobs = [pool.submit(first.hold()), pool.submit(second.hold())];
        for timeout in [Duration::ZERO, SHORT] {
            let start = Instant::now();
            assert_eq!(wait_any_timeout(&jobs, timeout), None);
            assert!(start.elapsed() >= timeout);
        }
        second.open();
        assert_eq!(wait_any(&jobs), Some(1));
        assert_eq!(wait_any_timeout(&jobs, LONG), Some(1));
        first.open();
        assert!(jobs[0].wait_timeout(LONG));
        assert_eq!(wait_any(&jobs), Some(0));
        assert_eq!(wait_any(&jobs[1..]), Some(0));
        assert_eq!(wait_any::<u32>(&[]), None);
        assert_eq!(wait_any_timeout::<u32>(&[], LONG), None);
    }

    only [forkserver ForkServer, spawn Spawn]
    /// It hears of a pool that ends.
    fn waiting_for_any_ends_with_the_pool() {
        let pool = Pool::new(2)?;
        let stop = Stop::new()?;
        let jobs = [pool.submit(stop.hold()), pool.submit(stop.hold())];
        stop.arrival();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| wait_any(&jobs));
            pool.terminate();
            assert_eq!(waits.join().unwrap(), Some(0));
        });
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_thousand_jobs_as_they_are_done() {
        let pool = Pool::new(3)?;
        let jobs: Vec<_> = (0..1000).map(|x| pool.submit(square(x))).collect();
        let mut seen = vec![false; 1000];
        for (place, result) in as_completed(jobs) {
            assert_eq!(result?, (place * place) as u64);
            assert!(!std::mem::replace(&mut seen[place], true));
        }
        assert!(seen.iter().all(|seen| *seen));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn jobs_of_several_pools_are_refused() {
        let pools = [Pool::new(1)?, Pool::new(1)?];
        let jobs: Vec<_> = pools.iter().map(|pool| pool.submit(square(3))).collect();
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait_any_timeout(&jobs, SHORT)));
        assert!(refused.is_err());
        for job in jobs {
            assert_eq!(job.wait()?, 9);
        }
    }
}
