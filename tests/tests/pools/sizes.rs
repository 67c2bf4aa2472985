//! Arguments and results of all sizes.

use offspring::{Pool, process};
use tests::each_start_method;
use tests::tasks::{echo, square, squares, text};

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

#[process]
fn measure(text: String) -> (usize, u64) {
    (text.len(), sum(&text))
}

fn sum(text: &str) -> u64 {
    text.bytes().step_by(997).map(u64::from).sum()
}

#[process]
fn produce(len: usize) -> String {
    text(len)
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    fn each_size_goes_there_and_comes_back() {
        let pool = Pool::new(2)?;
        for len in SIZES {
            let bytes = text(len);
            assert!(pool.apply(echo(bytes.clone()))? == bytes, "{len}");
            assert_eq!(pool.apply(measure(bytes.clone()))?, (len, sum(&bytes)));
            assert!(pool.apply(produce(len))? == bytes, "{len}");
        }
        let all = pool.map(|len| echo(text(len)), SIZES)?;
        assert!(all.into_iter().eq(SIZES.map(text)));
        for (len, outcome) in SIZES.into_iter().zip(pool.imap(|len| echo(text(len)), SIZES)) {
            assert!(outcome? == text(len), "{len}");
        }
    }

    only [forkserver ForkServer]
    fn sixty_four_mebibytes_go_there_and_come_back() {
        let pool = Pool::new(2)?;
        let bytes = text(64 * MIB);
        assert!(pool.apply(echo(bytes.clone()))? == bytes);
        let outcomes = pool.map(|_| echo(bytes.clone()), 0..3)?;
        assert!(outcomes.into_iter().all(|outcome| outcome == bytes));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// More results than there is room for in what workers and pool share, and nobody who takes them.
    fn results_that_nobody_takes_are_kept() {
        let pool = Pool::new(2)?;
        let jobs: Vec<_> = (0..300).map(|len| pool.submit(produce(300 * len))).collect();
        let large: Vec<_> = (0..20).map(|_| pool.submit(produce(MIB))).collect();
        let probe = pool.submit(square(7));
        assert_eq!(probe.wait()?, 49);
        for (len, job) in jobs.into_iter().enumerate() {
            assert!(job.wait()? == text(300 * len));
        }
        for job in large {
            assert!(job.wait()? == text(MIB));
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// In the middle of a chunk, results that do not fit beside those that do.
    fn large_results_among_small_ones() {
        let pool = Pool::new(2)?;
        let len = |x: usize| if x % 10 == 3 { 200_000 } else { x % 50 };
        for size in [1, 20, 200] {
            let outcomes = pool.mapper().chunk_size(size).map(|x| produce(len(x)), 0..200)?;
            for (x, bytes) in outcomes.into_iter().enumerate() {
                assert!(bytes == text(len(x)), "{x}");
            }
        }
    }

    only [forkserver ForkServer]
    /// The arena has room for other tasks again when these are done.
    fn a_hundred_megabytes_of_tasks_that_wait() {
        let pool = Pool::new(2)?;
        let outcomes = pool.map(|x| measure(text(10_000 + x)), 0..10_000)?;
        for (x, (len, of)) in outcomes.into_iter().enumerate() {
            assert_eq!(len, 10_000 + x);
            assert!(x % 50 != 0 || of == sum(&text(len)));
        }
        assert_eq!(pool.map(square, 0..100)?, squares(100));
    }
}
