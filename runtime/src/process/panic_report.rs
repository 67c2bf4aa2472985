//! A panic in a child, and how the parent learns of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire;

/// What a panic says of itself, on its way to the parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The child's backtrace, if backtraces are enabled there: with `RUST_BACKTRACE=1` that of the work, with
    /// `full` also of what called it.
    pub fn backtrace(&self) -> Option<&str> {
        self.report.backtrace.as_deref()
    }

    /// Panics here as the child did, with its message as the payload.
    ///
    /// No panic hook is called, as by [`std::panic::resume_unwind`]: the child's has printed it.
    ///
    /// ```
    /// use offspring::{JoinError, process};
    ///
    /// #[process]
    /// fn divide(a: u32, b: u32) -> u32 {
    ///     a / b
    /// }
    ///
    /// fn divide_elsewhere(a: u32, b: u32) -> Result<u32, JoinError> {
    ///     let child = divide(a, b).spawn().expect("a process");
    ///     child.join().or_else(|error| match error.into_panic() {
    ///         Ok(panic) => panic.resume_unwind(),
    ///         Err(other) => Err(other),
    ///     })
    /// }
    ///
    /// let payload = std::panic::catch_unwind(|| divide_elsewhere(1, 0)).unwrap_err();
    /// assert!(payload.downcast_ref::<String>().unwrap().contains("divide by zero"));
    /// ```
    pub fn resume_unwind(self) -> ! {
        std::panic::resume_unwind(Box::new(self.report.message))
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

impl std::error::Error for Panic {}
