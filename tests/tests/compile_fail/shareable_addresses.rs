use std::any::Any;
use std::ptr::NonNull;
use std::sync::atomic::{self, AtomicPtr};

use offspring::shm::Shareable;

#[derive(Shareable)]
struct Node {
    next: *const Node,
    previous: *mut Node,
    start: NonNull<Node>,
    end: atomic::AtomicPtr<u8>,
    root: AtomicPtr<Node>,
    visit: fn(&Node) -> bool,
    visits: [Option<extern "C" fn()>; 2],
    callbacks: [unsafe extern "C" fn(); 2],
}

#[derive(Shareable)]
struct Tail {
    len: u32,
    rest: dyn Any + Send,
}

fn main() {}
