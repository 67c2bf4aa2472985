//! The loops around pools of two workers.

use std::time::Instant;

use crate::{Round, figure};

/// How many workers a pool has.
pub const WORKERS: usize = 2;

/// B2: how many workers there are, each for one task.
pub const FRESH: usize = 3;

/// What one of many trivial tasks gives.
pub fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// How long a task of C3 or C4 sleeps, in milliseconds: all as long, or one much longer than others.
///
/// # Panics
/// If the work is another.
pub fn naps(round: &Round) -> Vec<u64> {
    match round.work.as_str() {
        "C3" => vec![10; round.count],
        "C4" => {
            let mut naps = vec![1; round.count];
            naps[round.count / 2] = 100;
            naps
        }
        other => panic!("{other} does not sleep"),
    }
}

/// C3, C4: sleeps.
pub fn nap(millis: u64) -> u64 {
    std::thread::sleep(std::time::Duration::from_millis(millis));
    millis
}

/// C1, C2, B2: many trivial tasks; `map` gives the sum of what they give.
///
/// # Panics
/// If the sum is wrong.
pub fn map(round: &Round, mut map: impl FnMut(u64) -> u64) {
    let count = round.count as u64;
    let right = (0..count).map(square).fold(0, u64::wrapping_add);
    let warm = if round.work == "B2" { 0 } else { 1 };
    for _ in 0..warm {
        assert_eq!(map(count), right);
    }
    let begin = Instant::now();
    assert_eq!(map(count), right);
    figure(&round.work, count as f64 / begin.elapsed().as_secs_f64(), "/s");
}

/// C3, C4: the part of the workers' time that is used, if nothing is lost 1.
pub fn efficiency(round: &Round, mut map: impl FnMut(Vec<u64>)) {
    let naps = naps(round);
    map(vec![1; WORKERS]);
    let (sum, longest) = (naps.iter().sum::<u64>(), naps.iter().max().copied().unwrap_or(0));
    let ideal = (sum as f64 / WORKERS as f64).max(longest as f64);
    let begin = Instant::now();
    map(naps);
    figure(&round.work, ideal / (begin.elapsed().as_secs_f64() * 1e3), "");
}
