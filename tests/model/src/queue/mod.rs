//! A queue, whose waiting is the library's own. Its items are numbers that count.

pub(crate) mod core;

include!(concat!(env!("OUT_DIR"), "/library/queue.rs"));
