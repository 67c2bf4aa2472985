//! The queue: any number of processes put items into it, and any number get them out.
//!
//! - [`handle`]: [`Queue`], typed
//! - [`errors`]: what can go wrong with each operation, and what it gives back
//! - [`core`]: a queue of bytes: waiting, waking, and what goes beside the ring
//! - [`ring`]: records in shared memory, and how one comes and goes by a single store
//! - [`store`]: the memory of the ring, which grows and shrinks
//! - [`presence`]: whether anybody else has the queue
//!
//! How it works, and what happens when a process is killed at each step: `README.md`.

mod core;
mod errors;
mod handle;
mod presence;
mod ring;
mod store;
#[cfg(test)]
mod tests;

pub use errors::{
    GetError, GetManyError, GetTimeoutError, PutError, PutManyError, PutTimeoutError,
    QueueJoinError, TooManyDone, TryGetError, TryPutError,
};
pub use handle::{Iter, Queue};

pub(crate) use core::LOOK_AGAIN;
