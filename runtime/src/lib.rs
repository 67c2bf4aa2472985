//! Multiprocessing for Rust on Linux.
#![deny(unsafe_code)]

mod error;
mod launch;
mod pipe;
mod process;
mod sys;
mod wait;
mod wire;

pub use error::{Error, Result};
pub use launch::StartMethod;
pub use offspring_macros::{Process, process};
pub use pipe::{
    Duplex, IntoIter, Iter, Receiver, RecvError, RecvIntoError, RecvTimeoutError, SendError,
    SendTimeoutError, Sender, TryRecvError, TrySendError, duplex, pipe,
};
pub use process::{
    Builder, Child, ChildHandle, Current, Exit, Failure, JoinError, Output, Panic, Parent, Process,
    Stdio, active_children, cpu_count, current, init, parent, set_start_method, spawn,
    start_method,
};
pub use wait::{Waitable, wait};
pub use wire::{DecodeError, EncodeError, Fd};

/// What the macro's output refers to. Not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
    pub use serde;

    pub use crate::process::registry::{Entry, Registered, Registration};
}
