use std::cell::Cell;
use std::sync::atomic::AtomicU32;

use offspring::process;
use offspring::shm::{SharedMut, SharedSlice};

// A store to sealed memory would end the process.
#[process]
fn receive(_numbers: SharedSlice<AtomicU32>) {}

fn main() {
    let _made = SharedSlice::try_from_iter([AtomicU32::new(0)]);
    let _copied = SharedSlice::from_slice(&[Cell::new(0)]);
    let _frozen = SharedMut::try_from_iter([AtomicU32::new(0)]).unwrap().freeze();
}
