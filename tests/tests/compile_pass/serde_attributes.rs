//! What serde offers for a field can be said of an argument, and of a type's own fields.
#![deny(warnings)]
use std::time::Instant;

use offspring::{Process, process};

mod now {
    use std::time::Instant;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(_: &Instant, to: S) -> Result<S::Ok, S::Error> {
        ().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Instant, D::Error> {
        <()>::deserialize(from).map(|()| Instant::now())
    }
}

#[process]
fn elapsed(
    #[serde(with = "now")] start: Instant,
    /// Left behind: the other process gets the default.
    #[serde(skip)]
    label: String,
    #[cfg_attr(all(), serde(rename = "else"))] other: u8,
) -> (bool, String, u8) {
    (start.elapsed().as_secs() < 3600, label, other)
}

#[process]
#[derive(Debug, Clone)]
#[serde(rename_all = "camelCase")]
struct Task {
    #[serde(with = "now")]
    start: Instant,
    #[serde(skip)]
    callback: Option<fn()>,
    #[cfg(any())]
    left_out: Missing,
}

impl Process for Task {
    type Output = bool;

    fn run(self) -> bool {
        self.callback.is_none() && self.start.elapsed().as_secs() < 3600
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let child = elapsed(Instant::now(), "label".into(), 7).spawn()?;
    assert_eq!(child.join()?, (true, String::new(), 7));
    assert!(Task { start: Instant::now(), callback: Some(|| ()) }.clone().spawn()?.join()?);
    Ok(())
}
