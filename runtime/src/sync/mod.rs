//! Locks.
mod barrier;
mod condvar;
mod detector;
mod errors;
mod event;
mod holder;
mod kernel;
mod lock;
mod mutex;
mod once;
mod order;
mod raw;
mod reentrant;
mod rwlock;
mod semaphore;
mod slots;
mod waiters;

use std::fmt;

use crate::error::{Error, Result};
use crate::sys::robust;

pub use barrier::{Barrier, BarrierBuilder, BarrierError, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use detector::DeadlockDetector;
pub use errors::{Cause, Deadlock, LockError, LockTimeoutError, PoisonError, TryLockError};
pub use event::Event;
pub use holder::Holder;
pub(crate) use holder::name_process;
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceError, OnceLock};
pub use order::{LockAll, LockAllError, OutOfOrder, lock_all};
pub use reentrant::{ReentrantLock, ReentrantLockGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{
    AcquireError, AcquireTimeoutError, Permit, ReleaseError, Semaphore, TryAcquireError,
};

/// Whether locks can be had on this system.
fn check() -> Result<()> {
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
