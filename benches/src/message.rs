//! What the peers send to one another.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

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

    /// One that counts as not seen.
    pub const NONE: Self = Self { seen: 0, ..Self::ONE };

    /// What a receiver sees of it.
    pub fn look(&self) -> u64 {
        self.seen
    }
}

/// E6 to E9 as values: serialises as a `Vec<u8>` does, but can be sent again and again without a
/// clone of it. What is received is a `Vec<u8>`.
pub type Block = Cow<'static, [u8]>;

/// The same as plain bytes: they are copied at once, where a `Vec<u8>` goes byte by byte.
#[derive(Debug, Clone)]
pub struct Bytes(pub Block);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Copied;

        impl Visitor<'_> for Copied {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec().into()))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes.into()))
            }
        }

        deserializer.deserialize_bytes(Copied)
    }
}

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
