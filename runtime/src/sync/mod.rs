//! Locks between processes, and between threads: what `std::sync` has, and safe when the holder is
//! killed.
//!
//! | to | use | in Python |
//! |---|---|---|
//! | let one at a time use a value | [`Mutex`] | `Lock`, `Value` |
//! | the same, with the holder free to lock again | [`ReentrantLock`] | `RLock` |
//! | let many read or one write | [`RwLock`] | – |
//! | take several without a deadlock | [`lock_all`] | – |
//! | be told of a deadlock | [`DeadlockDetector`] | – |
//! | limit how many do something at once | [`Semaphore`] | `Semaphore`, `BoundedSemaphore` |
//! | wait for a change of what a mutex protects | [`Condvar`] | `Condition` |
//! | wait for something to have happened | [`Event`] | `Event` |
//! | wait for each other | [`Barrier`] | `Barrier` |
//! | do something once | [`Once`], [`OnceLock`] | – |
//!
//! Each of them is a handle, like an `Arc`: a clone is another handle to the same lock, and so is what
//! arrives when it is sent to another process, as an argument, a result, or through a pipe. What they
//! protect lies in [shared memory](crate::shm), and so is plain data.
//!
//! # When a process dies
//!
//! A process can be killed between any two instructions, and nobody else hangs for it:
//!
//! | killed, or exits, or a thread of it ends, while it | the others |
//! |---|---|
//! | holds a [`Mutex`], a [`ReentrantLock`], or writes under a [`RwLock`] | get the lock at once, [poisoned](PoisonError), with the name of the process |
//! | reads under a [`RwLock`] | notice nothing |
//! | holds permits of a [`Semaphore`] | get these |
//! | waits for any of them | notice nothing |
//! | waits for a [`Condvar`], notified or not | notice nothing; a notification that it could not act upon goes to another |
//! | waits at a [`Barrier`] | are told that it [died](BarrierError::WaiterDied) |
//! | runs what is to run [`Once`] | are told ([`Once`], those who only wait as well), or run it in its place ([`OnceLock`]; who only waits goes on waiting) |
//! | is in the middle of setting, notifying, releasing | find it done, or not done |
//!
//! This rests on the kernel, which keeps a list of the locks that each thread holds (robust futexes).
//!
//! # Rules
//!
//! - Hand the lock to the process that is to use it, as an argument. A `static` lock is another one in
//!   each process.
//! - A guard belongs to the thread that locked, and cannot be moved to another.
//! - What `lock` gives as an error has the guard in it, as std's has, and so borrows the lock: `?` does not
//!   carry it out of the function that owns the handle. Match on it, or `unwrap`: who was killed with
//!   the lock is in the panic's message.
//! - Waits with a timeout go by the monotonic clock; setting the clock changes nothing.
//! - Locks can be used in destructors, while a thread unwinds, and in exit handlers; in signal handlers
//!   only [`Event`], as it says.
//! - A thread can hold 2,000 locks and permits at a time.
//! - Processes that share a lock are in one pid namespace, as all children are that have not left it on
//!   their own.
//!
//! ```
//! use offspring::{process, sync::{LockError, Mutex}};
//!
//! #[process]
//! fn half_done(value: Mutex<u32>) {
//!     *value.lock().unwrap() = 1;
//!     let _held = value.lock();
//!     std::process::abort(); // or kill -9
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let value = Mutex::new(0)?;
//! let child = half_done(value.clone()).spawn()?;
//! let pid = child.pid();
//! child.wait()?;
//! match value.lock() {
//!     Err(LockError::Poisoned(poisoned)) => {
//!         assert_eq!(poisoned.holder().pid(), pid);
//!         assert_eq!(**poisoned.get_ref(), 1);
//!     }
//!     other => panic!("{other:?}"),
//! }
//! value.clear_poison();
//! # Ok(())
//! # }
//! ```
//!
//! How it works is told in the [repository](https://github.com/offspring-rs/offspring/blob/main/runtime/src/sync/README.md).

mod barrier;
mod barrier_state;
mod condvar;
mod detector;
mod errors;
mod event;
pub(crate) mod gate;
mod holder;
mod kernel;
mod lock;
mod mutex;
mod once;
mod once_lock;
mod order;
pub(crate) mod raw;
mod reentrant;
mod rwlock;
mod rwlock_guard;
mod rwlock_state;
mod semaphore;
mod semaphore_state;
pub(crate) mod slots;
pub(crate) mod spin;
mod waiters;

use std::fmt;

use crate::error::{Error, Result};
use crate::sys::robust;

pub use barrier::{Barrier, BarrierBuilder, BarrierError, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use detector::DeadlockDetector;
pub use errors::{
    Deadlock, LockError, LockResult, LockTimeoutError, LockTimeoutResult, PoisonCause, PoisonError,
    TryLockError, TryLockResult,
};
pub use event::Event;
pub use holder::Holder;
pub(crate) use holder::name_process;
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceError};
pub use once_lock::OnceLock;
pub use order::{LockAll, LockAllError, OutOfOrder, lock_all};
pub use reentrant::{ReentrantLock, ReentrantLockGuard};
pub use rwlock::RwLock;
pub use rwlock_guard::{RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{
    AcquireError, AcquireTimeoutError, Permit, ReleaseError, Semaphore, TryAcquireError,
};

/// Whether locks can be had on this system.
pub(crate) fn check() -> Result<()> {
    robust::check().map_err(|robust::Unsupported| Error::NoRobustLocks)
}

/// Who holds a lock, as `Debug` shows it.
struct Shown(Option<Holder>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(holder) => holder.fmt(f),
            None => f.write_str("somebody"),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(holder) => write!(f, "{holder}"),
            None => f.write_str("somebody"),
        }
    }
}

/// What every handle is: it clones, and crosses to other processes.
macro_rules! handle {
    ($name:ident<T $(: $sync:ident)?>, with detector) => {
        impl<T: ?Sized> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self { object: self.object.clone(), detector: self.detector.clone() }
            }
        }

        // As std's: what a panic leaves half done is told by the poison.
        impl<T: ?Sized> std::panic::UnwindSafe for $name<T> {}
        impl<T: ?Sized> std::panic::RefUnwindSafe for $name<T> {}

        impl<T: ?Sized + $crate::shm::object::Content> serde::Serialize for $name<T> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                (&self.object, &self.detector).serialize(serializer)
            }
        }

        impl<'de, T: ?Sized + $crate::shm::object::Content $(+ $sync)?> serde::Deserialize<'de>
            for $name<T>
        {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let (object, detector) = serde::Deserialize::deserialize(deserializer)?;
                Ok(Self { object, detector })
            }
        }
    };
    ($name:ident) => {
        impl Clone for $name {
            fn clone(&self) -> Self {
                Self { object: self.object.clone() }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.object.serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self { object: serde::Deserialize::deserialize(deserializer)? })
            }
        }
    };
    ($name:ident<T>) => {
        impl<T: ?Sized> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self { object: self.object.clone() }
            }
        }

        impl<T: ?Sized + $crate::shm::object::Content> serde::Serialize for $name<T> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.object.serialize(serializer)
            }
        }

        impl<'de, T: ?Sized + $crate::shm::object::Content> serde::Deserialize<'de> for $name<T> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self { object: serde::Deserialize::deserialize(deserializer)? })
            }
        }
    };
}
pub(crate) use handle;
