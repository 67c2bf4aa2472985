//! What goes through the queue: it tells who made it, and whether it is whole.

use std::cell::RefCell;
use std::fmt;

use offspring::shm::Shared;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are copied at once, and not one after the other.
#[derive(PartialEq, Eq)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    /// A part of a long run of bytes, that which belongs to a number.
    fn new(len: usize, number: u64) -> Self {
        /// A prime number: so no two parts begin alike that are not the same.
        const PERIOD: usize = 65_521;
        thread_local! {
            static ALL: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let from = (number % PERIOD as u64) as usize;
        ALL.with_borrow_mut(|all| {
            if all.is_empty() {
                let mut random = 0x2545_f491_4f6c_dd1d_u64;
                all.resize_with(PERIOD, || {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    random as u8
                });
            }
            while all.len() < from + len {
                all.extend_from_within(..);
            }
            Self(all[from..from + len].to_vec())
        })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;

        impl Visitor<'_> for Whole {
            type Value = Body;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Body, E> {
                Ok(Body(bytes.to_vec()))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Body, E> {
                Ok(Body(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Whole)
    }
}

/// One producer's item of one number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) producer: u64,
    pub(crate) number: u64,
    body: Body,
    handle: Option<Shared<[u64; 2]>>,
}

impl Item {
    pub(crate) fn new(producer: u64, number: u64, len: usize, with_handle: bool) -> Self {
        let handle = with_handle.then(|| Shared::new([producer, number]).unwrap());
        Self { producer, number, body: Body::new(len, producer ^ number << 20), handle }
    }

    /// One as they come in a storm: mostly small.
    pub(crate) fn of_storm(producer: u64, number: u64) -> Self {
        let turn = number + producer * 397;
        let len = match turn {
            _ if turn.is_multiple_of(1000) => 3 << 19,
            _ if turn.is_multiple_of(500) => 100 << 10,
            _ if turn.is_multiple_of(50) => 2 << 10,
            _ => turn as usize % 64,
        };
        Self::new(producer, number, len, turn.is_multiple_of(700))
    }

    /// Fails if it is not what was put.
    pub(crate) fn check(&self) {
        let expected = Body::new(self.body.0.len(), self.producer ^ self.number << 20);
        assert!(self.body == expected, "torn: {self:?}");
        if let Some(handle) = &self.handle {
            assert_eq!(**handle, [self.producer, self.number], "another's handle");
        }
    }

    /// As [`check`](Self::check), for one of a storm.
    pub(crate) fn check_of_storm(&self) {
        self.check();
        let Self { producer, number, body, handle } = Self::of_storm(self.producer, self.number);
        assert!(
            body == self.body && handle.is_some() == self.handle.is_some(),
            "{producer}: {number}"
        );
    }
}
