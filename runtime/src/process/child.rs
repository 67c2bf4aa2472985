//! A child whose value is still to come.

use std::io::{self, Read};
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use nix::poll::{PollFd, PollFlags};
use serde::de::DeserializeOwned;

use super::handle::{ChildHandle, End};
use super::join_error::{Exit, Failure, JoinError, Panic};
use super::protocol::Outcome;
use crate::error::Error;
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
/// [`signal`](ChildHandle::signal).
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
#[derive(Debug)]
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

/// What a child gave, and what it wrote: from [`Child::join_with_output`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Output<T> {
    /// What [`Child::join`] would have given.
    pub result: Result<T, JoinError>,
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
        let end = loop {
            match self.handle.0.wait_for_end(Wait::Forever) {
                Ok(Some(end)) => break end,
                Ok(None) => {}
                Err(error) => return Err(JoinError::Lost(error)),
            }
        };
        self.take_value(end)
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
    pub fn join_with_output(mut self) -> io::Result<Output<T>> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        read_both(self.stdout.take(), &mut stdout, self.stderr.take(), &mut stderr)?;
        Ok(Output { result: self.join(), stdout, stderr })
    }

    /// What the child sent before it ended, or what its end means instead.
    fn take_value(&self, end: End) -> Result<T, JoinError> {
        let (name, pid) = (self.name(), self.pid());
        let failure = |reason: String, ran| Failure { process: name.into(), pid, reason, ran };
        let read = wire::recv(self.handle.0.channel.as_fd(), Wait::Never, |packet| {
            Outcome::read(packet, wire::decode::<T>)
        });
        let outcome = match read {
            Ok(Ok(Ok(value))) => return Ok(value),
            Ok(Ok(Err(error))) => {
                let reason = format!("its result cannot be taken over: {error}");
                return Err(JoinError::Decode(failure(reason, true)));
            }
            Ok(Err(outcome)) => outcome,
            // It ended without a word.
            Err(RecvFailure::Disconnected | RecvFailure::TimedOut) => {
                return Err(match end {
                    End::With(status) => {
                        JoinError::Exited(Exit { process: name.into(), pid, status })
                    }
                    End::Unknown => {
                        JoinError::Lost(Error::StatusLost { process: name.into(), pid })
                    }
                });
            }
            Err(RecvFailure::Corrupt(what)) => {
                return Err(JoinError::Decode(failure(format!("it sent {what}"), true)));
            }
            Err(RecvFailure::DescriptorsLost) => {
                let reason = "this process has no room for the descriptors of its result: raise \
                              the limit of open files (`ulimit -n`)";
                return Err(JoinError::Decode(failure(reason.into(), true)));
            }
            Err(RecvFailure::Os(error)) => {
                return Err(JoinError::Lost(Error::os("read a child's result", error)));
            }
        };
        Err(match outcome {
            Outcome::Panicked(report) => {
                JoinError::Panicked(Panic { process: name.into(), pid, report })
            }
            Outcome::Unencodable(reason) => JoinError::Encode(failure(reason, true)),
            Outcome::Undecodable(reason) => JoinError::Decode(failure(reason, false)),
            Outcome::Unequipped(reason) => JoinError::Setup(failure(reason, false)),
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
