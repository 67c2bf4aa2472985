//! The pool's face.

use std::fmt;
use std::sync::Arc;

use super::batch::Batch;
use super::builder::PoolBuilder;
use super::core::Core;
use super::error::{PoolError, TaskError};
use super::feed::Feed;
use super::job::{Job, outcome};
use super::lazy::{Imap, ImapUnordered};
use super::map::Mapper;
use super::map_job::MapJob;
use super::stats::PoolStats;
use crate::error::Result;
use crate::process::Process;
use crate::process::registry::{self, Registered};

/// Processes that wait for work: one [`map`](Self::map) over all cores, which a dying worker cannot stop.
/// Python's `Pool` and `ProcessPoolExecutor`.
///
/// A task is a process value, as for [`spawn`](crate::spawn); here it is run by a worker that is there
/// already. What travels is its arguments and its result, so a closure given to `map` runs here, and may
/// capture what it likes: only what it makes goes to a worker.
///
/// All methods can be called from many threads at once. A pool can also be made inside of a task.
///
/// # When a process dies
/// A worker that dies costs the task that it had in hand: that one fails with
/// [`TaskError::WorkerDied`], which names the worker, its pid and the signal; or it is run again, with
/// [`retries`](PoolBuilder::retries). Other tasks are not touched, however they were sent to it, and
/// another worker takes its place at once. An idle worker that dies costs nothing. When this process
/// dies, in whatever way, its workers are killed in the same moment.
///
/// # When it ends
/// Dropping a pool ends it at once, as leaving a `with` block does in Python: workers are killed, and jobs that are not
/// done fail with [`TaskError::PoolClosed`]. [`join`](Self::join) waits until all is done. A pool that is
/// never dropped ends with this process.
///
/// Workers do not end by Ctrl-C in a terminal, which reaches all processes of the program: this one
/// does, or decides what to do, and they end with it.
///
/// ```
/// use offspring::{Pool, process};
///
/// #[process]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// #[process]
/// fn scale(factor: u64, x: u64) -> u64 {
///     factor * x
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::new(2)?;
/// assert_eq!(pool.map(square, 0..5)?, [0, 1, 4, 9, 16]);
/// let factor = 10;
/// assert_eq!(pool.map(|x| scale(factor, x), 1..4)?, [10, 20, 30]);
/// let job = pool.submit(square(12));
/// assert_eq!(job.wait()?, 144);
/// # Ok(())
/// # }
/// ```
pub struct Pool {
    core: Arc<Core>,
    /// It ends by itself.
    joined: bool,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.core.settings.name).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of so many workers.
    ///
    /// # Errors
    /// As [`PoolBuilder::build`].
    ///
    /// # Panics
    /// With 0 workers.
    #[track_caller]
    pub fn new(workers: usize) -> Result<Self> {
        Self::builder().workers(workers).build()
    }

    /// How the pool is to be.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    pub(super) fn of(core: Arc<Core>) -> Self {
        Self { core, joined: false }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Has a worker run `process`, and returns at once. Python's `apply_async`, and the executor's
    /// `submit`.
    ///
    /// Whatever goes wrong, also with the arguments or with the pool itself, is told by the [`Job`].
    pub fn submit<P: Process>(&self, process: P) -> Job<P::Output> {
        let batch = self.alone(process);
        let mut state = self.core.lock();
        let id = self.core.desks(&mut state).begin(batch);
        self.core.hand_over(&mut state);
        drop(state);
        Job::new(Arc::clone(&self.core), id)
    }

    /// A batch of this one task.
    fn alone<P: Process>(&self, process: P) -> Batch {
        let entry = <P as Registered>::entry();
        let mut batch = Batch::new(0, entry.name());
        batch.alone = true;
        batch.total = Some(1);
        batch.retries = self.core.settings.retries;
        let task = batch.task(0);
        let segment =
            registry::index_of(entry).map_err(|error| error.to_string()).and_then(|index| {
                batch.process = index;
                let mut feed = Feed::new(0);
                feed.add(&process)?;
                Ok(feed.take())
            });
        match segment {
            Ok(segments) => segments.into_iter().for_each(|segment| batch.add(segment)),
            Err(reason) => {
                let error = TaskError::Encode { task, reason, may_have_run: false };
                batch.inbox.push_fate(0, super::batch::Fate::Failed(error));
                batch.done = 1;
            }
        }
        batch
    }

    /// Has a worker run `process`, and waits for what it gives. Python's `apply`.
    ///
    /// # Errors
    /// A [`TaskError`] says why it gave nothing.
    pub fn apply<P: Process>(&self, process: P) -> Result<P::Output, TaskError> {
        let batch = self.alone(process);
        let batch = self.core.begin_and_wait(
            |desks| desks.begin(batch),
            |desks, id| desks.state.is_done(id).then(|| desks.state.remove(id))?,
        );
        outcome(batch.expect("it is there until it is taken"))
    }

    /// Has workers run what `task` makes of each of `inputs`, and gives all results in the order of the
    /// inputs. Python's `map` and `starmap`.
    ///
    /// `task` is the name of a process, or any function or closure that makes one; it runs here. How many
    /// tasks go to a worker together is adapted to what they cost: see [`chunk_size`](Mapper::chunk_size).
    ///
    /// # Errors
    /// The error of the first of the inputs whose task fails; what comes after that is not begun any
    /// more. For all outcomes, use [`map_settled`](Self::map_settled).
    pub fn map<P, F, I>(&self, task: F, inputs: I) -> Result<Vec<P::Output>, TaskError>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        self.mapper().map(task, inputs)
    }

    /// As [`map`](Self::map), but gives the outcome of every task.
    ///
    /// ```
    /// use offspring::{Pool, process};
    ///
    /// #[process]
    /// fn parse(text: String) -> i32 {
    ///     text.parse().unwrap()
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::new(2)?;
    /// let texts = ["1", "two", "3"].map(String::from);
    /// let outcomes = pool.map_settled(parse, texts);
    /// assert!(outcomes[1].is_err());
    /// assert_eq!(outcomes.into_iter().flatten().sum::<i32>(), 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_settled<P, F, I>(&self, task: F, inputs: I) -> Vec<Result<P::Output, TaskError>>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        self.mapper().map_settled(task, inputs)
    }

    /// As [`map`](Self::map), but returns as soon as all inputs are taken in. Python's `map_async`.
    pub fn map_async<P, F, I>(&self, task: F, inputs: I) -> MapJob<P::Output>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        self.mapper().map_async(task, inputs)
    }

    /// Has workers run what `task` makes of each of `inputs`, and gives the outcomes one by one, in the order of
    /// the inputs. Python's `imap`.
    ///
    /// Inputs are taken as they are needed, some ahead of the outcomes: so there may be endlessly many.
    /// A task that fails is one error; the others go on.
    ///
    /// Dropped before its end, it cancels what is left; what is just running runs to its end.
    pub fn imap<P, F, I>(&self, task: F, inputs: I) -> Imap<'_, P, F, I::IntoIter>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        self.mapper().imap(task, inputs)
    }

    /// As [`imap`](Self::imap), but gives each outcome as soon as it is there. Python's
    /// `imap_unordered`.
    pub fn imap_unordered<P, F, I>(
        &self,
        task: F,
        inputs: I,
    ) -> ImapUnordered<'_, P, F, I::IntoIter>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        self.mapper().imap_unordered(task, inputs)
    }

    /// To map with other settings.
    pub fn mapper(&self) -> Mapper<'_> {
        Mapper::new(self)
    }

    /// How many workers there are to be.
    pub fn workers(&self) -> usize {
        self.core.lock().crew.target()
    }

    /// Has there be so many workers more. Gives how many there are to be now.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) for more than 1024 in all,
    /// [`Error::SharedMemory`](crate::Error::SharedMemory) if there is no memory.
    pub fn grow(&self, workers: usize) -> Result<usize> {
        self.core.resize(|now| now.saturating_add(workers))
    }

    /// Has there be so many workers fewer, but one at least. Those that are busy leave when they are
    /// through with what they have in hand. Gives how many there are to be now.
    ///
    /// # Errors
    /// None, today.
    pub fn shrink(&self, workers: usize) -> Result<usize> {
        self.core.resize(|now| now.saturating_sub(workers).max(1))
    }

    /// Has there be so many workers: as [`grow`](Self::grow) or [`shrink`](Self::shrink), whichever it takes.
    ///
    /// # Errors
    /// As [`grow`](Self::grow).
    ///
    /// # Panics
    /// With 0.
    #[track_caller]
    pub fn resize(&self, workers: usize) -> Result<()> {
        assert!(workers > 0, "a pool of 0 workers does nothing");
        self.core.resize(|_| workers).map(drop)
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> PoolStats {
        let mut state = self.core.lock();
        self.core.desks(&mut state).take_replies();
        let stats = state.stats();
        self.core.hand_over(&mut state);
        stats
    }

    /// Takes no more tasks. Those that were given are done. Python's `close`.
    pub fn close(&self) {
        self.core.close();
    }

    /// Ends the pool at once: its workers are killed, and what is not done fails with
    /// [`TaskError::PoolClosed`]. Python's `terminate`.
    pub fn terminate(&self) {
        self.core.terminate();
    }

    /// Waits until all tasks are done and all workers have left; no more tasks are taken. Python's
    /// `close` and `join`. In a callback, which runs on the pool's own thread, it does not wait.
    ///
    /// # Errors
    /// A [`PoolError`], if the pool has failed: its workers could not be started, or its initializer failed.
    pub fn join(mut self) -> Result<(), PoolError> {
        self.joined = true;
        self.core.close();
        self.core.await_end()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.joined || self.core.is_foreign() {
            return;
        }
        self.core.terminate();
        let _ = self.core.await_end();
    }
}
