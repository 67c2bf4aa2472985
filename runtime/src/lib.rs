//! Multiprocessing for Rust on Linux: work that runs in another process, with typed results, pipes,
//! queues, shared memory and locks, and a parent that survives whatever becomes of it.
//!
//! `#[process]` on a function makes a call of it *describe* work. [`spawn`](Process::spawn) does
//! the work in a child process, `run` does it here.
//!
//! ```
//! use offspring::{JoinError, process};
//!
//! #[process]
//! fn parse(input: String) -> usize {
//!     if input == "trap" {
//!         std::process::abort(); // as a bug in a C library would
//!     }
//!     input.len()
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let good = parse("some text".into()).spawn()?;
//! let bad = parse("trap".into()).spawn()?;
//!
//! assert_eq!(good.join()?, 9);
//! match bad.join() {
//!     Err(JoinError::Exited(exit)) => println!("{exit}"), // ... was killed by signal 6 (SIGABRT)
//!     other => panic!("{other:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The one idea
//!
//! **A process is a value that describes work.** Like a future it does nothing until it is started.
//! A struct that implements [`Process`] is that value written out by hand; a function with
//! `#[process]` is shorthand for such a struct, whose fields are the arguments. What travels to the
//! child is the process's registered name and its serialised fields, never an address, so a child
//! can only do what the program declares.
//!
//! # What is in here
//!
//! | to | use | in Python |
//! |---|---|---|
//! | declare a process | [`#[process]`](macro@process), [`Process`] | `Process(target=..)`, a subclass with `run` |
//! | start one | `work(..).spawn()`, [`spawn`], [`Builder`] | `start()` |
//! | watch and end it | [`Child`], [`ChildHandle`], [`active_children`] | `is_alive`, `join`, `terminate`, `kill`, `exitcode` |
//! | learn what came of it | [`Child::join`], [`JoinError`] | (only the exit code) |
//! | choose how it is made | [`StartMethod`], [`set_start_method`] | `set_start_method`, `get_context` |
//! | know who one is | [`current`], [`parent`], [`cpu_count`] | `current_process`, `parent_process`, `cpu_count` |
//! | talk | [`pipe()`], [`duplex`], [`Sender`], [`Receiver`], [`Duplex`] | `Pipe` |
//! | hand out work, collect results | [`Queue`] | `Queue`, `JoinableQueue`, `SimpleQueue` |
//! | map over all cores | [`Pool`], [`Job`], [`TaskError`] | `Pool`, `ProcessPoolExecutor` |
//! | send files and sockets | [`Fd`] | `reduction.DupFd`, picklable sockets |
//! | share memory | [`shm`]: [`Shared`](shm::Shared), [`SharedSlice`](shm::SharedSlice), [`SharedMut`](shm::SharedMut) | `Value`, `Array`, `shared_memory` |
//! | lock, wait, count | [`sync`]: [`Mutex`](sync::Mutex), [`Condvar`](sync::Condvar), [`Semaphore`](sync::Semaphore), [`Event`](sync::Event), [`Barrier`](sync::Barrier) and more | `Lock`, `Condition`, `Semaphore`, `Event`, `Barrier` |
//! | wait for several things | [`wait()`], [`wait_timeout`] | `connection.wait`, `sentinel` |
//! | test what may crash or hang | [`#[offspring::test]`](macro@test) | |
//!
//! # The guide
//!
//! How to work with all this is told in chapters, in the [`guide`]: for those who
//! [come from Python](guide::coming_from_python) or [from threads](guide::coming_from_threads), on
//! [sharing memory](guide::sharing_memory), [how a child comes to be](guide::how_a_child_comes_to_be),
//! [what happens on death](guide::when_a_process_dies), [tuning](guide::tuning),
//! [testing](guide::testing) and [debugging](guide::debugging).
//!
//! # What it promises
//!
//! - **A child that dies is an error of its own, at once**: [`JoinError`] tells a panic (with its
//!   message, place and backtrace) from a signal, from an exit, and names the process and its pid.
//! - **An error says it all in one text**: who, what, and the system's answer. So `source()` does not say it
//!   again, and what prints the whole chain prints nothing twice. Errors serialise, so that a child can return
//!   them.
//! - **No child outlives its parent by accident.** When `main` returns or `exit` is called, children
//!   are waited for, and daemons ended. When the parent dies in any other way, `kill -9` included,
//!   the kernel kills its children, and theirs, in the same moment. What shall live on is
//!   [detached](Builder::detached) on purpose. (A child that replaces itself by `exec`, closes
//!   descriptors that are not its own, or changes its user within a user namespace gives this up; and a copy that the parent makes of itself by
//!   a `fork` of its own counts as the parent, as long as it does not `exec`.)
//! - **No signal hits the wrong process**: everything goes by pidfd, never by number.
//! - **A message arrives whole or not at all**, whoever is killed while sending or receiving.
//! - **Nobody waits for the dead**: a lock whose holder was killed is there at once, and says who it
//!   was; its permits come back; whoever waits at a barrier is told ([`sync`]). A queue loses at most
//!   the item in the hands of the killed, and says when nobody is left; a pool, the task.
//! - **Nothing leaks**: no names in any file system, no descriptor in a child that it was not given,
//!   no zombies, no helper threads, but for one of each [`Pool`]. One helper process, the [fork server](StartMethod::ForkServer),
//!   ends with its owner.
//! - **Threads do no harm**: by default nothing is forked that has any.
//!
//! # What it needs
//!
//! - Linux 5.4 or newer; for the fork server, a kernel built with `CONFIG_CHECKPOINT_RESTORE`, as
//!   those of the distributions are (elsewhere, use [`StartMethod::Spawn`]). x86-64, AArch64, RISC-V.
//!   With glibc, nothing needs to be done in `main`; with musl, call [`init`] there.
//! - The program itself must be linked with this crate: in a shared object that another program
//!   loads (a plugin, a Python extension), starting a process is
//!   [refused](Error::NotTheProgram).
//! - A crate that is only in `Cargo.toml`, and that no code names, is not linked, and its processes
//!   do not exist: write `use that_crate as _;`.
//! - Arguments and results must serialise by serde in a form that is not self-describing (bincode):
//!   `#[serde(flatten)]`, `#[serde(untagged)]`, `#[serde(tag)]`, a field left out by
//!   `#[serde(skip_serializing_if)]`, and `serde_json::Value` fail with an error.
//!
//! # Cargo features
//!
//! None is on by default.
//!
//! - `progress`: a pool shows how far a map has come (`Mapper::progress`), with a bar of the crate
//!   `indicatif`.
//! - `manual-init`: nothing runs before `main`, which calls [`init`] first thing. It is for *programs*
//!   whose initialisers are not to be relied on; a library must never ask for it. Cargo builds this crate
//!   once for the whole program, with all that anybody in it asks for: every program above such a library
//!   would fail to start processes ([`Error::NotInitialized`]) until its own `main` calls `init`, and
//!   [`#[offspring::test]`](macro@test) could not be used in any.
//!
//! # How it differs from `fork`
//!
//! A child does not begin as a copy of its parent (unless that is [asked for](StartMethod::Fork)).
//! It has the parent's arguments, environment, working directory, standard streams, user and group
//! as they are when it is started; the values it was given; and statics as they are before `main`.
//! It never runs `main`. All children of one fork server share their memory layout and the stack
//! protector's value, as forked processes do: use [`StartMethod::Spawn`] where a child that is taken
//! over must not know its siblings'.

#![deny(unsafe_code)]

mod error;
pub mod guide;
mod launch;
pub mod pipe;
pub mod pool;
mod process;
pub mod queue;
mod ring;
pub mod shm;
pub mod sync;
mod sys;
mod testing;
mod wait;
mod wire;

pub use error::{Error, Result};
pub use launch::{ParseStartMethodError, StartMethod, end_fork_server};
pub use offspring_macros::{Process, process, test};
pub use pipe::{Duplex, Receiver, Sender, duplex, pipe};
pub use pool::{Job, Pool, PoolBuilder, TaskError, as_completed, wait_any, wait_any_timeout};
pub use process::{
    Builder, Child, ChildFailure, ChildHandle, CurrentProcess, Exit, JoinError, JoinOutput, Panic,
    ParentProcess, Process, Stdio, active_children, cpu_count, current, init, parent,
    set_start_method, spawn, start_method,
};
pub use queue::Queue;
pub use wait::{Waitable, wait, wait_timeout};
pub use wire::{DecodeError, EncodeError, Fd};

/// What the macro's output refers to. Not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
    pub use serde;

    pub use crate::process::registry::{Entry, Registered, Registration};

    /// What `#[offspring::test]` needs, and this project's own tests.
    pub mod testing {
        pub use crate::testing::{Test, family, passes};
    }
}

/// The README's programs, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
