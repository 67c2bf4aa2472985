//! Maps: everything goes in, and everything comes out in order.

use std::panic::{AssertUnwindSafe, catch_unwind};

use offspring::sync::Event;
use offspring::{Pool, TaskError, process};
use tests::each_start_method;
use tests::tasks::{Stop, held, nap, square, squares};

use super::{AMPLE, Fragile, SHORT, WRONG};

#[process]
fn scale(factor: u64, x: u64) -> u64 {
    factor * x
}

#[process]
fn take(value: Fragile) -> u64 {
    match value {
        Fragile::Good(number) => number,
        other => panic!("{other:?}"),
    }
}

/// A number that is seven eighths good.
fn mostly_good(x: u64) -> take {
    take(if x % 8 == 5 { Fragile::NotEncoded } else { Fragile::Good(x) })
}

each_start_method! {
    /// `test_map`, and the executor's.
    fn test_map_gives_results_in_the_order_of_the_inputs() {
        let pool = Pool::new(4)?;
        assert_eq!(pool.map(square, 0..10)?, squares(10));
        for size in [1, 3, 20] {
            assert_eq!(pool.mapper().chunk_size(size).map(square, 0..100)?, squares(100));
        }
        assert_eq!(pool.map(square, 0..50_000)?, squares(50_000));
        assert_eq!(pool.map(nap, [30, 1, 20, 2, 10, 3])?, [30, 1, 20, 2, 10, 3]);
    }

    /// `test_starmap`: the closure runs here, may take its arguments apart, and may change what it has.
    fn test_starmap_is_a_closure() {
        let pool = Pool::new(2)?;
        let pairs = [(2, 3), (4, 5), (6, 7)];
        assert_eq!(pool.map(|(x, y)| scale(x, y), pairs)?, [6, 20, 42]);
        let (mut calls, factor) = (0, 10);
        let counting = |x| {
            calls += 1;
            scale(factor, x)
        };
        assert_eq!(pool.map(counting, 0..100)?, (0..100).map(|x| 10 * x).collect::<Vec<_>>());
        assert_eq!(calls, 100);
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_map_async`
    fn test_map_async_returns_before_all_is_done() {
        let stop = Stop::new()?;
        let pool = Pool::builder().workers(2).initializer(stop.equip()).build()?;
        let job = pool.map_async(held, 0..20);
        assert!(!job.is_ready());
        assert!(!job.wait_timeout(SHORT));
        stop.open();
        assert!(job.wait_timeout(AMPLE));
        assert!(job.is_ready());
        assert_eq!(job.wait()?, squares(20));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_map_unplicklable`
    fn test_map_unplicklable_input_is_the_error_of_that_input() {
        let pool = Pool::new(2)?;
        match pool.map(mostly_good, 0..20) {
            Err(error @ TaskError::Encode { may_have_run: false, .. }) => {
                assert_eq!(error.task().index(), Some(5));
                assert_eq!(error.task().process(), "take");
                assert!(!error.may_have_run());
                assert!(error.to_string().contains(WRONG), "{error}");
            }
            other => panic!("{other:?}"),
        }
        let outcomes = pool.map_settled(mostly_good, 0..1000);
        assert_eq!(outcomes.len(), 1000);
        for (x, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(value) => assert!(x % 8 != 5 && value == x as u64),
                Err(TaskError::Encode { task, may_have_run: false, .. }) => {
                    assert!(x % 8 == 5 && task.index() == Some(x));
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(pool.map(square, 0..10)?, squares(10));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_map_chunksize`, `test_empty_iterable`
    fn test_empty_iterable_gives_nothing_at_once() {
        let pool = Pool::new(2)?;
        for mapper in [pool.mapper(), pool.mapper().chunk_size(1), pool.mapper().chunk_size(100)] {
            assert!(mapper.map(square, 0..0)?.is_empty());
            assert!(mapper.map_settled(square, []).is_empty());
            assert!(mapper.map_async(square, []).wait()?.is_empty());
            assert!(mapper.imap(square, []).next().is_none());
            assert!(mapper.imap_unordered(square, []).next().is_none());
        }
        assert!(pool.map_async(square, []).is_ready());
        assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_map_handle_iterable_exception`: the panic of an input is the caller's own.
    fn test_map_handle_iterable_exception_passes_it_on_and_the_pool_is_usable() {
        let pool = Pool::new(2)?;
        for at in [0, 1, 10, 1000, 100_000] {
            let inputs = || (0..).map(|x| if x == at { panic!("no input {x}") } else { x });
            for size in [1, 10] {
                let mapper = pool.mapper().chunk_size(size);
                let outcome = catch_unwind(AssertUnwindSafe(|| mapper.map(square, inputs())));
                let panic = outcome.unwrap_err().downcast::<String>().unwrap();
                assert_eq!(*panic, format!("no input {at}"));
                let closure = |x| if x == at { panic!("no task {x}") } else { square(x) };
                let outcome = catch_unwind(AssertUnwindSafe(|| mapper.map_settled(closure, 0..)));
                let panic = outcome.unwrap_err().downcast::<String>().unwrap();
                assert_eq!(*panic, format!("no task {at}"));
            }
            assert_eq!(pool.map(square, 0..10)?, squares(10));
        }
        assert_eq!(pool.stats().waiting, 0);
        pool.join()?;
    }
}

/// The first fails after the second has.
#[process]
fn fail_in_turn(x: usize, second_is_near: Event) {
    if x == 0 {
        second_is_near.wait();
        panic!("the first");
    }
    second_is_near.set();
    panic!("the second");
}

/// The first fails when another holds.
#[process]
fn fail_or_hold(x: usize, other_holds: Event, open: Event) {
    if x == 0 {
        other_holds.wait();
        panic!("it has to");
    }
    other_holds.set();
    open.wait();
}

#[process]
fn fail_at_length(x: u64) {
    if x < 2 {
        panic!("{x}{}", "!".repeat(1 << 20));
    }
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// Not of the one that fails first.
    fn the_error_is_that_of_the_first_input_that_fails() {
        let pool = Pool::new(2)?;
        for _ in 0..20 {
            let second = Event::new()?;
            let task = |x| fail_in_turn(x, second.clone());
            match pool.mapper().chunk_size(1).map(task, 0..2) {
                Err(TaskError::Panicked(panic)) => {
                    assert_eq!(panic.message(), "the first");
                    assert_eq!(panic.task().index(), Some(0));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// What comes after an input that has failed is not waited for, and not begun.
    fn a_map_ends_when_its_first_input_has_failed() {
        let pool = Pool::new(2)?;
        let (other_holds, open) = (Event::new()?, Event::new()?);
        let task = |x| fail_or_hold(x, other_holds.clone(), open.clone());
        let error = pool.mapper().chunk_size(1).map(task, 0..100).unwrap_err();
        assert_eq!(error.task().index(), Some(0));
        open.set();
        assert_eq!(pool.map(square, 0..10)?, squares(10));
        assert!(pool.stats().tasks < 50, "{:?}", pool.stats());
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_map_no_failfast`: of two large errors, and all others.
    fn test_map_no_failfast_when_all_outcomes_are_wanted() {
        let pool = Pool::new(2)?;
        let outcomes = pool.map_settled(fail_at_length, 0..20);
        assert_eq!(outcomes.len(), 20);
        for (x, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Err(TaskError::Panicked(panic)) if x < 2 => {
                    assert!(panic.message().starts_with(&format!("{x}!!!!")));
                    assert_eq!(panic.message().len(), (1 << 20) + 1);
                }
                Ok(()) if x >= 2 => {}
                other => panic!("{other:?}"),
            }
        }
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    fn two_maps_at_once_share_the_workers() {
        let pool = Pool::new(2)?;
        let first = pool.map_async(nap, [5; 40]);
        let second = pool.map_async(square, 0..1000);
        assert_eq!(second.wait()?, squares(1000));
        assert_eq!(first.wait()?, [5; 40]);
    }
}
