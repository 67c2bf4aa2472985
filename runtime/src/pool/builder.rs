//! How a pool is to be.

use std::panic::Location;
use std::path::PathBuf;
use std::time::Duration;

use super::board::MAX_WORKERS;
use super::core::{Core, Settings};
use super::dispatch::Limits;
use super::pool::Pool;
use super::worker::{Call, Rules};
use crate::error::{Error, Result};
use crate::launch::{self, StartMethod};
use crate::process::registry::{self, Registered};
use crate::process::{Builder, Process, cpu_count, start_method};
use crate::wire::{self, Fd};

/// How a [`Pool`] is to be: from [`Pool::builder`]. A builder can make any number of pools.
///
/// ```
/// use offspring::{Pool, process};
/// use std::time::Duration;
///
/// #[process]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder()
///     .workers(3)
///     .name("squares")
///     .max_tasks_per_child(1000)
///     .task_timeout(Duration::from_secs(60))
///     .build()?;
/// assert_eq!(pool.map(square, [1, 2, 3])?, [1, 4, 9]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it builds a pool"]
pub struct PoolBuilder {
    workers: Option<usize>,
    process: Builder,
    start_method: Option<StartMethod>,
    name: Option<String>,
    rules: Rules,
    initializer: Option<Result<Call>>,
    finalizer: Option<Result<Call>>,
    limits: Limits,
    retries: u32,
    timeline: Option<PathBuf>,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// How many workers there are. By default [`cpu_count`], which honours affinity and the quota of a
    /// container. Python's `processes`.
    pub fn workers(&mut self, workers: usize) -> &mut Self {
        self.workers = Some(workers);
        self
    }

    /// The name of the pool: its workers are called after it, `name-1` and so on. By default `pool`.
    pub fn name(&mut self, name: impl Into<String>) -> &mut Self {
        self.name = Some(name.into());
        self
    }

    /// What each worker runs before its first task. By default nothing. Python's `initializer` and
    /// `initargs`.
    ///
    /// It has failed if it panics, or its worker dies; it returns nothing, so `unwrap` what may be an
    /// error. If that happens to three workers in a row, the pool gives up: its tasks fail with
    /// [`TaskError::PoolFailed`](crate::TaskError::PoolFailed), which says why.
    ///
    /// ```
    /// use offspring::{Pool, process};
    /// use std::sync::OnceLock;
    ///
    /// static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    ///
    /// #[process]
    /// fn load(words: String) {
    ///     WORDS.set(words.split(' ').map(Into::into).collect()).unwrap();
    /// }
    ///
    /// #[process]
    /// fn word(index: usize) -> String {
    ///     WORDS.get().unwrap()[index].clone()
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::builder().workers(2).initializer(load("once upon a time".into())).build()?;
    /// assert_eq!(pool.map(word, [3, 0])?, ["time", "once"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn initializer<P: Process<Output = ()>>(&mut self, process: P) -> &mut Self {
        self.initializer = Some(call(process));
        self
    }

    /// What each worker runs before it leaves in an orderly way: when the pool is closed, or the worker
    /// has done its [number of tasks](Self::max_tasks_per_child). Not if it is killed. By default nothing.
    pub fn finalizer<P: Process<Output = ()>>(&mut self, process: P) -> &mut Self {
        self.finalizer = Some(call(process));
        self
    }

    /// After so many tasks a worker leaves, and a fresh one takes its place. With 1, each task has a
    /// process of its own. By default a worker stays. Python's `maxtasksperchild`.
    pub fn max_tasks_per_child(&mut self, tasks: u32) -> &mut Self {
        self.rules.max_tasks = Some(tasks);
        self
    }

    /// When a worker has more memory of its own than this, in bytes, after a task, it leaves, and a fresh
    /// one takes its place. By default it stays. (What bounds a single task is
    /// [`memory_limit`](Self::memory_limit).)
    pub fn max_memory_per_child(&mut self, bytes: u64) -> &mut Self {
        self.rules.max_memory = Some(bytes);
        self
    }

    /// How long a task may run. Then its worker is killed, another takes its place, and the task fails
    /// with [`TaskError::TimedOut`](crate::TaskError::TimedOut). No other task is touched.
    /// By default a task may run for ever.
    pub fn task_timeout(&mut self, limit: Duration) -> &mut Self {
        self.limits.hard = Some(limit);
        self.rules.timed = true;
        self
    }

    /// How long a task should run. After that [`is_overdue`](crate::pool::is_overdue) says so in the task, which
    /// may then come to an end in good order. By default no task is overdue.
    ///
    /// ```
    /// use offspring::{Pool, process};
    /// use std::time::Duration;
    ///
    /// #[process]
    /// fn search() -> u64 {
    ///     let mut best = 0;
    ///     while !offspring::pool::is_overdue() {
    ///         best += 1; // look on
    ///     }
    ///     best
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::builder().workers(1).soft_timeout(Duration::from_millis(10)).build()?;
    /// assert!(pool.apply(search())? > 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn soft_timeout(&mut self, limit: Duration) -> &mut Self {
        self.limits.soft = Some(limit);
        self.rules.timed = true;
        self
    }

    /// The most memory that each worker may map, in bytes: see [`Builder::memory_limit`]. The pool itself
    /// takes some 50 MiB of that. By default none is set.
    pub fn memory_limit(&mut self, bytes: u64) -> &mut Self {
        self.process.memory_limit(bytes);
        self
    }

    /// The processors that workers may run on, by number. By default, those that this process may.
    pub fn cpu_affinity(&mut self, processors: impl IntoIterator<Item = usize>) -> &mut Self {
        self.rules.affinity = Some(processors.into_iter().collect());
        self
    }

    /// How often a task is run again that was lost because its worker died. By default never: such a
    /// task may have done something already, and it may be what killed its worker.
    pub fn retries(&mut self, retries: u32) -> &mut Self {
        self.retries = retries;
        self
    }

    /// How workers are started. By default as [`set_start_method`](crate::set_start_method) has it.
    ///
    /// With [`StartMethod::Fork`] that holds for the first ones. Those that take the place of others are made by
    /// the fork server: a pool has a thread, and a process with threads cannot be forked.
    pub fn start_method(&mut self, method: StartMethod) -> &mut Self {
        self.process.start_method(method);
        self.start_method = Some(method);
        self
    }

    /// A worker that had nothing to do for so long leaves; another is started when there is work for it. By
    /// default workers stay.
    pub fn idle_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.rules.idle_timeout = Some(timeout);
        self
    }

    /// Writes a timeline of all that the workers have done to this file, when the pool has ended: which
    /// chunks each has run and when, when it was started, and how it ended. The format is the one that
    /// <https://ui.perfetto.dev> and `chrome://tracing` show; the example `timeline` makes a picture of it.
    /// By default none is kept.
    pub fn timeline(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.timeline = Some(path.into());
        self
    }

    /// Starts the pool.
    ///
    /// # Errors
    /// As [`spawn`](crate::spawn) for the first worker that cannot be started; the others end. [`Error::Encode`] for an initializer or finalizer that does not
    /// serialise. [`Error::TooLarge`] for more than 1024 workers.
    ///
    /// # Panics
    /// With 0 workers, or 0 tasks per worker: nothing could ever be done.
    #[track_caller]
    pub fn build(&self) -> Result<Pool> {
        launch::check()?;
        let workers = self.workers.unwrap_or_else(|| cpu_count().min(MAX_WORKERS));
        assert!(workers > 0, "a pool of 0 workers does nothing");
        assert!(self.rules.max_tasks != Some(0), "a worker for 0 tasks does nothing");
        if workers > MAX_WORKERS {
            let (what, max) = ("workers in a pool", MAX_WORKERS);
            return Err(Error::TooLarge { what: what.into(), len: workers, max });
        }
        let settings = Settings {
            name: self.name.clone().unwrap_or_else(|| "pool".into()),
            builder: self.process.clone(),
            forks: self.start_method.unwrap_or_else(start_method) == StartMethod::Fork,
            rules: self.rules.clone(),
            initializer: another(self.initializer.as_ref())?,
            finalizer: another(self.finalizer.as_ref())?,
            limits: self.limits,
            retries: self.retries,
            timeline: self.timeline.clone(),
        };
        Core::start(workers, settings, Location::caller()).map(Pool::of)
    }
}

fn call<P: Process>(process: P) -> Result<Call> {
    let entry = <P as Registered>::entry();
    let mut bytes = Vec::new();
    let attached = wire::encode(&process, &mut bytes)
        .map_err(|source| Error::Encode { process: entry.name().into(), source })?;
    let fds = attached.sent().into_iter().map(Fd::new).collect();
    Ok(Call { entry: registry::index_of(entry)?, bytes, fds })
}

fn another(call: Option<&Result<Call>>) -> Result<Option<Call>> {
    match call {
        None => Ok(None),
        Some(Ok(call)) => {
            let copy = call.another();
            copy.map(Some).map_err(|error| Error::os("make a copy of an initializer", error))
        }
        // An error cannot be cloned; its kind and its text can.
        Some(Err(Error::Encode { process, source })) => {
            Err(Error::Encode { process: process.clone(), source: source.clone() })
        }
        Some(Err(other)) => {
            Err(Error::os("take an initializer in", std::io::Error::other(other.to_string())))
        }
    }
}
