//! Queues: Python's `_TestQueue` and `TestSimpleQueue`; what Go's tests of channels and those of
//! crossbeam-channel ask that also makes sense between processes; and what is ours alone.

#[path = "queues/batches.rs"]
mod batches;
#[path = "queues/closing.rs"]
mod closing;
#[path = "queues/company.rs"]
mod company;
#[path = "queues/handles.rs"]
mod handles;
#[path = "queues/joining.rs"]
mod joining;
#[path = "queues/order.rs"]
mod order;
#[path = "queues/python.rs"]
mod python;
#[path = "queues/sizes.rs"]
mod sizes;
#[path = "queues/states.rs"]
mod states;
#[path = "queues/stress.rs"]
mod stress;
#[path = "queues/waiting.rs"]
mod waiting;

use std::error::Error;
use std::time::Duration;

use offspring::{Queue, Receiver, Sender, process};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longer than the watchdog waits.
const LONG: Duration = Duration::from_secs(600);
/// So long that whoever is told of something within it was told of it.
const AMPLE: Duration = Duration::from_secs(60);
/// Longer than those who sleep sleep between two looks.
const LOOKS: Duration = Duration::from_millis(600);
const SHORT: Duration = Duration::from_millis(50);

type Outcome = Result<(), Box<dyn Error>>;

/// Has the queue until the case lets go of it.
#[process]
fn keep(queue: Queue<u64>, has_it: Sender<()>, until: Receiver<()>) {
    has_it.send(()).unwrap();
    let _ = until.recv();
    drop(queue);
}

/// What goes wrong when it is put, or when it is got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Good(u64),
    NotEncoded,
    NotDecoded,
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Good(number) => Some(*number).serialize(serializer),
            Self::NotDecoded => None::<u64>.serialize(serializer),
            Self::NotEncoded => Err(S::Error::custom("it does not want to leave")),
        }
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Option::<u64>::deserialize(deserializer)?;
        number.map(Self::Good).ok_or_else(|| D::Error::custom("it does not want to come"))
    }
}
