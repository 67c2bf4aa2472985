//! B2, C, D, Iw: pools.

use benches::{Round, measure, pools, sums};
use offspring::shm::{SharedMut, SharedSlice};
use offspring::{Pool, process};

use crate::shared::filled;

#[process]
fn square(x: u64) -> u64 {
    pools::square(x)
}

#[process]
fn nap(millis: u64) -> u64 {
    pools::nap(millis)
}

#[process]
fn pid() -> u32 {
    std::process::id()
}

pub(crate) fn run(round: &Round) -> offspring::Result<()> {
    match round.work.as_str() {
        "B2" => {
            let pool = Pool::builder().workers(pools::FRESH).max_tasks_per_child(1).build()?;
            pools::map(round, |count| sum(pool.map(square, 0..count).unwrap()));
        }
        "C1" => {
            let pool = Pool::new(pools::WORKERS)?;
            pools::map(round, |count| sum(pool.map(square, 0..count).unwrap()));
        }
        "C2" => {
            let pool = Pool::new(pools::WORKERS)?;
            let singly = pool.mapper().chunk_size(1);
            pools::map(round, |count| sum(singly.map(square, 0..count).unwrap()));
        }
        "C3" | "C4" => {
            let pool = Pool::new(pools::WORKERS)?;
            pools::efficiency(round, |naps| drop(pool.map(nap, naps).unwrap()));
        }
        "C5" => numbers_in(round, &Pool::new(1)?),
        "C6" => numbers_out(round, &Pool::new(1)?),
        "Iw" => {
            let pool = Pool::new(pools::WORKERS)?;
            pools::idle(pool.apply(pid()).unwrap());
        }
        _ => {
            let pool = Pool::new(pools::WORKERS)?;
            let mut x = 0;
            measure::round_trips(round, || {
                x += 1;
                assert_eq!(pool.apply(square(x)).unwrap(), pools::square(x));
            });
        }
    }
    Ok(())
}

fn sum(squares: Vec<u64>) -> u64 {
    squares.into_iter().fold(0, u64::wrapping_add)
}

#[process]
fn sum_vec(numbers: Vec<f64>) -> f64 {
    sums::sum(&numbers)
}

#[process]
fn sum_shared(numbers: SharedSlice<f64>) -> f64 {
    sums::sum(&numbers)
}

/// C5
fn numbers_in(round: &Round, pool: &Pool) {
    match round.variant.as_str() {
        "pool-shared" => {
            let numbers = sums::numbers();
            sums::hand_over(
                round,
                || (),
                |()| {
                    let shared = SharedSlice::from_slice(&numbers).unwrap();
                    (pool.apply(sum_shared(shared.clone())).unwrap(), shared)
                },
            );
        }
        _ => pools::numbers_in(round, |numbers| pool.apply(sum_vec(numbers)).unwrap()),
    }
}

#[process]
fn make_vec() -> usize {
    pools::make_numbers()
}

#[process]
fn take_vec() -> Vec<f64> {
    pools::take_numbers()
}

/// What a worker gives away next.
static SHARED: std::sync::Mutex<Option<SharedMut<f64>>> = std::sync::Mutex::new(None);

#[process]
fn make_shared() {
    *SHARED.lock().unwrap() = Some(filled());
}

#[process]
fn take_shared() -> SharedMut<f64> {
    SHARED.lock().unwrap().take().unwrap()
}

/// C6
fn numbers_out(round: &Round, pool: &Pool) {
    match round.variant.as_str() {
        "pool-shared" => sums::hand_over(
            round,
            || pool.apply(make_shared()).unwrap(),
            |()| {
                let mut numbers = pool.apply(take_shared()).unwrap();
                (sums::sum(numbers.as_mut_slice()), numbers)
            },
        ),
        _ => pools::numbers_out(
            round,
            || pool.apply(make_vec()).unwrap(),
            || pool.apply(take_vec()).unwrap(),
        ),
    }
}
