//! What is at the start of every segment: what is in it, and which one it is.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

/// The header's room: what a segment holds begins here, or at the next place it is aligned to.
pub(crate) const HEADER: usize = 192;
/// What may be asked of the alignment of what is in a segment.
pub(crate) const MAX_ALIGN: usize = 4096;

const MAGIC: u64 = u64::from_ne_bytes(*b"offsprg1");
const PLACE_MAX: usize = 128;

/// Which segment it is, among all that any process of this machine makes: in the order in which
/// they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    made_at: u64,
    maker: u32,
    count: u32,
}

impl Id {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
            .expect("the monotonic clock");
        Self {
            made_at: now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64,
            maker: std::process::id(),
            count: COUNT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// As numbers, for a table in shared memory.
    pub(crate) fn to_words(self) -> [u64; 2] {
        [self.made_at, u64::from(self.maker) << 32 | u64::from(self.count)]
    }
}

/// As people are told of it: `#17 of process 4711`.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} of process {}", self.count, self.maker)
    }
}

/// What a segment is said to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contents {
    /// What kind of thing it is, and of which types: equal only within one build of a program.
    pub(crate) fingerprint: u64,
    /// How many elements, if it is a slice.
    pub(crate) len: usize,
}

/// What is at the start of every segment.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) contents: Contents,
    pub(super) id: Id,
    /// Where in the program it was made.
    pub(super) place: String,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let place = &self.place.as_bytes()[self.place.len().saturating_sub(PLACE_MAX)..];
        let words = [
            MAGIC,
            self.contents.fingerprint,
            self.contents.len as u64,
            self.id.made_at,
            self.id.to_words()[1],
            place.len() as u64,
        ];
        for (at, word) in bytes.chunks_exact_mut(8).zip(words) {
            at.copy_from_slice(&word.to_ne_bytes());
        }
        bytes[64..][..place.len()].copy_from_slice(place);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let mut words = bytes
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")));
        let mut word = || words.next().expect("a header's worth of words");
        if word() != MAGIC {
            return None;
        }
        let contents = Contents { fingerprint: word(), len: usize::try_from(word()).ok()? };
        let (made_at, maker) = (word(), word());
        let id = Id { made_at, maker: (maker >> 32) as u32, count: maker as u32 };
        let place = bytes[64..].get(..usize::try_from(word()).ok()?)?;
        Some(Self { contents, id, place: String::from_utf8_lossy(place).into_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_is_what_was_written(
            fingerprint: u64,
            len: usize,
            made_at: u64,
            maker: u32,
            count: u32,
            place in "[ -~]{0,300}",
        ) {
            let id = Id { made_at, maker, count };
            let contents = Contents { fingerprint, len };
            let header = Header { contents, id, place: place.clone() };
            let read = Header::decode(&header.encode()).unwrap();
            prop_assert_eq!((read.contents, read.id), (contents, id));
            // Of a long one, the end: there is the file's name.
            prop_assert!(place.ends_with(&read.place) && read.place.len() == place.len().min(128));
        }

        #[test]
        fn any_bytes_are_a_header_or_not(bytes: Vec<u8>, magic: bool) {
            let mut header = [0; HEADER];
            let len = bytes.len().min(HEADER);
            header[..len].copy_from_slice(&bytes[..len]);
            if magic {
                header[..8].copy_from_slice(&MAGIC.to_ne_bytes());
            }
            let _ = Header::decode(&header);
        }
    }

    #[test]
    fn ids_come_in_the_order_of_creation() {
        let ids: Vec<_> = (0..100).map(|_| Id::new()).collect();
        assert!(ids.is_sorted());
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
