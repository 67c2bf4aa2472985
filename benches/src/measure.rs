//! The loops around what each peer does in its own way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::{Round, figure, message};

/// The most processes at once in B1.
const AT_ONCE: usize = 3;

/// A1, A1s, A2, B1: starts processes and waits until each has ended and its result is here.
pub fn starts<H>(round: &Round, mut start: impl FnMut() -> H, mut join: impl FnMut(H)) {
    let work = round.work.as_str();
    let _ballast = (work == "A2").then(ballast);
    for _ in 0..5 {
        join(start());
    }
    if work == "B1" {
        let mut running = VecDeque::with_capacity(AT_ONCE);
        let begin = Instant::now();
        for _ in 0..round.count {
            if running.len() == AT_ONCE {
                running.pop_front().into_iter().for_each(&mut join);
            }
            running.push_back(start());
        }
        running.into_iter().for_each(join);
        figure(work, round.count as f64 / begin.elapsed().as_secs_f64(), "/s");
        return;
    }
    let once = || {
        if work == "A1s" {
            std::thread::sleep(Duration::from_millis(1));
        }
        let begin = Instant::now();
        join(start());
        begin.elapsed()
    };
    figure(work, median(std::iter::repeat_with(once).take(round.count).collect()), "us");
}

/// 1 GiB that has been written to.
fn ballast() -> Vec<u8> {
    std::hint::black_box(vec![1; 1 << 30])
}

/// E1, E2, F9, F10, S, D: round trips; as many as [`Round::trips`].
pub fn round_trips(round: &Round, mut trip: impl FnMut()) {
    for _ in round.count..round.trips() {
        trip();
    }
    let once = || {
        if ["F9", "D3"].contains(&round.work.as_str()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let begin = Instant::now();
        trip();
        begin.elapsed()
    };
    let [p50, p99] = percentiles(std::iter::repeat_with(once).take(round.count).collect());
    figure(&round.work, p50, "us");
    figure("p99", p99, "us");
}

/// M1: how long it takes to do this, once it has been done before.
pub fn repeated(round: &Round, mut operation: impl FnMut()) -> f64 {
    repeated_timed(round, || {
        let begin = Instant::now();
        operation();
        begin.elapsed()
    })
}

/// M2: the same for what measures a part of itself.
pub fn repeated_timed(round: &Round, mut operation: impl FnMut() -> Duration) -> f64 {
    for _ in round.count..round.trips() {
        operation();
    }
    median((0..round.count).map(|_| operation()).collect())
}

/// The median, in microseconds.
pub fn median(times: Vec<Duration>) -> f64 {
    percentiles(times)[0]
}

/// The median and the 99th percentile, in microseconds.
fn percentiles(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort();
    [50, 99].map(|percent| {
        let index = (times.len() * percent / 100).min(times.len() - 1);
        times[index].as_secs_f64() * 1e6
    })
}

/// E5 to E9, the sender: `send` sends one message, `acknowledged` waits until the receiver has
/// looked at all messages of a part and gives what it saw.
///
/// # Panics
/// If the receiver has not seen all of every message.
pub fn send_one_way(round: &Round, mut send: impl FnMut(), mut acknowledged: impl FnMut() -> u64) {
    let len = round.message_len();
    for (part, count) in round.parts().into_iter().enumerate() {
        let begin = Instant::now();
        for _ in 0..count {
            send();
        }
        let seen = acknowledged();
        let seconds = begin.elapsed().as_secs_f64();
        assert_eq!(seen, (count * message::pages(len)) as u64, "messages arrived otherwise");
        if part > 0 {
            rate(round, count, seconds);
        }
    }
}

/// Prints how many messages came by the second: how many bytes, if they are long.
pub(crate) fn rate(round: &Round, count: usize, seconds: f64) {
    match round.message_len() {
        ..=message::SAMPLE_LEN => figure(&round.work, count as f64 / seconds, "/s"),
        len => figure(&round.work, (count * len) as f64 / seconds / 1e9, "GB/s"),
    }
}

/// E5 to E9, the receiver: `receive` receives one message and gives what it saw of it.
pub fn receive_one_way(
    parts: [usize; 2],
    mut receive: impl FnMut() -> u64,
    mut acknowledge: impl FnMut(u64),
) {
    for count in parts {
        acknowledge((0..count).map(|_| receive()).sum());
    }
}
