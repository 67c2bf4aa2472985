//! What a child that gave no value leaves behind.

use std::fmt;
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::wire;

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
#[derive(Debug, thiserror::Error)]
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
    Encode(Failure),
    /// What was sent could not be decoded: the result here, or the arguments in the child.
    #[error("{0}")]
    Decode(Failure),
    /// The work did not run, because the child could not be given what its
    /// [`Builder`](crate::Builder) asked for, or the system was out of something.
    #[error("{0}")]
    Setup(Failure),
    /// The child ended without a value, and how is not to be found out.
    #[error(transparent)]
    Lost(Error),
}

impl JoinError {
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
#[derive(Debug, Clone)]
pub struct Exit {
    pub(super) process: String,
    pub(super) pid: u32,
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
}

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
#[derive(Debug, Clone)]
pub struct Failure {
    pub(super) process: String,
    pub(super) pid: u32,
    pub(super) reason: String,
    pub(super) ran: bool,
}

impl Failure {
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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, pid, reason, .. } = self;
        write!(f, "process '{process}' (pid {pid}): {reason}")
    }
}

/// What a panic says of itself, on its way to the parent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PanicReport {
    pub(super) message: String,
    pub(super) location: Option<String>,
    pub(super) backtrace: Option<String>,
}

impl PanicReport {
    /// The message, and where it happened, in a line.
    pub(crate) fn describe(&self) -> String {
        match &self.location {
            Some(location) => format!("it panicked at {location}: {}", self.message),
            None => format!("it panicked: {}", self.message),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Three strings always encode.
        let _ = wire::encode(self, &mut bytes);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        wire::decode(bytes, Vec::new()).ok()
    }
}

/// A panic in a child, as it reached the parent.
///
/// Its text is one line: the process, its pid, the place and the message. The backtrace is there
/// if the child captured one (`RUST_BACKTRACE=1`).
#[derive(Debug, Clone)]
pub struct Panic {
    pub(super) process: String,
    pub(super) pid: u32,
    pub(super) report: PanicReport,
}

impl Panic {
    pub(crate) fn new(process: impl Into<String>, pid: u32, report: PanicReport) -> Self {
        Self { process: process.into(), pid, report }
    }

    /// The name of the process.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// The number the process had.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What the panic said; of a payload that is no text, that it is none.
    pub fn message(&self) -> &str {
        &self.report.message
    }

    /// Where it happened: `src/main.rs:16:5`. Unknown if the work has set a panic hook of its own.
    pub fn location(&self) -> Option<&str> {
        self.report.location.as_deref()
    }

    /// The child's backtrace, if backtraces are enabled there (`RUST_BACKTRACE`).
    pub fn backtrace(&self) -> Option<&str> {
        self.report.backtrace.as_deref()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process '{}' (pid {}) panicked", self.process, self.pid)?;
        if let Some(location) = self.location() {
            write!(f, " at {location}")?;
        }
        write!(f, ": {}", self.message())
    }
}
