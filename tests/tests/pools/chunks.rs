//! How many tasks go to a worker together is nobody's business but the pool's: what comes of each is
//! the same, whatever the others do.

use std::collections::BTreeMap;

use offspring::{Pool, TaskError, process};
use serde::{Deserialize, Serialize};
use tests::each_start_method;
use tests::tasks::{echo, square, squares, text};

use super::Fragile;

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    Value,
    Large,
    Panic,
    Exit,
    Killed,
    NotEncoded,
    NotDecoded,
}

const ALL: [What; 7] = [
    What::Value,
    What::Large,
    What::Panic,
    What::Exit,
    What::Killed,
    What::NotEncoded,
    What::NotDecoded,
];

/// Most are good; none is where it would be foreseen.
fn what(index: usize, deadly: usize) -> What {
    let kind = ALL[(index * 31 / 7) % 7];
    match kind {
        What::Exit | What::Killed if !index.is_multiple_of(deadly) => What::Value,
        kind => kind,
    }
}

#[process]
fn act(what: What, index: u64) -> (Fragile, String) {
    let good = Fragile::Good(index);
    match what {
        What::Value => (good, String::new()),
        What::Large => (good, text(100_000 + index as usize)),
        What::Panic => panic!("{index}"),
        What::Exit => std::process::exit(3),
        What::Killed => {
            tests::tasks::kill(std::process::id());
            unreachable!()
        }
        What::NotEncoded => (Fragile::NotEncoded, String::new()),
        What::NotDecoded => (Fragile::NotDecoded, String::new()),
    }
}

#[track_caller]
fn check(index: usize, what: What, outcome: Result<(Fragile, String), TaskError>) {
    if let Err(error) = &outcome {
        assert_eq!(error.task().index(), Some(index), "{error}");
    }
    let number = index as u64;
    match (what, outcome) {
        (What::Value, Ok((Fragile::Good(x), rest))) => assert!(x == number && rest.is_empty()),
        (What::Large, Ok((Fragile::Good(x), rest))) => {
            assert!(x == number && rest == text(100_000 + x as usize));
        }
        (What::Panic, Err(TaskError::Panicked(panic))) => {
            assert_eq!(panic.message(), index.to_string());
        }
        (What::Exit, Err(TaskError::WorkerDied(death))) => assert_eq!(death.code(), Some(3)),
        (What::Killed, Err(TaskError::WorkerDied(death))) => assert_eq!(death.code(), None),
        (What::NotEncoded, Err(TaskError::Encode { may_have_run: true, .. })) => {}
        (What::NotDecoded, Err(TaskError::Decode { may_have_run: true, .. })) => {}
        (what, other) => panic!("{index}, {what:?}: {other:?}"),
    }
}

const COUNT: usize = 150;
const SIZES: [Option<u32>; 6] = [None, Some(1), Some(2), Some(7), Some(64), Some(1000)];

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// `test_map_chunksize` of the executor, with tasks that fail in every way.
    fn test_map_chunksize_does_not_matter() {
        let pool = Pool::new(2)?;
        for size in SIZES {
            let mapper = size.map_or(pool.mapper(), |size| pool.mapper().chunk_size(size));
            let task = |index| act(what(index, 5), index as u64);
            let outcomes = mapper.map_settled(task, 0..COUNT);
            assert_eq!(outcomes.len(), COUNT, "{size:?}");
            for (index, outcome) in outcomes.into_iter().enumerate() {
                check(index, what(index, 5), outcome);
            }
        }
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    fn the_outcomes_of_lazy_maps_do_not_depend_on_the_chunk_size() {
        let pool = Pool::new(2)?;
        for size in SIZES {
            let mapper = size.map_or(pool.mapper(), |size| pool.mapper().chunk_size(size));
            let task = |index| act(what(index, 10), index as u64);
            let mut count = 0;
            for (index, outcome) in mapper.imap(task, 0..COUNT).enumerate() {
                check(index, what(index, 10), outcome);
                count += 1;
            }
            assert_eq!(count, COUNT, "{size:?}");
            let mut came = BTreeMap::new();
            for outcome in mapper.imap_unordered(task, 0..COUNT) {
                let index = match &outcome {
                    Ok((Fragile::Good(x), _)) => *x as usize,
                    Err(error) => error.task().index().unwrap(),
                    other => panic!("{other:?}"),
                };
                assert!(came.insert(index, ()).is_none(), "{index} comes twice");
                check(index, what(index, 10), outcome);
            }
            assert_eq!(came.len(), COUNT, "{size:?}");
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// Workers that leave in the middle of a chunk.
    fn chunks_larger_than_a_worker_may_have_are_cut() {
        let pool = Pool::builder().workers(2).max_tasks_per_child(3).build()?;
        for size in [2, 3, 4, 50] {
            assert_eq!(pool.mapper().chunk_size(size).map(square, 0..100)?, squares(100));
        }
        assert!(pool.stats().workers_started >= 400 / 3);
    }

    only [forkserver ForkServer, spawn Spawn]
    /// Tasks of every size next to each other.
    fn tasks_too_large_for_a_chunk_travel_beside_it() {
        let pool = Pool::new(2)?;
        let lens = [0, 10, 600_000, 5, 70_000, 70_000, 1 << 20, 0, 524_288, 524_280, 64 << 10, 1];
        let inputs = lens.iter().cycle().take(120).map(|len| text(*len));
        for size in [1, 5, 1000] {
            let outcomes = pool.mapper().chunk_size(size).map(echo, inputs.clone())?;
            assert!(outcomes.into_iter().eq(inputs.clone()));
        }
    }
}
