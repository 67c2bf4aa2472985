//! A child, whatever its result's type: its name, its life, its end.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

use super::table;
use crate::error::{Error, Result};
use crate::sys::pidfd;
use crate::sys::poll::{self, Wait};
use crate::wire::endpoint::Endpoint;

/// A handle to a child of this process: all that [`Child`](crate::Child) can do, save for its value.
///
/// From [`active_children`](crate::active_children) or [`Child::handle`](crate::Child::handle).
/// Cloned, it is another handle to the same child, and equal to it. Dropped, it changes nothing. Its text
/// is the child's name and number: `process 'square-1' (pid 4711)`.
#[derive(Clone)]
pub struct ChildHandle(pub(super) Arc<Shared>);

/// What all handles to one child share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) daemon: bool,
    pub(super) detached: bool,
    pub(super) pidfd: OwnedFd,
    pub(super) channel: Endpoint,
    /// Held open for as long as the child lives: when this end closes, the child is killed.
    pub(super) lifeline: Endpoint,
    pub(super) end: Mutex<Option<End>>,
    /// Its place in the table.
    pub(super) id: u64,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    With(ExitStatus),
    /// Somebody else has reaped it.
    Unknown,
}

impl ChildHandle {
    /// The process's name: the one its [`Builder`](crate::Builder) gave it, or its function's or
    /// struct's with a number, `square-1`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its process number. Once it has ended and was waited for, another process may get it; the
    /// methods here never mistake one for the other.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Whether it is a daemon: see [`Builder::daemon`](crate::Builder::daemon).
    pub fn is_daemon(&self) -> bool {
        self.0.daemon
    }

    /// Whether it lives on when this process ends: see [`Builder::detached`](crate::Builder::detached).
    pub fn is_detached(&self) -> bool {
        self.0.detached
    }

    /// Whether it has not ended yet.
    pub fn is_alive(&self) -> bool {
        !matches!(self.0.wait_for_end(Wait::Never), Ok(Some(_)))
    }

    /// Waits until it has ended, and says how. Python's `join()`.
    ///
    /// Any number of threads may wait, any number of times: all get the same answer. Unlike
    /// [`Child::join`](crate::Child::join), this does not close a piped standard input: a child that
    /// reads it to its end does not end before that is dropped.
    ///
    /// # Errors
    /// [`Error::StatusLost`] if other code in this program has taken the exit status.
    pub fn wait(&self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.wait_until(Wait::Forever)? {
                return Ok(status);
            }
        }
    }

    /// How it ended, if it has: does not wait. Python's `exitcode`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.wait_until(Wait::Never)
    }

    /// Waits until it has ended, but no longer than `timeout`: then `None`. A timeout of zero
    /// looks and does not wait. Python's `join(timeout)`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>> {
        self.wait_until(Wait::at_most(timeout))
    }

    fn wait_until(&self, wait: Wait) -> Result<Option<ExitStatus>> {
        match self.0.wait_for_end(wait)? {
            None => Ok(None),
            Some(End::With(status)) => Ok(Some(status)),
            Some(End::Unknown) => {
                Err(Error::StatusLost { process: self.0.name.clone(), pid: self.0.pid })
            }
        }
    }

    /// Asks it to end, by SIGTERM: at once, unless it handles that.
    ///
    /// Its exit handlers and destructors do not run. Its own children are killed with it.
    ///
    /// # Errors
    /// [`Error::Os`] with `EPERM` if it has become another user's. That it has ended already is no
    /// error.
    pub fn terminate(&self) -> Result<()> {
        self.send_signal(libc::SIGTERM)
    }

    /// Ends it, by SIGKILL, which no process can refuse.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub fn kill(&self) -> Result<()> {
        self.send_signal(libc::SIGKILL)
    }

    /// Interrupts it, by SIGINT, as Ctrl-C in a terminal does.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub fn interrupt(&self) -> Result<()> {
        self.send_signal(libc::SIGINT)
    }

    /// Sends it a signal, by number: one of `libc::SIG*`, or a real-time one. Python's
    /// `Popen.send_signal`.
    ///
    /// It can never reach another process that was given the same number meanwhile.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate), and `EINVAL` if there is no such signal.
    pub fn send_signal(&self, signal: i32) -> Result<()> {
        match pidfd::send_signal(self.0.pidfd.as_fd(), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(Error::os(format!("send signal {signal} to {self}"), error)),
        }
    }
}

impl ChildHandle {
    /// What a person wants to know of it.
    pub(super) fn describe(&self, of: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct(of);
        text.field("name", &self.0.name).field("pid", &self.0.pid);
        match *self.0.end.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(End::With(status)) => text.field("status", &status).finish_non_exhaustive(),
            Some(End::Unknown) | None => text.finish_non_exhaustive(),
        }
    }
}

impl fmt::Debug for ChildHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe("ChildHandle", f)
    }
}

impl fmt::Display for ChildHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process '{}' (pid {})", self.0.name, self.0.pid)
    }
}

/// Two handles are equal if they are to the same child.
impl PartialEq for ChildHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ChildHandle {}

impl Hash for ChildHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl Shared {
    /// How it ended, if it does so in time; whoever sees it first reaps it.
    pub(super) fn wait_for_end(&self, wait: Wait) -> Result<Option<End>> {
        let known = || *self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = known() {
            return Ok(Some(end));
        }
        loop {
            // No lock is held here, so that others can look, wait, and signal meanwhile. The
            // descriptor is readable from the child's end on, whoever reaps it.
            let failed = |error| Error::os(format!("wait for process {}", self.pid), error);
            if !poll::readable(self.pidfd.as_fd(), wait).map_err(failed)? {
                return Ok(None);
            }
            if let Some(end) = self.reap().map_err(failed)? {
                return Ok(Some(end));
            }
            // A debugger or tracer has yet to see its end, and to let go of it.
            match wait {
                Wait::Never => return Ok(None),
                Wait::Until(deadline) if Instant::now() >= deadline => return Ok(None),
                Wait::Until(_) => std::thread::sleep(Duration::from_millis(1)),
                Wait::Forever => match pidfd::await_end(self.pidfd.as_fd()) {
                    Ok(()) | Err(Errno::ECHILD) => {}
                    Err(error) => return Err(failed(error)),
                },
            }
        }
    }

    /// Reaps it, which has ended, unless another thread has. `None` if it cannot be reaped yet.
    fn reap(&self) -> nix::Result<Option<End>> {
        let mut known = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = match pidfd::reap(self.pidfd.as_fd()) {
                Ok(status) => status.map(End::With),
                // Somebody else did, or nobody may. The kernel may have kept the status.
                Err(Errno::ECHILD) => Some(
                    pidfd::status_after_reaping(self.pidfd.as_fd()).map_or(End::Unknown, End::With),
                ),
                Err(error) => return Err(error),
            };
        }
        let end = *known;
        drop(known);
        if end.is_some() {
            table::remove(self.id);
        }
        Ok(end)
    }
}

/// The descriptor of the process (a pidfd), readable from its end on: for `poll` and the like.
/// Python's `sentinel`.
impl AsFd for ChildHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.pidfd.as_fd()
    }
}
