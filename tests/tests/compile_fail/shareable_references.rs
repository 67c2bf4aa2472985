use std::sync::atomic::AtomicU32;

use offspring::shm::Shareable;

#[derive(Shareable)]
struct Job {
    name: &'static str,
    weights: &'static [f32],
    hits: (u8, &'static AtomicU32),
    rows: [&'static mut [u8; 4]; 2],
    id: u32,
}

#[derive(Shareable)]
struct Tuple(std::cell::Cell<&'static str>);

fn main() {}
