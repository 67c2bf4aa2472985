use std::num::{NonZero, NonZeroU32};
use std::time::{Duration, Instant, SystemTime};

use offspring::shm::Shareable;

#[derive(Shareable)]
struct Values {
    option: Option<u32>,
    in_array: [std::option::Option<(u8, u16)>; 4],
    result: Result<u8, u16>,
    letter: char,
    letters: (char, [char; 2]),
    id: NonZero<u64>,
    old_id: NonZeroU32,
    cell: std::cell::Cell<Option<u8>>,
    duration: Duration,
    instant: Instant,
    time: SystemTime,
}

#[derive(Shareable)]
struct Text {
    len: u32,
    text: str,
}

fn main() {}
