//! Zeros may be none of an enum's variants.
use offspring::shm::{Shareable, SharedMut, Zeroable};

#[derive(Shareable, Zeroable)]
#[repr(u8)]
enum Level {
    Low = 1,
    High,
}

#[derive(Zeroable)]
union Either {
    number: u32,
    bytes: [u8; 4],
}

fn main() {
    let _levels = SharedMut::<Level>::zeroed(3);
}
