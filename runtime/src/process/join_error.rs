//! What a child that gave no value leaves behind.

use std::fmt;
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde::{Deserialize, Serialize};

use super::Panic;
use crate::wire::foreign;

/// Why a child gave no value. Its text names the process, its pid, and what happened.
///
/// ```
/// # use offspring::JoinError;
/// #[offspring::process]
/// fn divide(a: u32, b: u32) -> u32 {
///     a / b
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// match divide(1, 0).spawn()?.join() {
///     Err(JoinError::Panicked(panic)) => assert!(panic.message().contains("divide by zero")),
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
///
/// It serialises, so that a child can return it in its turn, and `?` is of use there:
///
/// ```
/// # use offspring::{JoinError, process};
/// # #[process]
/// # fn divide(a: u32, b: u32) -> u32 {
/// #     a / b
/// # }
/// #[process]
/// fn divide_twice(a: u32, b: u32) -> Result<u32, JoinError> {
///     let once = divide(a, b).spawn().expect("a process").join()?;
///     divide(once, b).spawn().expect("a process").join()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert_eq!(divide_twice(20, 2).spawn()?.join()??, 5);
/// assert!(divide_twice(20, 0).spawn()?.join()?.unwrap_err().is_panic());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JoinError {
    /// The work panicked.
    #[error("{0}")]
    Panicked(Panic),
    /// The child ended before the work did: by a signal, or by an exit of its own.
    #[error("{0}")]
    Exited(Exit),
    /// The work returned, but what it returned could not be encoded.
    #[error("{0}")]
    Encode(ChildFailure),
    /// What was sent could not be decoded: the result here, or the arguments in the child.
    #[error("{0}")]
    Decode(ChildFailure),
    /// The work did not run, because the child could not be given what its
    /// [`Builder`](crate::Builder) asked for, or the system was out of something.
    #[error("{0}")]
    Setup(ChildFailure),
    /// The child ended without a value, and how is not to be found out: something else in this program
    /// took its exit status, or the system refuses to tell.
    #[error("{0}")]
    Lost(ChildFailure),
}

impl JoinError {
    /// The name of the process.
    pub fn process(&self) -> &str {
        self.who().0
    }

    /// The number the process had.
    pub fn pid(&self) -> u32 {
        self.who().1
    }

    fn who(&self) -> (&str, u32) {
        match self {
            Self::Panicked(panic) => (panic.process(), panic.pid()),
            Self::Exited(exit) => (exit.process(), exit.pid()),
            Self::Encode(failure)
            | Self::Decode(failure)
            | Self::Setup(failure)
            | Self::Lost(failure) => (failure.process(), failure.pid()),
        }
    }

    /// How the child ended, if it did so before its work was done: of
    /// [`Exited`](Self::Exited). (How one ended whose work panicked, say, is told by
    /// [`ChildHandle::wait`](crate::ChildHandle::wait).)
    pub fn status(&self) -> Option<ExitStatus> {
        match self {
            Self::Exited(exit) => Some(exit.status()),
            _ => None,
        }
    }

    /// Whether the work panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }

    /// The panic, if it was one; else the error as it is. To go on with it here, there is
    /// [`Panic::resume_unwind`].
    ///
    /// # Errors
    /// This error, if it was no panic.
    pub fn into_panic(self) -> Result<Panic, Self> {
        match self {
            Self::Panicked(panic) => Ok(panic),
            other => Err(other),
        }
    }

    /// Whether the work had begun, so that some of what it does may have been done.
    ///
    /// If not, starting it again is safe. It is true where that is not known.
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::Setup(_) => false,
            Self::Decode(failure) => failure.ran,
            Self::Panicked(_) | Self::Exited(_) | Self::Encode(_) | Self::Lost(_) => true,
        }
    }
}

/// How a child ended that gave no value. Everything [`ExitStatus`] tells, this tells.
///
/// Its text names the process, its pid, and the signal or the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub(super) process: String,
    pub(super) pid: u32,
    #[serde(with = "foreign::exit_status")]
    pub(super) status: ExitStatus,
}

impl Exit {
    /// The name of the process.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// The number the process had.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended.
    pub fn status(&self) -> ExitStatus {
        self.status
    }

    /// The code it exited with, if it exited: as [`ExitStatus::code`].
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that killed it, if one did: as [`ExitStatusExt::signal`].
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

impl std::error::Error for Exit {}

impl Deref for Exit {
    type Target = ExitStatus;

    fn deref(&self) -> &ExitStatus {
        &self.status
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process '{}' (pid {}) ", self.process, self.pid)?;
        match self.status.code() {
            Some(code) => {
                write!(f, "exited with code {code} without giving its value: did it call `exit`?")
            }
            None => write_end(f, self.status),
        }
    }
}

/// How a process ended that did not exit.
pub(crate) fn write_end(f: &mut fmt::Formatter<'_>, status: ExitStatus) -> fmt::Result {
    let Some(signal) = status.signal() else { return write!(f, "ended: {status}") };
    write!(f, "was killed by signal {signal}")?;
    if let Ok(signal) = nix::sys::signal::Signal::try_from(signal) {
        write!(f, " ({signal})")?;
    }
    if status.core_dumped() {
        write!(f, ", leaving a core file")?;
    }
    Ok(())
}

/// Something that went wrong around the work. Its text names the process, its pid, and what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildFailure {
    pub(super) process: String,
    pub(super) pid: u32,
    pub(super) reason: String,
    pub(super) ran: bool,
}

impl ChildFailure {
    /// The name of the process.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// The number the process had.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What went wrong.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for ChildFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, pid, reason, .. } = self;
        write!(f, "process '{process}' (pid {pid}): {reason}")
    }
}

impl std::error::Error for ChildFailure {}
