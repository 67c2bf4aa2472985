//! Arrays that are written in place, without a lock, in parts that go from process to process:
//! what the docs of [`SharedMut`] and [`Split`] promise. Python has no such thing.

#[path = "shared_mut/copies.rs"]
mod copies;
#[path = "shared_mut/deaths.rs"]
mod deaths;
#[path = "shared_mut/frozen.rs"]
mod frozen;
#[path = "shared_mut/joining.rs"]
mod joining;
#[path = "shared_mut/leftovers.rs"]
mod leftovers;
#[path = "shared_mut/moved.rs"]
mod moved;
#[path = "shared_mut/parts.rs"]
mod parts;
#[path = "shared_mut/processes.rs"]
mod processes;
#[path = "shared_mut/sending.rs"]
mod sending;

use std::error::Error as StdError;
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use offspring::shm::{SharedMut, Split};
use offspring::{Receiver, Sender, process};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

type Array = SharedMut<u32>;

/// The numbers from 0.
fn numbers(len: u32) -> Array {
    SharedMut::try_from_iter(0..len).unwrap()
}

fn ranges(parts: &[Array]) -> Vec<Range<usize>> {
    parts.iter().map(SharedMut::range).collect()
}

/// Whether each part holds the numbers of its range.
fn hold_their_numbers(parts: &mut [Array]) -> bool {
    parts.iter_mut().all(|part| {
        let range = part.range();
        part.len() == range.len() && part.as_mut_slice().iter().map(|n| *n as usize).eq(range)
    })
}

/// The text of the panic that `code` ends in.
fn panic_of<R>(code: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(code)).err().expect("a panic");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => (*other.downcast::<&str>().expect("a text")).to_owned(),
    }
}

const SENT: &str = "this part of an array was sent to another process";
const COPIED: &str = "this part of an array belongs to the process that this one is a copy of";

#[process]
fn add(mut part: Array, what: u32) {
    part.as_mut_slice().iter_mut().for_each(|number| *number += what);
}

#[process]
fn add_and_return(mut part: Array, what: u32) -> Array {
    part.as_mut_slice().iter_mut().for_each(|number| *number += what);
    part
}

/// Splits what it has among children of its own, and returns what it has then.
#[process]
fn have_added(part: Array, what: u32, children: usize) -> Array {
    let (parts, whole) = part.split(children).unwrap();
    let children: Vec<_> = parts.into_iter().map(|part| add(part, what).spawn().unwrap()).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    whole.join()
}

/// Works on all that comes, and sends it back.
#[process]
fn serve(parts: Receiver<Array>, back: Sender<Array>) {
    for mut part in &parts {
        part.as_mut_slice().iter_mut().for_each(|number| *number += 1);
        back.send(part).unwrap();
    }
}

/// Has it until the case lets go, or fails.
#[process]
fn hold(part: Array, started: Sender<()>, until: Receiver<()>) {
    started.send(()).unwrap();
    let _ = until.recv();
    drop(part);
    thread::park(); // this process is not what is waited for
}

/// What this process has of shared memory: descriptors, mappings.
fn counts() -> (usize, usize) {
    let open = tests::descriptors();
    let open = open.iter().filter(|(_, to)| to.contains("memfd:offspring-shared")).count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    (open, maps.lines().filter(|line| line.contains("memfd:offspring-shared")).count())
}

#[process]
fn count_own_mappings() -> usize {
    counts().1
}

/// Two owners of one part, which safe code can have: one is serialised, the other stays.
#[derive(Debug, Clone)]
struct Kept(Arc<Array>);

impl Kept {
    fn new(part: Array) -> Self {
        Self(Arc::new(part))
    }

    /// The part, to be used, when all other owners are gone.
    fn values(&mut self) -> &mut [u32] {
        Arc::get_mut(&mut self.0).expect("the only one").as_mut_slice()
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Array::deserialize(deserializer).map(Self::new)
    }
}

#[process]
fn take(part: Array) -> usize {
    part.len()
}

#[process]
fn take_kept(kept: Kept) -> usize {
    kept.0.len()
}

#[process]
fn take_both(one: Kept, other: Kept) -> usize {
    one.0.len() + other.0.len()
}

/// It can be used, sent, and joined, as if nothing had been.
fn is_as_before(mut part: Array, whole: Split<u32>) -> Result<(), Box<dyn StdError>> {
    assert!(hold_their_numbers(std::slice::from_mut(&mut part)));
    let part = add_and_return(part, 0).spawn()?.join()?;
    let whole = whole.join_timeout(Duration::ZERO).unwrap_err();
    drop(part);
    assert!(hold_their_numbers(&mut [whole.join()]));
    Ok(())
}

/// A part, and what to join it to.
fn part() -> (Array, Split<u32>) {
    let (mut parts, whole) = numbers(10).split(2).unwrap();
    (parts.pop().unwrap(), whole)
}

/// A copy that lives until the case lets go of it, or fails.
#[process]
fn parked(until: Receiver<()>) {
    let _ = until.recv();
}
