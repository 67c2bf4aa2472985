//! The loops around pools.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Round, figure, measure, memory, sums};

/// How many workers a pool has.
pub const WORKERS: usize = 2;

/// B2: how many workers there are, each for one task.
pub const FRESH: usize = 3;

/// What one of many trivial tasks gives.
pub fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// C3, C4: sleeps.
pub fn nap(millis: u64) -> u64 {
    thread::sleep(Duration::from_millis(millis));
    millis
}

/// C1, C2: for how long maps are measured, and how many at most.
const FOR: Duration = Duration::from_millis(300);
const AT_MOST: usize = 200;

/// C1, C2, B2: many trivial tasks; `map` gives the sum of what they give. C1 and C2, which may be
/// over in less than a millisecond, again and again: the median.
///
/// # Panics
/// If a sum is wrong.
pub fn map(round: &Round, mut map: impl FnMut(u64) -> u64) {
    let count = round.count as u64;
    let right = (0..count).map(square).fold(0, u64::wrapping_add);
    let mut once = || {
        let begin = Instant::now();
        assert_eq!(map(count), right);
        begin.elapsed()
    };
    let mut times = Vec::new();
    if round.work != "B2" {
        once();
    }
    let begin = Instant::now();
    loop {
        times.push(once());
        if round.work == "B2" || begin.elapsed() >= FOR || times.len() == AT_MOST {
            break;
        }
    }
    figure(&round.work, round.count as f64 / (measure::median(times) / 1e6), "/s");
}

/// C4: how long the one task takes that is not as short as the others, in milliseconds.
const LONG: u64 = 100;

/// C3, C4: how much of the workers' time is used; 1 if nothing is lost. `map` sleeps for so many
/// milliseconds in one task each.
pub fn efficiency(round: &Round, mut map: impl FnMut(Vec<u64>)) {
    map(vec![1; 2 * WORKERS]);
    let mut one = |name: &str, naps: Vec<u64>| {
        let (sum, longest) = naps.iter().fold((0, 0), |(sum, max), &nap| (sum + nap, nap.max(max)));
        let ideal = (sum as f64 / WORKERS as f64).max(longest as f64);
        let begin = Instant::now();
        map(naps);
        figure(name, ideal / (begin.elapsed().as_secs_f64() * 1e3), "");
    };
    if round.work == "C3" {
        return one("C3", vec![10; round.count]);
    }
    for (name, place) in [("first", 0), ("middle", round.count / 2), ("last", round.count)] {
        let mut naps = vec![1; round.count];
        naps.insert(place, LONG);
        one(name, naps);
    }
}

/// C6: what a worker gives away next.
static NUMBERS: Mutex<Vec<f64>> = Mutex::new(Vec::new());

/// C6: makes the numbers, in a worker, before the clock starts.
pub fn make_numbers() -> usize {
    let mut numbers = NUMBERS.lock().unwrap();
    *numbers = sums::numbers();
    numbers.len()
}

/// C6: gives them away.
pub fn take_numbers() -> Vec<f64> {
    std::mem::take(&mut *NUMBERS.lock().unwrap())
}

/// C5: numbers to a pool of one worker, and their sum back.
pub fn numbers_in(round: &Round, mut sum: impl FnMut(Vec<f64>) -> f64) {
    sums::hand_over(round, sums::numbers, |numbers| (sum(numbers), ()));
}

/// C6: numbers from such a pool, summed here. `make` and `take` have the worker do [`make_numbers`] and
/// [`take_numbers`].
pub fn numbers_out(
    round: &Round,
    mut make: impl FnMut() -> usize,
    mut take: impl FnMut() -> Vec<f64>,
) {
    let prepare = || assert_eq!(make(), sums::LEN);
    sums::hand_over(round, prepare, |()| {
        let numbers = take();
        (sums::sum(&numbers), numbers)
    });
}

/// Iw: what a worker occupies that has done a task and waits for the next.
pub fn idle(pid: u32) {
    thread::sleep(Duration::from_millis(20));
    memory::figures(pid);
}
