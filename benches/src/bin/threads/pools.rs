//! C, D: rayon, which moves no data.

use benches::{Round, measure, pools, sums};
use rayon::prelude::*;

fn of(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

pub(crate) fn run(round: &Round) {
    let pool = of(pools::WORKERS);
    match round.work.as_str() {
        "C1" => pools::map(round, |count| {
            let squares: Vec<u64> =
                pool.install(|| (0..count).into_par_iter().map(pools::square).collect());
            squares.into_iter().fold(0, u64::wrapping_add)
        }),
        "C2" => pools::map(round, |count| {
            let all: Vec<u64> = (0..count).collect();
            let squares: Vec<u64> = pool
                .install(|| all.par_iter().with_max_len(1).map(|x| pools::square(*x)).collect());
            squares.into_iter().fold(0, u64::wrapping_add)
        }),
        "D1" | "D3" => {
            let (tx, rx) = std::sync::mpsc::channel();
            let mut x = 0;
            measure::round_trips(round, || {
                x += 1;
                let tx = tx.clone();
                pool.spawn(move || tx.send(pools::square(x)).unwrap());
                assert_eq!(rx.recv().unwrap(), pools::square(x));
            });
        }
        // A pointer goes there, and back.
        "C5" => {
            let pool = of(1);
            pools::numbers_in(round, |numbers| pool.install(move || sums::sum(&numbers)));
        }
        "C6" => {
            let pool = of(1);
            pools::numbers_out(
                round,
                || pool.install(pools::make_numbers),
                || pool.install(pools::take_numbers),
            );
        }
        _ => pools::efficiency(round, |naps| {
            let naps = naps.par_iter().with_max_len(1);
            pool.install(|| naps.for_each(|millis| _ = pools::nap(*millis)));
        }),
    }
}
