//! C, D, B2: the pool.

use benches::{Round, measure, pools};
use offspring::{Pool, process};

#[process]
fn square(x: u64) -> u64 {
    pools::square(x)
}

#[process]
fn nap(millis: u64) -> u64 {
    pools::nap(millis)
}

pub(crate) fn run(round: &Round) -> offspring::Result<()> {
    if round.work == "B2" {
        let pool = Pool::builder().workers(pools::FRESH).max_tasks_per_child(1).build()?;
        pools::map(round, |count| sum(&pool.map(square, 0..count).unwrap()));
        return Ok(());
    }
    let pool = Pool::new(pools::WORKERS)?;
    match round.work.as_str() {
        "C1" => pools::map(round, |count| sum(&pool.map(square, 0..count).unwrap())),
        "C2" => {
            let one = pool.mapper().chunk_size(1);
            pools::map(round, |count| sum(&one.map(square, 0..count).unwrap()));
        }
        "D1" | "D3" => {
            let mut x = 0;
            measure::round_trips(round, || {
                x += 1;
                assert_eq!(pool.apply(square(x)).unwrap(), pools::square(x));
            });
        }
        _ => pools::efficiency(round, |naps| drop(pool.map(nap, naps).unwrap())),
    }
    Ok(())
}

fn sum(values: &[u64]) -> u64 {
    values.iter().fold(0, |sum, value| sum.wrapping_add(*value))
}
