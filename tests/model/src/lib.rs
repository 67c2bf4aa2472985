//! The locks of `offspring`, compiled from the library's own sources against a model of the kernel,
//! which tries orders of events and kills threads between any two steps. See `README.md`.

// What is compiled here is a part of the library, and the rest of it would use all of that.
#![allow(dead_code, unused_imports, unreachable_pub, clippy::all)]

#[macro_use]
mod local;

mod error;
mod kernel;
mod pool;
mod queue;
mod shm;
mod sys;
mod wire;

include!(concat!(env!("OUT_DIR"), "/library/room.rs"));

#[cfg(test)]
mod checks;
