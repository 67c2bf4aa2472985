//! The thin layer over the kernel: one file per facility, one function per thing asked of it.
//!
//! Nearly all of the crate's `unsafe` is in here. Every function gives or takes [`OwnedFd`] and
//! [`BorrowedFd`], creates descriptors close-on-exec, and starts again when a signal interrupts it.
//!
//! [`OwnedFd`]: std::os::fd::OwnedFd
//! [`BorrowedFd`]: std::os::fd::BorrowedFd

#![allow(unsafe_code)]

pub(crate) mod auxv;
pub(crate) mod clock;
pub(crate) mod clone;
pub(crate) mod copies;
pub(crate) mod event;
pub(crate) mod exec;
pub(crate) mod exit;
pub(crate) mod fd;
pub(crate) mod futex;
pub(crate) mod identity;
pub(crate) mod image;
pub(crate) mod lifeline;
pub(crate) mod limits;
pub(crate) mod mapping;
pub(crate) mod memfd;
pub(crate) mod memory;
pub(crate) mod pidfd;
pub(crate) mod poll;
pub(crate) mod robust;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod stack;
pub(crate) mod startup;
pub(crate) mod threads;
pub(crate) mod ticks;
