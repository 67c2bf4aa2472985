//! Why a task gave no value.

use std::fmt;
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::libc;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::process::registry::known_name;
use crate::process::{Panic, write_end};
use crate::wire::foreign;

/// Why a task gave no value. Its text names the task; and the worker, with its pid, that panicked in it,
/// ended, or was ended because it took too long.
///
/// One task that fails is one error, whatever other tasks were sent along with it. It serialises, so
/// that a child with a pool of its own can return it.
///
/// ```
/// use offspring::{Pool, TaskError, process};
///
/// #[process]
/// fn divide(a: u32, b: u32) -> u32 {
///     if b == 77 {
///         std::process::abort(); // as a bug in a C library would
///     }
///     a / b
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::new(2)?;
/// match pool.submit(divide(1, 0)).wait() {
///     Err(TaskError::Panicked(failure)) => assert!(failure.message().contains("divide by zero")),
///     other => panic!("{other:?}"),
/// }
/// match pool.submit(divide(1, 77)).wait() {
///     Err(TaskError::WorkerDied(death)) => println!("{death}"), // ... was killed by signal 6 (SIGABRT)
///     other => panic!("{other:?}"),
/// }
/// assert_eq!(pool.submit(divide(6, 3)).wait()?, 2); // the pool goes on
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TaskError {
    /// The task panicked. Its worker goes on.
    #[error("{0}")]
    Panicked(TaskPanic),
    /// The worker ended while it ran the task: by a signal, or because the task called `exit`.
    /// Another worker has taken its place.
    #[error("{0}")]
    WorkerDied(WorkerDeath),
    /// The task ran longer than [`PoolBuilder::task_timeout`](crate::PoolBuilder::task_timeout)
    /// allows. Its worker was killed, and another has taken its place.
    #[error("{0}")]
    TimedOut(Overrun),
    /// The task was cancelled. If it ran at that time, its worker was killed.
    #[error("{task} was cancelled{}", if *.may_have_run { " while it ran" } else { " before it ran" })]
    #[non_exhaustive]
    Cancelled {
        /// Which task.
        task: Task,
        /// Whether it had begun.
        may_have_run: bool,
    },
    /// The task's arguments could not be encoded, and it has not run; or what it returned could not.
    #[error("{task} {}: {reason}", if *.may_have_run { "ran, but its result could not be sent" } else { "could not be sent" })]
    #[non_exhaustive]
    Encode {
        /// Which task.
        task: Task,
        /// What was wrong.
        reason: String,
        /// Whether it was the result: then it has run.
        may_have_run: bool,
    },
    /// What the task returned could not be decoded; or its arguments could not, and it has not run.
    #[error("{task} {}: {reason}", if *.may_have_run { "ran, but its result cannot be taken over" } else { "could not be taken over by its worker" })]
    #[non_exhaustive]
    Decode {
        /// Which task.
        task: Task,
        /// What was wrong.
        reason: String,
        /// Whether it was the result: then it has run.
        may_have_run: bool,
    },
    /// The pool was closed, terminated or dropped before the task was done.
    #[error("{task} was not done: the pool was closed{}", if *.may_have_run { " while it ran" } else { "" })]
    #[non_exhaustive]
    PoolClosed {
        /// Which task.
        task: Task,
        /// Whether it had begun.
        may_have_run: bool,
    },
    /// The pool cannot run anything any more: its workers could not be started, or its
    /// [initializer](crate::PoolBuilder::initializer) failed in each of them.
    #[error("{task} was not done: {reason}")]
    #[non_exhaustive]
    PoolFailed {
        /// Which task.
        task: Task,
        /// What was wrong.
        reason: String,
    },
}

impl TaskError {
    /// Whether the task may have run, or have begun to. If not, running it again is safe.
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::Panicked(_) | Self::WorkerDied(_) | Self::TimedOut(_) => true,
            Self::Cancelled { may_have_run, .. }
            | Self::Encode { may_have_run, .. }
            | Self::Decode { may_have_run, .. }
            | Self::PoolClosed { may_have_run, .. } => *may_have_run,
            Self::PoolFailed { .. } => false,
        }
    }

    /// Which task it was.
    pub fn task(&self) -> Task {
        match self {
            Self::Panicked(panic) => panic.task,
            Self::WorkerDied(death) => death.task,
            Self::TimedOut(overrun) => overrun.task,
            Self::Cancelled { task, .. }
            | Self::Encode { task, .. }
            | Self::Decode { task, .. }
            | Self::PoolClosed { task, .. }
            | Self::PoolFailed { task, .. } => *task,
        }
    }

    /// The name of the worker that panicked, ended, or was ended because the task took too long.
    pub fn worker(&self) -> Option<&str> {
        match self {
            Self::Panicked(panic) => Some(panic.process()),
            Self::WorkerDied(death) => Some(death.worker()),
            Self::TimedOut(overrun) => Some(overrun.worker()),
            _ => None,
        }
    }

    /// The number that this worker has, or had.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Panicked(panic) => Some(panic.pid()),
            Self::WorkerDied(death) => Some(death.pid()),
            Self::TimedOut(overrun) => Some(overrun.pid()),
            _ => None,
        }
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }
}

/// Which task: its process, and its place among the inputs that came with it.
///
/// Its text is ``task `square` `` for one that was [submitted](crate::Pool::submit), and
/// ``task `square` of input 7`` for one of a [map](crate::Pool::map), where the first input is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Task {
    pub(super) process: &'static str,
    pub(super) index: Option<usize>,
}

impl Task {
    /// The name of its process: of the function or the struct.
    pub fn process(&self) -> &'static str {
        self.process
    }

    /// Which of a map's inputs it was for, from 0; `None` for a task that was submitted alone.
    pub fn index(&self) -> Option<usize> {
        self.index
    }
}

/// From another process of this program, which knows the same names.
impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Task")]
        struct Told {
            process: String,
            index: Option<usize>,
        }
        let Told { process, index } = Told::deserialize(from)?;
        let unknown = || D::Error::custom(format_args!("this program has no process `{process}`"));
        Ok(Self { process: known_name(&process).ok_or_else(unknown)?, index })
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task `{}`", self.process)?;
        match self.index {
            Some(index) => write!(f, " of input {index}"),
            None => Ok(()),
        }
    }
}

/// A panic in a task. Everything that [`Panic`] tells, this tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPanic {
    pub(super) task: Task,
    pub(super) panic: Box<Panic>,
}

impl TaskPanic {
    /// Which task panicked.
    pub fn task(&self) -> Task {
        self.task
    }
}

impl Deref for TaskPanic {
    type Target = Panic;

    fn deref(&self) -> &Panic {
        &self.panic
    }
}

impl fmt::Display for TaskPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.task, self.panic)
    }
}

impl std::error::Error for TaskPanic {}

/// How a worker ended that had a task in hand. Everything [`ExitStatus`] tells, this tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerDeath {
    pub(super) task: Task,
    pub(super) worker: String,
    pub(super) pid: u32,
    #[serde(with = "foreign::exit_status")]
    pub(super) status: ExitStatus,
    /// It was killed, as what it replied made no sense.
    pub(super) babbled: bool,
}

impl WorkerDeath {
    /// Which task it had in hand.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The worker's name.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// The number the worker had.
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

impl std::error::Error for WorkerDeath {}

impl Deref for WorkerDeath {
    type Target = ExitStatus;

    fn deref(&self) -> &ExitStatus {
        &self.status
    }
}

impl fmt::Display for WorkerDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, worker, pid, status, babbled } = self;
        write!(f, "{task} was lost: worker '{worker}' (pid {pid}) ")?;
        match (status.signal(), status.code()) {
            (Some(libc::SIGKILL), _) if *babbled => {
                f.write_str("was killed while it ran it, as its replies made no sense: ")?;
                f.write_str("does something write where it must not?")
            }
            (None, Some(code)) => {
                write!(f, "exited with code {code} while it ran it: does it call `exit`?")
            }
            _ => {
                write_end(f, *status)?;
                f.write_str(" while it ran it")?;
                if *babbled {
                    f.write_str(", and its replies made no sense")?;
                }
                Ok(())
            }
        }
    }
}

/// A task that ran for longer than [`PoolBuilder::task_timeout`](crate::PoolBuilder::task_timeout) allows,
/// and whose worker was killed for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrun {
    pub(super) task: Task,
    pub(super) worker: String,
    pub(super) pid: u32,
    pub(super) limit: Duration,
}

impl Overrun {
    /// Which task it was.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The name of the worker that ran it.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// The number this worker had.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How long the task was allowed to run.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

impl fmt::Display for Overrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, worker, pid, limit } = self;
        write!(f, "{task} took longer than {limit:?}: worker '{worker}' (pid {pid}) was killed")
    }
}

impl std::error::Error for Overrun {}

/// The pool does not run tasks any more: from [`Pool::join`](crate::Pool::join).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("the pool has failed: {reason}")]
pub struct PoolError {
    pub(super) reason: String,
}

impl PoolError {
    /// Why it does not.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
