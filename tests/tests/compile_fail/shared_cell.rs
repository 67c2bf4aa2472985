use std::cell::Cell;

use offspring::process;
use offspring::shm::Shared;

// Threads would change it at once.
#[process]
fn receive(_number: Shared<Cell<u32>>) {}

fn main() {
    let _made = Shared::new(Cell::new(0));
    let _many = Shared::from_fn(3, Cell::new);
}
