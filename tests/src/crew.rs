//! Who works for a case beside it, children or threads, and whether they wait.

use std::fs;
use std::thread::{self, JoinHandle};

use nix::libc;
use offspring::{Builder, Child, Process};
use serde::de::DeserializeOwned;

use crate::family::until;

/// Who does the work of a case, beside the case itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Children, which end with the case, should that fail.
    Children,
    /// Threads of the case itself.
    Threads,
}

/// One of them.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Worker<T> {
    Child(Child<T>),
    Thread(JoinHandle<T>),
}

impl By {
    /// Has the work done by one that is called `worker`.
    pub fn start<P: Process<Output: Send> + Send + 'static>(self, work: P) -> Worker<P::Output> {
        self.start_as("worker", work)
    }

    /// Has the work done by one of this name.
    pub fn start_as<P>(self, name: &str, work: P) -> Worker<P::Output>
    where
        P: Process<Output: Send> + Send + 'static,
    {
        match self {
            Self::Children => {
                Worker::Child(Builder::new().name(name).daemon(true).spawn(work).unwrap())
            }
            Self::Threads => {
                let thread = thread::Builder::new().name(name.into());
                Worker::Thread(thread.spawn(|| work.run()).unwrap())
            }
        }
    }
}

impl<T: DeserializeOwned + 'static> Worker<T> {
    /// Waits for its end, which must be a good one.
    pub fn join(self) -> T {
        match self {
            Self::Child(child) => child.join().unwrap(),
            Self::Thread(thread) => thread.join().unwrap(),
        }
    }

    /// For one that need not end well.
    pub fn bury(self) {
        match self {
            Self::Child(child) => drop(child.wait().unwrap()),
            Self::Thread(thread) => drop(thread.join()),
        }
    }
}

/// Starts a child that ends with the case, should that fail.
pub fn daemon<P: Process>(work: P) -> offspring::Result<Child<P::Output>> {
    Builder::new().daemon(true).spawn(work)
}

/// Whether a thread, of whatever process, sleeps until a word changes: so all locks wait.
pub fn is_asleep(tid: i32) -> bool {
    let call = fs::read_to_string(format!("/proc/{tid}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    matches!(number, Some(libc::SYS_futex | libc::SYS_futex_waitv))
}

/// Goes on when it does.
pub fn until_asleep(tid: i32) {
    until(|| is_asleep(tid));
}
