//! Pools: Python's `_TestPool` and its kin, those of `test_concurrent_futures` that are about
//! processes, and what is ours alone.

#[path = "pools/callbacks.rs"]
mod callbacks;
#[path = "pools/cancelling.rs"]
mod cancelling;
#[path = "pools/chunks.rs"]
mod chunks;
#[path = "pools/closing.rs"]
mod closing;
#[path = "pools/company.rs"]
mod company;
#[path = "pools/completion.rs"]
mod completion;
#[path = "pools/crossings.rs"]
mod crossings;
#[path = "pools/errors.rs"]
mod errors;
#[path = "pools/handles.rs"]
mod handles;
#[path = "pools/imap.rs"]
mod imap;
#[path = "pools/jobs.rs"]
mod jobs;
#[path = "pools/lifetime.rs"]
mod lifetime;
#[path = "pools/map.rs"]
mod map;
#[path = "pools/sizes.rs"]
mod sizes;
#[path = "pools/stats.rs"]
mod stats;
#[path = "pools/workers.rs"]
mod workers;

use std::time::Duration;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longer than the watchdog waits.
const LONG: Duration = Duration::from_secs(600);
/// So long that whoever is told of something within it was told of it.
const AMPLE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

/// A value that may break on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fragile {
    Good(u64),
    NotEncoded,
    NotDecoded,
}

const WRONG: &str = "it is Tuesday";

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Good(number) => Some(*number).serialize(serializer),
            Self::NotDecoded => None::<u64>.serialize(serializer),
            Self::NotEncoded => Err(S::Error::custom(WRONG)),
        }
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Option::<u64>::deserialize(deserializer)?;
        number.map(Self::Good).ok_or_else(|| D::Error::custom(WRONG))
    }
}
