//! Locks: Python's `_TestLock`, and what becomes of a lock whose holder comes to grief.

#[path = "locks/endings.rs"]
mod endings;
#[path = "locks/errors.rs"]
mod errors;
#[path = "locks/exclusion.rs"]
mod exclusion;
#[path = "locks/handles.rs"]
mod handles;
#[path = "locks/kills.rs"]
mod kills;
#[path = "locks/poison.rs"]
mod poison;

use std::error::Error;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::unistd::gettid;
use offspring::sync::{Mutex, PoisonCause, ReentrantLock, RwLock};
use offspring::{Receiver, Sender, process};
use serde::{Deserialize, Serialize};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(50);

type Outcome = Result<(), Box<dyn Error>>;

/// Does something to the value of a lock of any kind, without a guard in sight.
macro_rules! outcome {
    ($taken:expr) => {
        match $taken {
            Ok(value) => Ok(value.load(Ordering::Relaxed)),
            Err(error) => {
                let text = error.to_string();
                Err(Refusal {
                    text,
                    poison: error.into_poisoned().map(|poisoned| Poison {
                        process: poisoned.holder().process().into(),
                        pid: poisoned.holder().pid(),
                        thread: poisoned.holder().thread().into(),
                        tid: poisoned.holder().tid(),
                        panicked: match poisoned.cause() {
                            PoisonCause::Panicked => true,
                            PoisonCause::Died => false,
                            other => panic!("{other:?}"),
                        },
                        value: poisoned.into_inner().load(Ordering::Relaxed),
                    }),
                })
            }
        }
    };
}

/// Why a lock was not had, or was not sound.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Refusal {
    text: String,
    poison: Option<Poison>,
}

/// What a poisoned lock tells, and the value behind it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Poison {
    process: String,
    pid: u32,
    thread: String,
    tid: u32,
    panicked: bool,
    value: u32,
}

/// A lock that one thread at a time can have.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Lock {
    Mutex(Mutex<AtomicU32>),
    Reentrant(ReentrantLock<AtomicU32>),
    Write(RwLock<AtomicU32>),
}

impl Lock {
    #[track_caller]
    fn one_of_each() -> offspring::Result<[Self; 3]> {
        Ok([
            Self::Mutex(Mutex::new(AtomicU32::new(1))?),
            Self::Reentrant(ReentrantLock::new(AtomicU32::new(1))?),
            Self::Write(RwLock::new(AtomicU32::new(1))?),
        ])
    }

    /// The value, by `lock` or `write`.
    fn lock(&self) -> Result<u32, Refusal> {
        match self {
            Self::Mutex(lock) => outcome!(lock.lock()),
            Self::Reentrant(lock) => outcome!(lock.lock()),
            Self::Write(lock) => outcome!(lock.write()),
        }
    }

    /// The value, by `try_lock` or `try_write`.
    fn try_lock(&self) -> Result<u32, Refusal> {
        match self {
            Self::Mutex(lock) => outcome!(lock.try_lock()),
            Self::Reentrant(lock) => outcome!(lock.try_lock()),
            Self::Write(lock) => outcome!(lock.try_write()),
        }
    }

    /// The value, by `lock_timeout` or `write_timeout`.
    fn lock_timeout(&self, timeout: Duration) -> Result<u32, Refusal> {
        match self {
            Self::Mutex(lock) => outcome!(lock.lock_timeout(timeout)),
            Self::Reentrant(lock) => outcome!(lock.lock_timeout(timeout)),
            Self::Write(lock) => outcome!(lock.write_timeout(timeout)),
        }
    }

    /// Does something with the lock held; then leaks the guard, if it comes to that.
    fn hold(&self, leak: bool, work: impl FnOnce(&AtomicU32)) {
        macro_rules! hold {
            ($guard:expr) => {{
                let guard = $guard.unwrap_or_else(|error| error.into_inner());
                work(&guard);
                if leak {
                    mem::forget(guard);
                }
            }};
        }
        match self {
            Self::Mutex(lock) => hold!(lock.lock()),
            Self::Reentrant(lock) => hold!(lock.lock()),
            Self::Write(lock) => hold!(lock.write()),
        }
    }

    fn is_poisoned(&self) -> bool {
        match self {
            Self::Mutex(lock) => lock.is_poisoned(),
            Self::Reentrant(lock) => lock.is_poisoned(),
            Self::Write(lock) => lock.is_poisoned(),
        }
    }

    fn clear_poison(&self) {
        match self {
            Self::Mutex(lock) => lock.clear_poison(),
            Self::Reentrant(lock) => lock.clear_poison(),
            Self::Write(lock) => lock.clear_poison(),
        }
    }
}

/// Holds the lock until the case lets go of it.
#[process]
fn hold(lock: Lock, held: Sender<i32>, until: Receiver<()>) {
    lock.hold(false, |_| {
        held.send(gettid().as_raw()).unwrap();
        let _ = until.recv();
    });
}

/// Says who it is, and takes the lock.
#[process]
fn take(lock: Lock, about_to: Sender<i32>) -> Result<u32, Refusal> {
    about_to.send(gettid().as_raw()).unwrap();
    lock.lock()
}
