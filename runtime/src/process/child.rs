//! A child whose value is still to come.

use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use serde::de::DeserializeOwned;

use super::handle::{ChildHandle, End};
use super::join_error::{ChildFailure, Exit, JoinError};
use super::panic_report::Panic;
use super::protocol::Outcome;
use crate::sys::poll::{self, Wait};
use crate::wire::{self, RecvFailure};

/// A process that was started. Its work gives a `T`.
///
/// Dropped, it runs on; this process waits for it at exit, unless it is a daemon or detached.
/// Python's `Process`, after `start()`.
///
/// All of [`ChildHandle`]'s methods can be called on it: [`name`](ChildHandle::name),
/// [`pid`](ChildHandle::pid), [`is_alive`](ChildHandle::is_alive), [`wait`](ChildHandle::wait),
/// [`wait_timeout`](ChildHandle::wait_timeout), [`terminate`](ChildHandle::terminate),
/// [`kill`](ChildHandle::kill), [`interrupt`](ChildHandle::interrupt),
/// [`send_signal`](ChildHandle::send_signal).
///
/// ```
/// use std::time::Duration;
///
/// #[offspring::process]
/// fn nap(millis: u64) -> String {
///     std::thread::sleep(Duration::from_millis(millis));
///     "slept well".into()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let child = nap(600_000).spawn()?;
/// assert!(child.is_alive());
/// assert_eq!(child.wait_timeout(Duration::ZERO)?, None);
/// child.terminate()?;
/// assert!(!child.wait()?.success());
///
/// assert_eq!(nap(1).spawn()?.join()?, "slept well");
/// # Ok(())
/// # }
/// ```
pub struct Child<T> {
    handle: ChildHandle,
    /// Where to write what the child reads on its standard input, if that is
    /// [`Stdio::piped`](crate::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// Where to read what the child writes to its standard output, if that is piped.
    pub stdout: Option<ChildStdout>,
    /// Where to read what the child writes to its standard error, if that is piped.
    pub stderr: Option<ChildStderr>,
    value: PhantomData<fn() -> T>,
}

/// What a child gave, how it ended, and what it wrote: from [`Child::join_with_output`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinOutput<T> {
    /// What [`Child::join`] would have given.
    pub result: Result<T, JoinError>,
    /// How it ended. `None` if something else in this program took its exit status.
    pub status: Option<ExitStatus>,
    /// What it wrote to its standard output, if that was piped.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error, if that was piped.
    pub stderr: Vec<u8>,
}

impl<T: DeserializeOwned> Child<T> {
    pub(super) fn new(
        handle: ChildHandle,
        stdin: Option<ChildStdin>,
        stdout: Option<ChildStdout>,
        stderr: Option<ChildStderr>,
    ) -> Self {
        Self { handle, stdin, stdout, stderr, value: PhantomData }
    }

    /// Waits until the child has ended, and gives the value of its work.
    ///
    /// A piped standard input is closed first. What the child writes to a piped standard output that
    /// nobody reads can fill that pipe, and then the child never ends: take the pipe and read it, or
    /// use [`join_with_output`](Self::join_with_output). If the child ended badly after it had given its
    /// value (in an exit handler, say), the value is what counts;
    /// [`wait`](ChildHandle::wait) tells the rest.
    ///
    /// # Errors
    /// A [`JoinError`] says why there is no value: the work panicked, the child was killed or
    /// exited, or the value could not cross.
    pub fn join(mut self) -> Result<T, JoinError> {
        drop(self.stdin.take());
        loop {
            if let Some(result) = self.join_within(Wait::Forever) {
                return result;
            }
        }
    }

    /// Waits until the child has ended, but no longer than `timeout`, and gives the value of its work. A
    /// timeout of zero looks and does not wait.
    ///
    /// Otherwise as [`join`](Self::join): a piped standard input is closed first.
    ///
    /// # Errors
    /// The child itself, if it has not ended in time. Within `Ok`, as [`join`](Self::join).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// #[offspring::process]
    /// fn nap(millis: u64) -> String {
    ///     std::thread::sleep(Duration::from_millis(millis));
    ///     "slept well".into()
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// match nap(600_000).spawn()?.join_timeout(Duration::from_millis(10)) {
    ///     Ok(result) => println!("{}", result?),
    ///     Err(child) => child.kill()?, // or wait for it again
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn join_timeout(mut self, timeout: Duration) -> Result<Result<T, JoinError>, Self> {
        drop(self.stdin.take());
        self.join_within(Wait::at_most(timeout)).ok_or(self)
    }

    /// What came of it, if it ends in time.
    fn join_within(&self, wait: Wait) -> Option<Result<T, JoinError>> {
        match self.handle.0.wait_for_end(wait) {
            Ok(end) => Some(self.take_value(end?)),
            Err(error) => Some(Err(JoinError::Lost(self.failure(error.to_string(), true)))),
        }
    }

    /// Waits until the child has ended, reading meanwhile whatever of its output is piped.
    ///
    /// So the child cannot block on a full pipe. What is written by processes that the child has
    /// left behind is read, too, until they end.
    ///
    /// # Errors
    /// If the pipes cannot be read. What became of the work is in the output.
    ///
    /// ```
    /// use offspring::{Builder, Stdio, process};
    ///
    /// #[process]
    /// fn shout() -> u32 {
    ///     println!("hey!");
    ///     7
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let output = Builder::new().stdout(Stdio::piped()).spawn(shout())?.join_with_output()?;
    /// assert_eq!(output.stdout, b"hey!\n");
    /// assert_eq!(output.result?, 7);
    /// # Ok(())
    /// # }
    /// ```
    pub fn join_with_output(mut self) -> io::Result<JoinOutput<T>> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        read_both(self.stdout.take(), &mut stdout, self.stderr.take(), &mut stderr)?;
        let handle = self.handle();
        let result = self.join();
        Ok(JoinOutput { result, status: handle.wait().ok(), stdout, stderr })
    }

    fn failure(&self, reason: impl Into<String>, ran: bool) -> ChildFailure {
        let reason = reason.into();
        ChildFailure { process: self.name().into(), pid: self.pid(), reason, ran }
    }

    /// What the child sent before it ended, or what its end means instead.
    fn take_value(&self, end: End) -> Result<T, JoinError> {
        let (name, pid) = (self.name(), self.pid());
        let read = wire::recv(self.handle.0.channel.as_fd(), Wait::Never, |packet| {
            Outcome::read(packet, wire::decode::<T>)
        });
        let outcome = match read {
            Ok(Ok(Ok(value))) => return Ok(value),
            Ok(Ok(Err(error))) => {
                let reason = format!("its result cannot be taken over: {error}");
                return Err(JoinError::Decode(self.failure(reason, true)));
            }
            Ok(Err(outcome)) => outcome,
            // It ended without a word.
            Err(RecvFailure::Disconnected | RecvFailure::TimedOut) => {
                return Err(match end {
                    End::With(status) => {
                        JoinError::Exited(Exit { process: name.into(), pid, status })
                    }
                    End::Unknown => {
                        let reason = "it has ended, but something else in this program took its \
                                      exit status: look for `waitpid(-1)` or an ignored SIGCHLD";
                        JoinError::Lost(self.failure(reason, true))
                    }
                });
            }
            Err(RecvFailure::Corrupt(what)) => {
                return Err(JoinError::Decode(self.failure(format!("it sent {what}"), true)));
            }
            Err(RecvFailure::DescriptorsLost) => {
                let reason = "this process has no room for the descriptors of its result: raise \
                              the limit of open files (`ulimit -n`)";
                return Err(JoinError::Decode(self.failure(reason, true)));
            }
            Err(RecvFailure::Os(error)) => {
                let reason = format!("its result could not be read: {error}");
                return Err(JoinError::Lost(self.failure(reason, true)));
            }
        };
        Err(match outcome {
            Outcome::Panicked(report) => {
                JoinError::Panicked(Panic { process: name.into(), pid, report })
            }
            Outcome::Unencodable(reason) => JoinError::Encode(self.failure(reason, true)),
            Outcome::Undecodable(reason) => JoinError::Decode(self.failure(reason, false)),
            Outcome::Unequipped(reason) => JoinError::Setup(self.failure(reason, false)),
            Outcome::Value(..) => unreachable!("a value is given to the closure above"),
        })
    }
}

impl<T> Child<T> {
    /// A handle to this child without its value: it can be cloned, and outlives a
    /// [`join`](Self::join).
    pub fn handle(&self) -> ChildHandle {
        self.handle.clone()
    }
}

/// As its handle's: `process 'square-1' (pid 4711)`.
impl<T> fmt::Display for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

impl<T> fmt::Debug for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.describe("Child", f)
    }
}

impl<T> Deref for Child<T> {
    type Target = ChildHandle;

    fn deref(&self) -> &ChildHandle {
        &self.handle
    }
}

/// The descriptor of the process (a pidfd): see [`ChildHandle`].
impl<T> AsFd for Child<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Reads two pipes to their ends, whichever has something.
fn read_both(
    out: Option<ChildStdout>,
    out_bytes: &mut Vec<u8>,
    err: Option<ChildStderr>,
    err_bytes: &mut Vec<u8>,
) -> io::Result<()> {
    let (mut out, mut err) = (out, err);
    while let (Some(first), Some(second)) = (&mut out, &mut err) {
        let mut fds = [
            PollFd::new(first.as_fd(), PollFlags::POLLIN),
            PollFd::new(second.as_fd(), PollFlags::POLLIN),
        ];
        poll::poll(&mut fds, Wait::Forever)?;
        let [first_ready, second_ready] = fds.map(|fd| fd.any().unwrap_or(true));
        if first_ready && read_some(first, out_bytes)? == 0 {
            out = None;
        }
        if second_ready && read_some(second, err_bytes)? == 0 {
            err = None;
        }
    }
    out.map_or(Ok(0), |mut out| out.read_to_end(out_bytes))?;
    err.map_or(Ok(0), |mut err| err.read_to_end(err_bytes))?;
    Ok(())
}

fn read_some(pipe: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 8192];
    loop {
        match pipe.read(&mut chunk) {
            Ok(len) => {
                bytes.extend_from_slice(&chunk[..len]);
                return Ok(len);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
