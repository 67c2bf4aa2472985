//! What a pool has done, for people to read.

use std::time::{Duration, Instant};

use super::reply::Times;
use super::timeline::{Event, Timeline, What};
use crate::process::Process;
use crate::process::registry::{self, Registered};
use crate::wire;

/// How many of the slowest are remembered.
const SLOWEST: usize = 5;

/// One worker, as a [`PoolStats`] tells of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Its name.
    pub name: String,
    /// Its process number.
    pub pid: u32,
    /// How many tasks it has done.
    pub tasks: u64,
    /// How long it was busy with them.
    pub busy: Duration,
    /// How long it was not, since it was started.
    pub idle: Duration,
    /// How long it took to start it.
    pub startup: Duration,
}

/// Tasks that took long, one after the other in one worker: one task, where tasks are long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowTask {
    /// The name of their process.
    pub process: &'static str,
    /// For which input of its [map](crate::Pool::map) the first of them was; 0 for a submitted task.
    pub index: usize,
    /// How many they were.
    pub count: u32,
    /// How long each took, on average.
    pub each: Duration,
    /// The arguments of the first, if they were kept, and which process takes them.
    arguments: Option<(u32, Box<[u8]>)>,
}

/// Arguments of up to so many bytes are kept.
const KEPT: usize = 4 << 10;

impl SlowTask {
    /// The first of them, with its arguments: to look at, or to run again. `None` if its process is another
    /// than `P`, if it had handles or descriptors, or if its arguments have more than 4 KiB.
    ///
    /// ```
    /// use offspring::{Pool, Process, process};
    /// use std::time::Duration;
    ///
    /// #[process]
    /// #[derive(Debug)]
    /// struct Nap {
    ///     millis: u64,
    /// }
    ///
    /// impl Process for Nap {
    ///     type Output = ();
    ///
    ///     fn run(self) {
    ///         std::thread::sleep(Duration::from_millis(self.millis));
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::new(1)?;
    /// pool.mapper().chunk_size(1).map(|millis| Nap { millis }, [1, 30, 2])?;
    /// let slowest = &pool.stats().slowest[0];
    /// assert_eq!(slowest.first::<Nap>().unwrap().millis, 30);
    /// # Ok(())
    /// # }
    /// ```
    pub fn first<P: Process>(&self) -> Option<P> {
        let (process, arguments) = self.arguments.as_ref()?;
        let index = registry::index_of(<P as Registered>::entry()).ok()?;
        if index != *process {
            return None;
        }
        wire::decode(arguments, Vec::new()).ok()
    }
}

/// A chunk that was run: what is noted of it.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) worker: usize,
    /// Which process it is of, by name and in the registry.
    pub(super) name: &'static str,
    pub(super) process: u32,
    /// Which input its first task was for, and how many of them were run.
    pub(super) index: usize,
    pub(super) count: u32,
    pub(super) times: Times,
}

/// What a pool has done so far: from [`Pool::stats`](crate::Pool::stats).
///
/// [`tasks`](Self::tasks) and [`failed`](Self::failed) count outcomes. What took how long is noted with its
/// worker, and among the slowest, when a chunk has ended, which may be a moment after its results are there.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PoolStats {
    /// How many tasks were done, those that failed included.
    pub tasks: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many tasks wait for a worker.
    pub waiting: usize,
    /// How many workers were ever started.
    pub workers_started: u64,
    /// Those that are there.
    pub workers: Vec<WorkerStats>,
    /// The slowest tasks, the slowest first.
    pub slowest: Vec<SlowTask>,
}

/// What is noted of a worker.
#[derive(Debug)]
pub(super) struct WorkerRecord {
    name: String,
    pid: u32,
    started: Instant,
    startup: Duration,
    pub(super) tasks: u64,
    pub(super) busy: Duration,
}

impl WorkerRecord {
    pub(super) fn new(name: &str, pid: u32, began: Instant) -> Self {
        let started = Instant::now();
        let startup = started - began;
        Self { name: name.into(), pid, started, startup, tasks: 0, busy: Duration::ZERO }
    }

    pub(super) fn stats(&self) -> WorkerStats {
        WorkerStats {
            name: self.name.clone(),
            pid: self.pid,
            tasks: self.tasks,
            busy: self.busy,
            idle: self.started.elapsed().saturating_sub(self.busy),
            startup: self.startup,
        }
    }
}

/// What is noted of the whole.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) tasks: u64,
    pub(super) failed: u64,
    slowest: Vec<SlowTask>,
    pub(super) timeline: Option<Timeline>,
}

impl Records {
    pub(super) fn new(timeline: bool) -> Self {
        Self { timeline: timeline.then(Timeline::default), ..Self::default() }
    }

    pub(super) fn slowest(&self) -> &[SlowTask] {
        &self.slowest
    }

    /// Notes a chunk that was run. `arguments` gives those of its first task, if it has them.
    pub(super) fn note(&mut self, ran: &Ran, arguments: impl FnOnce() -> Option<Vec<u8>>) {
        let Ran { worker, name: process, index, count, times: Times { began, ended }, .. } = *ran;
        if count == 0 {
            return;
        }
        let each = Duration::from_nanos(ended.saturating_sub(began) / u64::from(count));
        if self.slowest.len() < SLOWEST || self.slowest.last().is_some_and(|last| each > last.each)
        {
            let at = self.slowest.partition_point(|slow| slow.each >= each);
            let arguments = arguments().filter(|arguments| arguments.len() <= KEPT);
            let arguments = arguments.map(|arguments| (ran.process, arguments.into()));
            self.slowest.insert(at, SlowTask { process, index, count, each, arguments });
            self.slowest.truncate(SLOWEST);
        }
        self.happened(worker, began, || What::Ran { process, index, count, ended });
    }

    /// Something that belongs on the timeline, if there is one.
    pub(super) fn happened(&mut self, worker: usize, at: u64, what: impl FnOnce() -> What) {
        if let Some(timeline) = &mut self.timeline {
            timeline.add(Event { worker, at, what: what() });
        }
    }
}
