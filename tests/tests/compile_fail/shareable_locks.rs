use std::cell::RefCell;
use std::sync::{Condvar, Mutex, RwLock};

use offspring::shm::Shareable;

#[derive(Shareable)]
struct Locks {
    mutex: Mutex<u64>,
    lock: RwLock<u64>,
    changed: Condvar,
    cell: RefCell<u64>,
}

fn main() {}
