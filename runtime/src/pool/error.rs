//! Why a task gave no value.

use std::fmt;
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use crate::process::{Panic, write_end};

/// Why a task gave no value. Its text names the task, and the worker with its pid where there was one.
///
/// One task that fails is one error, whatever other tasks were sent along with it.
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
#[derive(Debug, Clone, thiserror::Error)]
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
    #[error("{task} was ended: it ran for longer than {limit:?}")]
    TimedOut {
        /// Which task.
        task: Task,
        /// How long it was allowed to run.
        limit: Duration,
    },
    /// The task was cancelled. If it ran at that time, its worker was killed.
    #[error("{task} was cancelled{}", if *.may_have_run { " while it ran" } else { " before it ran" })]
    Cancelled {
        /// Which task.
        task: Task,
        /// Whether it had begun.
        may_have_run: bool,
    },
    /// The task's arguments could not be encoded, and it has not run; or what it returned could not.
    #[error("{task} {}: {reason}", if *.ran { "ran, but its result could not be sent" } else { "could not be sent" })]
    Encode {
        /// Which task.
        task: Task,
        /// What was wrong.
        reason: String,
        /// Whether it was the result.
        ran: bool,
    },
    /// What the task returned could not be decoded; or its arguments could not, and it has not run.
    #[error("{task} {}: {reason}", if *.ran { "ran, but its result cannot be taken over" } else { "could not be taken over by its worker" })]
    Decode {
        /// Which task.
        task: Task,
        /// What was wrong.
        reason: String,
        /// Whether it was the result.
        ran: bool,
    },
    /// The pool was closed, terminated or dropped before the task was done.
    #[error("{task} was not done: the pool was closed{}", if *.may_have_run { " while it ran" } else { "" })]
    PoolClosed {
        /// Which task.
        task: Task,
        /// Whether it had begun.
        may_have_run: bool,
    },
    /// The pool cannot run anything any more: its workers could not be started, or its
    /// [initializer](crate::PoolBuilder::initializer) failed in each of them.
    #[error("{task} was not done: {reason}")]
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
            Self::Panicked(_) | Self::WorkerDied(_) | Self::TimedOut { .. } => true,
            Self::Cancelled { may_have_run, .. } | Self::PoolClosed { may_have_run, .. } => {
                *may_have_run
            }
            Self::Encode { ran, .. } | Self::Decode { ran, .. } => *ran,
            Self::PoolFailed { .. } => false,
        }
    }

    /// Which task it was.
    pub fn task(&self) -> Task {
        match self {
            Self::Panicked(panic) => panic.task,
            Self::WorkerDied(death) => death.task,
            Self::TimedOut { task, .. }
            | Self::Cancelled { task, .. }
            | Self::Encode { task, .. }
            | Self::Decode { task, .. }
            | Self::PoolClosed { task, .. }
            | Self::PoolFailed { task, .. } => *task,
        }
    }
}

/// Which task: its process, and its place among the inputs that came with it.
///
/// Its text is ``task `square` `` for one that was [submitted](crate::Pool::submit), and
/// ``task `square` of input 7`` for one of a [map](crate::Pool::map), where the first input is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone)]
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

/// How a worker ended that had a task in hand. Everything [`ExitStatus`] tells, this tells.
#[derive(Debug, Clone)]
pub struct WorkerDeath {
    pub(super) task: Task,
    pub(super) worker: String,
    pub(super) pid: u32,
    pub(super) status: ExitStatus,
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
}

impl Deref for WorkerDeath {
    type Target = ExitStatus;

    fn deref(&self) -> &ExitStatus {
        &self.status
    }
}

impl fmt::Display for WorkerDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, worker, pid, status } = self;
        write!(f, "{task} was lost: worker '{worker}' (pid {pid}) ")?;
        match (status.signal(), status.code()) {
            (None, Some(code)) => {
                write!(f, "exited with code {code} while it ran it: does it call `exit`?")
            }
            _ => {
                write_end(f, *status)?;
                write!(f, " while it ran it")
            }
        }
    }
}

/// The pool does not run tasks any more: from [`Pool::join`](crate::Pool::join).
#[derive(Debug, Clone, thiserror::Error)]
#[error("the pool has failed: {reason}")]
pub struct PoolError {
    pub(super) reason: String,
}
