//! Maps that take their inputs one by one, and give their outcomes one by one.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use offspring::{Pool, TaskError, process};
use tests::each_start_method;
use tests::family::until;
use tests::tasks::{Stop, held, nap, square, squares};

#[process]
fn divide(a: u64, b: u64) -> (u64, u64) {
    (a / b, a % b)
}

#[process]
fn odd(x: u64) -> u64 {
    assert!(x % 2 == 1, "{x} is even");
    x
}

each_start_method! {
    /// `test_imap`
    fn test_imap_gives_outcomes_in_order_and_then_none() {
        let pool = Pool::new(4)?;
        let all: Result<Vec<_>, _> = pool.imap(square, 0..10).collect();
        assert_eq!(all?, squares(10));
        let mut some = pool.imap(square, 0..10);
        for x in 0..10 {
            assert_eq!(some.next().unwrap()?, x * x);
        }
        assert!(some.next().is_none());
        assert!(some.next().is_none());
        for size in [1, 7, 100] {
            let all: Result<Vec<_>, _> =
                pool.mapper().chunk_size(size).imap(square, 0..1000).collect();
            assert_eq!(all?, squares(1000));
        }
    }

    /// `test_imap_unordered`
    fn test_imap_unordered_gives_the_same_set() {
        let pool = Pool::new(4)?;
        for size in [1, 53] {
            let all: Result<Vec<_>, _> =
                pool.mapper().chunk_size(size).imap_unordered(square, 0..1000).collect();
            let mut all = all?;
            all.sort();
            assert_eq!(all, squares(1000));
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// One that is slow does not hold up the others.
    fn test_imap_unordered_gives_what_comes_first() {
        let stop = Stop::new()?;
        let pool = Pool::builder().workers(2).initializer(stop.equip()).build()?;
        let mut slow = pool.imap_unordered(held, [7]);
        let mut quick = pool.imap_unordered(nap, 0..10);
        let task = quick.by_ref().take(10).collect::<Result<Vec<_>, _>>()?;
        assert_eq!(task.len(), 10);
        stop.open();
        assert_eq!(slow.next().unwrap()?, 49);
        assert!(slow.next().is_none() && quick.next().is_none());
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_imap_handle_iterable_exception`. The iterator is asked for inputs ahead of the outcomes, so
    /// its panic comes as soon as it is asked; what it gave before that is not lost.
    fn test_imap_handle_iterable_exception_and_goes_on() {
        let pool = Pool::new(3)?;
        for size in [1, 2, 4] {
            let inputs = (0..20).map(|x| if x == 7 { panic!("not {x}") } else { x });
            let mut outcomes = pool.mapper().chunk_size(size).imap(square, inputs);
            let (mut values, mut panics) = (Vec::new(), 0);
            loop {
                match catch_unwind(AssertUnwindSafe(|| outcomes.next())) {
                    Ok(Some(value)) => values.push(value?),
                    Ok(None) => break,
                    Err(panic) => {
                        assert_eq!(*panic.downcast::<String>().unwrap(), "not 7");
                        panics += 1;
                    }
                }
            }
            assert_eq!(panics, 1);
            let expected: Vec<u64> = (0..20).filter(|x| *x != 7).map(|x| x * x).collect();
            assert_eq!(values, expected);
        }
        assert_eq!(pool.map(square, 0..10)?, squares(10));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_imap_unordered_handle_iterable_exception`
    fn test_imap_unordered_handle_iterable_exception_gives_valid_values_only() {
        let pool = Pool::new(3)?;
        let inputs = (0..20).map(|x| if x == 7 { panic!("not {x}") } else { x });
        let mut outcomes = pool.imap_unordered(square, inputs);
        loop {
            match catch_unwind(AssertUnwindSafe(|| outcomes.next())) {
                Ok(Some(value)) => assert!(squares(20).contains(&value?)),
                Ok(None) => panic!("it ends before it fails"),
                Err(_panic) => break,
            }
        }
        drop(outcomes);
        assert_eq!(pool.map(square, 0..10)?, squares(10));
    }

    /// The executor's `test_map_exception`: an error at its turn. Differs: what follows comes too.
    fn test_map_exception_at_its_turn_and_the_rest() {
        let pool = Pool::new(2)?;
        let mut outcomes = pool.imap(|(a, b)| divide(a, b), [(1, 1), (1, 1), (1, 0), (6, 4)]);
        assert_eq!(outcomes.next().unwrap()?, (1, 0));
        assert_eq!(outcomes.next().unwrap()?, (1, 0));
        let error = outcomes.next().unwrap().unwrap_err();
        assert!(matches!(&error, TaskError::Panicked(panic) if panic.message().contains("zero")));
        assert_eq!(error.task().index(), Some(2));
        assert_eq!(outcomes.next().unwrap()?, (1, 2));
        assert!(outcomes.next().is_none());
    }

    only [forkserver ForkServer, spawn Spawn]
    fn an_error_tells_which_input_it_is_for() {
        let pool = Pool::new(3)?;
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for outcome in pool.imap_unordered(odd, 0..100) {
            match outcome {
                Ok(x) => good.push(x),
                Err(error) => bad.push(error.task().index().unwrap() as u64),
            }
        }
        good.sort();
        bad.sort();
        assert_eq!(good, (0..100).filter(|x| x % 2 == 1).collect::<Vec<_>>());
        assert_eq!(bad, (0..100).filter(|x| x % 2 == 0).collect::<Vec<_>>());
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `buffersize`
    fn no_more_inputs_are_taken_than_the_window_has() {
        let pool = Pool::new(2)?;
        for (window, size) in [(1, 1), (2, 1), (10, 1), (10, 3), (3, 100)] {
            let taken = Cell::new(0);
            let inputs = (0..100).inspect(|_| taken.set(taken.get() + 1));
            let mapper = pool.mapper().window(window).chunk_size(size);
            let outcomes = mapper.imap(square, inputs);
            for (given, outcome) in outcomes.enumerate() {
                assert_eq!(outcome?, (given * given) as u64);
                assert!(taken.get() <= given + window, "{} for {given}", taken.get());
            }
            assert_eq!(taken.get(), 100);
            let taken = Cell::new(0);
            let inputs = (0..100).inspect(|_| taken.set(taken.get() + 1));
            for (given, _) in mapper.imap_unordered(square, inputs).enumerate() {
                assert!(taken.get() <= given + window, "{} for {given}", taken.get());
            }
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// Nothing is taken before it is asked.
    fn it_does_nothing_until_it_is_asked() {
        let pool = Pool::new(2)?;
        let taken = Cell::new(0);
        let inputs = || (0..100).inspect(|_| taken.set(taken.get() + 1));
        let (ordered, unordered) = (pool.imap(square, inputs()), pool.imap_unordered(square, inputs()));
        assert_eq!(taken.get(), 0);
        drop((ordered, unordered));
        assert_eq!(pool.stats().tasks, 0);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn what_has_not_begun_is_cancelled_when_it_is_dropped() {
        let stop = Stop::new()?;
        let pool = Pool::builder().workers(1).initializer(stop.equip()).build()?;
        let mapper = pool.mapper().window(50).chunk_size(1);
        let mut outcomes = mapper.imap_unordered(|x| either(x == 0, x), 0..100);
        assert_eq!(outcomes.next().unwrap()?, 0);
        stop.arrival();
        drop(outcomes);
        stop.open();
        assert_eq!(pool.submit(square(5)).wait()?, 25);
        assert_eq!(stop.others(), 0);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn an_iterator_says_how_many_are_left() {
        let pool = Pool::new(2)?;
        let mut outcomes = pool.imap(square, 0..10);
        for left in (0..=10).rev() {
            assert_eq!(outcomes.size_hint(), (left, Some(left)));
            assert_eq!(outcomes.next().is_some(), left > 0);
        }
        let mut outcomes = pool.imap_unordered(square, 0..10);
        for left in (0..=10).rev() {
            assert_eq!(outcomes.size_hint(), (left, Some(left)));
            assert_eq!(outcomes.next().is_some(), left > 0);
        }
        assert_eq!(pool.imap(square, 0..).size_hint().1, None);
    }

    only [forkserver ForkServer, spawn Spawn]
    /// Each takes some of the other.
    fn iterators_over_one_pool_can_be_nested() {
        let pool = Pool::new(2)?;
        let mut sum = 0;
        for a in pool.imap(square, 0..20) {
            let a = a?;
            for b in pool.imap_unordered(square, 0..20) {
                sum += a * b?;
            }
        }
        let one: u64 = squares(20).into_iter().sum();
        assert_eq!(sum, one * one);
        let both = pool.imap(square, 0..1000).zip(pool.imap(square, 0..1000));
        assert!(both.into_iter().all(|(a, b)| a.unwrap() == b.unwrap()));
        let twice = pool.imap(square, pool.imap(square, 0..100).map(Result::unwrap));
        let twice: Result<Vec<_>, _> = twice.collect();
        assert_eq!(twice?, (0..100).map(|x: u64| x.pow(4)).collect::<Vec<_>>());
    }

    only [forkserver ForkServer, spawn Spawn]
    /// Between two that are asked for, the workers go on with what was taken ahead.
    fn what_was_taken_ahead_is_done_while_nobody_asks() {
        let pool = Pool::new(2)?;
        let mut outcomes = pool.mapper().window(30).imap(square, 0..100);
        assert_eq!(outcomes.next().unwrap()?, 0);
        until(|| pool.stats().tasks == 30);
        assert_eq!(outcomes.next().unwrap()?, 1);
    }
}

#[process]
fn either(at_once: bool, x: u64) -> u64 {
    if at_once { x } else { held(x).run() }
}
