//! Arguments and results of all sizes.

use offspring::{Pool, process};
use tests::each_start_method;
use tests::tasks::{echo, square, squares};

const MIB: usize = 1 << 20;
/// Around each size at which something else is done.
const SIZES: [usize; 22] = [
    0,
    1,
    15,
    16,
    17,
    8 << 10,
    (8 << 10) - 16,
    (8 << 10) - 8,
    (8 << 10) + 1,
    (32 << 10) - 16,
    32 << 10,
    (32 << 10) + 1,
    (64 << 10) - 4,
    64 << 10,
    (64 << 10) + 1,
    MIB / 2 - 16,
    MIB / 2,
    MIB / 2 + 1,
    MIB - 16,
    MIB,
    MIB + 1,
    5 * MIB,
];

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ at >> 8 ^ len) as u8).collect()
}

#[process]
fn measure(bytes: Vec<u8>) -> (usize, u64) {
    (bytes.len(), bytes.iter().map(|byte| u64::from(*byte)).sum())
}

#[process]
fn produce(len: usize) -> Vec<u8> {
    content(len)
}

each_start_method! {
    only [forkserver Forkserver, spawn Spawn]
    fn each_size_goes_there_and_comes_back() {
        let pool = Pool::new(2)?;
        for len in SIZES {
            let bytes = content(len);
            assert!(pool.apply(echo(bytes.clone()))? == bytes, "{len}");
            let sum = bytes.iter().map(|byte| u64::from(*byte)).sum();
            assert_eq!(pool.apply(measure(bytes.clone()))?, (len, sum));
            assert!(pool.apply(produce(len))? == bytes, "{len}");
        }
        let all = pool.map(|len| echo(content(len)), SIZES)?;
        assert!(all.into_iter().eq(SIZES.map(content)));
        for (len, outcome) in SIZES.into_iter().zip(pool.imap(|len| echo(content(len)), SIZES)) {
            assert!(outcome? == content(len), "{len}");
        }
    }

    only [forkserver Forkserver]
    fn sixty_four_mebibytes_go_there_and_come_back() {
        let pool = Pool::new(2)?;
        let bytes = content(64 * MIB);
        assert!(pool.apply(echo(bytes.clone()))? == bytes);
        let outcomes = pool.map(|_| echo(bytes.clone()), 0..3)?;
        assert!(outcomes.into_iter().all(|outcome| outcome == bytes));
    }

    only [forkserver Forkserver, spawn Spawn]
    /// More results than there is room for in what workers and pool share, and nobody who takes them.
    fn results_that_nobody_takes_are_kept() {
        let pool = Pool::new(2)?;
        let jobs: Vec<_> = (0..300).map(|len| pool.submit(produce(300 * len))).collect();
        let large: Vec<_> = (0..20).map(|_| pool.submit(produce(MIB))).collect();
        let probe = pool.submit(square(7));
        assert_eq!(probe.wait()?, 49);
        for (len, job) in jobs.into_iter().enumerate() {
            assert!(job.wait()? == content(300 * len));
        }
        for job in large {
            assert!(job.wait()? == content(MIB));
        }
    }

    only [forkserver Forkserver, spawn Spawn]
    /// In the middle of a chunk, results that do not fit beside those that do.
    fn large_results_among_small_ones() {
        let pool = Pool::new(2)?;
        let len = |x: usize| if x % 10 == 3 { 200_000 } else { x % 50 };
        for size in [1, 20, 200] {
            let outcomes = pool.mapper().chunk_size(size).map(|x| produce(len(x)), 0..200)?;
            for (x, bytes) in outcomes.into_iter().enumerate() {
                assert!(bytes == content(len(x)), "{x}");
            }
        }
    }

    only [forkserver Forkserver]
    /// The arena has room for other tasks again when these are done.
    fn a_hundred_megabytes_of_tasks_that_wait() {
        let pool = Pool::new(2)?;
        let outcomes = pool.map(|x| measure(vec![x as u8; 10_000]), 0..10_000)?;
        for (x, (len, sum)) in outcomes.into_iter().enumerate() {
            assert_eq!((len, sum), (10_000, 10_000 * (x % 256) as u64));
        }
        assert_eq!(pool.map(square, 0..100)?, squares(100));
    }
}
