//! The ways to make a child.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a child process is made.
///
/// Its text is Python's name for it, `forkserver`, `spawn` or `fork`, and it is read from that: so it can
/// come from the command line, the environment or a configuration.
///
/// ```
/// use offspring::StartMethod;
///
/// let method: StartMethod = "forkserver".parse()?;
/// assert_eq!(method, StartMethod::ForkServer);
/// assert_eq!(StartMethod::Spawn.to_string(), "spawn");
/// # Ok::<(), offspring::ParseStartMethodError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StartMethod {
    /// A small, single-threaded copy of this program forks the children. It is started on first
    /// use.
    ///
    /// The default: fast whatever the size of this process, and safe whatever threads it has.
    /// Children get this process's arguments, environment, working directory and standard streams
    /// as they are now, and are in its process group. If this process has changed its user, groups,
    /// root directory or session, or has given up gaining privileges, it gets a new server first. Everything
    /// else is as it was when the server started: resource limits, scheduling, the file mode mask
    /// (umask), cgroup, namespaces, capabilities, and sandboxes (seccomp, Landlock). After changing
    /// one of these, call [`end_fork_server`](crate::end_fork_server).
    #[default]
    ForkServer,
    /// The program is executed anew for each child.
    ///
    /// The most isolated, and some ten times slower to start: the child has its own memory layout
    /// and every property of this process as it is now. Python's `spawn`.
    Spawn,
    /// This process is forked.
    ///
    /// The child begins as a copy of everything this process has, its memory and its descriptors
    /// included. Slow when it has much memory. Refused with
    /// [`Error::Multithreaded`](crate::Error::Multithreaded) while this process has other threads: to
    /// those that are about to end it gives a quarter of a second. The exit handlers that this process
    /// has registered do not run in the child, unless its work calls `exit`.
    Fork,
}

impl StartMethod {
    /// All start methods, the default first. Python's `get_all_start_methods`.
    pub const ALL: &'static [Self] = &[Self::ForkServer, Self::Spawn, Self::Fork];

    fn name(self) -> &'static str {
        match self {
            Self::ForkServer => "forkserver",
            Self::Spawn => "spawn",
            Self::Fork => "fork",
        }
    }

    pub(crate) fn from_index(index: u8) -> Self {
        Self::ALL.get(usize::from(index)).copied().unwrap_or_default()
    }

    pub(crate) fn index(self) -> u8 {
        Self::ALL.iter().position(|&method| method == self).unwrap_or(0) as u8
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for StartMethod {
    type Err = ParseStartMethodError;

    fn from_str(text: &str) -> Result<Self, ParseStartMethodError> {
        let known = Self::ALL.iter().find(|method| method.name() == text);
        known.copied().ok_or_else(|| ParseStartMethodError { text: text.into() })
    }
}

/// A text that names no [`StartMethod`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no start method: there are `forkserver`, `spawn` and `fork`")]
pub struct ParseStartMethodError {
    text: String,
}
