//! What all peers share: how a work is asked for, how it is measured, what its messages are.
//!
//! A peer is a program of its own. The driver runs it as `PEER WORK VARIANT COUNT`; it does that
//! work once and prints what it measured, one `name value unit` a line.
//!
//! - [`round`]: the arguments, and the figures printed
//! - [`measure`]: the loops around what each peer does in its own way
//! - [`message`]: what is sent
//! - [`memory`]: what a process occupies
//! - [`locks`]: the loops around locks
//! - [`queues`]: the loops around queues
//! - [`pools`]: the loops around pools
//! - [`sums`]: the large slice, and the loop around handing it over

pub mod locks;
pub mod measure;
pub mod memory;
pub mod message;
pub mod pools;
pub mod queues;
pub mod round;
pub mod sums;

pub use message::{Block, Bytes, Ping, Sample};
pub use round::{Round, figure};
