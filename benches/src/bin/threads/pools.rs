//! C, D: rayon, which moves no data.

use benches::{Round, measure, pools};
use rayon::prelude::*;

pub(crate) fn run(round: &Round) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(pools::WORKERS).build().unwrap();
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
        _ => pools::efficiency(round, |naps| {
            pool.install(|| {
                naps.into_par_iter().with_max_len(1).for_each(|millis| {
                    pools::nap(millis);
                })
            });
        }),
    }
}
