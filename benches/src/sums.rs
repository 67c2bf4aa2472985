//! H1, C5, C6: 100 MB of numbers to another process, and their sum back; or from it.

use std::thread;
use std::time::{Duration, Instant};

use crate::{Round, figure, measure};

/// How many numbers.
pub const LEN: usize = 12_500_000;

/// How long the machine rests before each time, to be done with freeing the last one's memory.
const REST: Duration = Duration::from_millis(20);

/// The number at this place. Sums of these are exact.
pub fn number(index: usize) -> f64 {
    (index % 8) as f64
}

/// All of them, in private memory.
pub fn numbers() -> Vec<f64> {
    (0..LEN).map(number).collect()
}

/// Their sum, as fast as one core can read them: a plain `sum` adds one after the other, and waits
/// for each.
pub fn sum(numbers: &[f64]) -> f64 {
    let (chunks, rest) = numbers.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, number)| *sum += number);
    }
    sums.iter().sum::<f64>() + rest.iter().sum::<f64>()
}

/// Hands over and gets the sum back, again and again, and prints the median. The clock runs for
/// `work`: not for `prepare` before it, nor while what it gives beside the sum is let go.
///
/// # Panics
/// If a sum is wrong.
pub fn hand_over<P, K>(
    round: &Round,
    mut prepare: impl FnMut() -> P,
    mut work: impl FnMut(P) -> (f64, K),
) {
    let right: f64 = (0..LEN).map(number).sum();
    let mut once = || {
        let prepared = prepare();
        thread::sleep(REST);
        let begin = Instant::now();
        let (sum, _kept) = work(prepared);
        let time = begin.elapsed();
        assert_eq!(sum, right);
        time
    };
    once();
    let times = (0..round.count).map(|_| once()).collect();
    figure(&round.work, measure::median(times) / 1e3, "ms");
}

/// Numbers as bytes, for those who send only these.
pub fn as_bytes(numbers: &[f64]) -> &[u8] {
    // SAFETY: they are as many bytes, all of them initialised, and borrowed for as long.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// Numbers as bytes, to be written over.
pub fn as_bytes_mut(numbers: &mut [f64]) -> &mut [u8] {
    // SAFETY: as above; and any bytes make numbers.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), size_of_val(numbers)) }
}

/// Bytes as the numbers that they are.
///
/// # Panics
/// If they do not lie as numbers lie.
pub fn from_bytes(bytes: &[u8]) -> &[f64] {
    // SAFETY: any bytes make numbers.
    let (before, numbers, after) = unsafe { bytes.align_to() };
    assert!(before.is_empty() && after.is_empty());
    numbers
}

/// Bytes as numbers, to be written.
///
/// # Panics
/// If they do not lie as numbers lie.
pub fn from_bytes_mut(bytes: &mut [u8]) -> &mut [f64] {
    // SAFETY: any bytes make numbers, and any numbers bytes.
    let (before, numbers, after) = unsafe { bytes.align_to_mut() };
    assert!(before.is_empty() && after.is_empty());
    numbers
}
