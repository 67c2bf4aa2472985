//! The loops around locks: with nobody else there, and with two who want one.

use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::{Round, figure};

/// How often a side takes its turn between two looks at the clock.
const BATCH: u64 = 64;

/// G1, G3, G5, G6: takes and lets go, with nobody else there.
pub fn uncontended(round: &Round, name: &str, mut turn: impl FnMut()) {
    for _ in 0..round.count / 10 {
        turn();
    }
    let begin = Instant::now();
    for _ in 0..round.count {
        turn();
    }
    figure(name, begin.elapsed().as_secs_f64() / round.count as f64 * 1e9, "ns");
}

/// What one of two sides got.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Turns {
    /// How many turns, those of the warm-up included.
    pub all: u64,
    /// How many by the second, without the warm-up.
    pub rate: f64,
}

impl Turns {
    /// As bytes, for a pipe.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.all.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.rate.to_ne_bytes());
        bytes
    }

    /// From the bytes that came through a pipe.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let (all, rate) = bytes.split_at(8);
        let [all, rate] = [all, rate].map(|half| u64::from_ne_bytes(half.try_into().unwrap()));
        Self { all, rate: f64::from_bits(rate) }
    }
}

/// One of two who want the same lock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Side {
    /// The process that was started first.
    Here,
    /// The other one.
    There,
}

impl Side {
    /// Has the calling thread run on a core of its own: two on one core would take turns there, and
    /// hardly ever meet at the lock.
    fn take_core(self) {
        let this_thread = Pid::from_raw(0);
        let allowed = sched_getaffinity(this_thread).unwrap();
        let mut cores = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap());
        let Some(core) = cores.nth(self as usize) else { return };
        let mut own = CpuSet::new();
        own.set(core).unwrap();
        sched_setaffinity(this_thread, &own).unwrap();
    }
}

/// G2, G4, one side: takes and lets go as often as it can for as many milliseconds as the round
/// says, after a tenth of that to warm up. Both sides begin together, and neither stops before its
/// time is over: no turn that counts is without the other side.
pub fn contend(round: &Round, side: Side, mut turn: impl FnMut()) -> Turns {
    side.take_core();
    let mut turns_in = |time: Duration| {
        let begin = Instant::now();
        let mut turns = 0;
        loop {
            for _ in 0..BATCH {
                turn();
            }
            turns += BATCH;
            let elapsed = begin.elapsed();
            if elapsed >= time {
                return (turns, elapsed.as_secs_f64());
            }
        }
    };
    let time = Duration::from_millis(round.count as u64);
    let (before, _) = turns_in(time / 10);
    let (turns, seconds) = turns_in(time);
    Turns { all: before + turns, rate: turns as f64 / seconds }
}

/// G2, G4: prints what both sides got, and the smaller part of it.
pub fn contended(round: &Round, sides: [Turns; 2]) {
    let [one, other] = sides.map(|side| side.rate);
    figure(&round.work, one + other, "/s");
    figure("smaller", one.min(other) / (one + other) * 100.0, "%");
}
