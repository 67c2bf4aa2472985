//! What the peers send to one another.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// E1: 24 bytes, there and back.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Ping {
    /// Which trip this is.
    pub number: u64,
    /// Some load.
    pub place: [f64; 2],
}

/// The length of a [`Ping`].
pub const PING_LEN: usize = size_of::<Ping>();

impl Ping {
    /// One to start with.
    pub const FIRST: Self = Self { number: 1, place: [1.0, 2.0] };
}

/// E5: 64 bytes, a plain struct.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sample {
    seen: u64,
    time: u64,
    values: [f64; 6],
}

/// The length of a [`Sample`].
pub const SAMPLE_LEN: usize = size_of::<Sample>();

impl Sample {
    /// One that counts as seen once.
    pub const ONE: Self = Self { seen: 1, time: 2, values: [0.5; 6] };

    /// What a receiver sees of it.
    pub fn look(&self) -> u64 {
        self.seen
    }
}

/// E6 to E9 as values: serialises as a `Vec<u8>` does, but can be sent again and again without a
/// clone of it. What is received is a `Vec<u8>`.
pub type Block = Cow<'static, [u8]>;

/// Bytes to send, for the rest of the program's life.
pub fn bytes(len: usize) -> &'static [u8] {
    vec![1; len].leak()
}

const PAGE: usize = 4096;

/// How many pages a message has.
pub fn pages(len: usize) -> usize {
    len.div_ceil(PAGE)
}

/// Looks at each page of a message.
pub fn look(bytes: &[u8]) -> u64 {
    bytes.iter().step_by(PAGE).map(|&byte| u64::from(std::hint::black_box(byte))).sum()
}
