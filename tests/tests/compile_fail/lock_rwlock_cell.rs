use std::cell::Cell;

use offspring::process;
use offspring::sync::{Mutex, RwLock};

// Many read it at once, so it must not change by being read.
#[process]
fn receive(_number: RwLock<Cell<u32>>) {}

fn main() {
    let _made = RwLock::new(Cell::new(0));
    // One at a time may.
    let _one = Mutex::new(Cell::new(0));
}
