//! One round of one work: what the driver asks a peer for, and how the peer answers.

use serde::{Deserialize, Serialize};

use crate::message;

/// What a peer is to do: its arguments.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Round {
    /// The name of the work: `A1`.
    pub work: String,
    /// Which of the peer's ways to do it.
    pub variant: String,
    /// How many times: starts, tasks, round trips or messages. In G2 and G4: milliseconds.
    pub count: usize,
}

impl Round {
    /// The round that the program's arguments ask for.
    ///
    /// # Panics
    /// If there are fewer than three, or the third is no number.
    pub fn from_args() -> Self {
        let mut args = std::env::args().skip(1);
        let mut next = || args.next().expect("usage: PEER WORK VARIANT COUNT");
        let (work, variant) = (next(), next());
        Self { work, variant, count: next().parse().expect("COUNT is no number") }
    }

    /// How long the messages of this work are, if it is one of those that send one way, or how
    /// long the items.
    ///
    /// # Panics
    /// If it is not.
    pub fn message_len(&self) -> usize {
        match self.work.trim_end_matches('b') {
            "F1" | "F2" | "F3" | "F8" | "F9" | "F10" | "F11" => size_of::<u64>(),
            "E5" | "F4" => message::SAMPLE_LEN,
            "E6" | "F5" => 1 << 10,
            "E7" | "F6" => 64 << 10,
            "E8" | "F7" => 1 << 20,
            "E9" => 64 << 20,
            other => panic!("{other} sends no messages"),
        }
    }

    /// How many round trips in all: a tenth goes before, unmeasured.
    pub fn trips(&self) -> usize {
        self.count + self.count / 10
    }

    /// How many messages to warm up with, and how many to measure with. The receiver acknowledges
    /// each part.
    pub fn parts(&self) -> [usize; 2] {
        [self.count / 8 + 1, self.count]
    }
}

/// Prints one figure.
pub fn figure(name: &str, value: f64, unit: &str) {
    println!("{name} {value} {unit}");
}
