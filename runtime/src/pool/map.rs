//! Maps: many tasks of one kind.

use std::sync::Arc;

use super::batch::{Batch, Ending};
use super::error::TaskError;
use super::feed::{Attending, Feed, HAND_OVER, Ticket, Unwanted, chunk_size, hand_over};
use super::lazy::{Imap, ImapUnordered, Lazy, Window};
use super::map_job::{MapJob, Outcomes};
use super::pool::Pool;
use crate::process::Process;
use crate::process::registry::{self, Registered};

/// To map with settings of its own: from [`Pool::mapper`].
///
/// ```
/// use offspring::{Pool, process};
///
/// #[process]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::new(2)?;
/// let squares = pool.mapper().chunk_size(10).retries(2).map(square, 0..100)?;
/// assert_eq!(squares.len(), 100);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it maps"]
pub struct Mapper<'a> {
    pool: &'a Pool,
    chunk_size: Option<u32>,
    retries: Option<u32>,
    window: usize,
    progress: Progress,
}

/// Shows how far a map has come, if that is wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    #[cfg(feature = "progress")]
    bar: Option<indicatif::ProgressBar>,
}

impl Progress {
    /// So many are done, of so many if that is known.
    #[cfg_attr(not(feature = "progress"), allow(unused_variables, clippy::unused_self))]
    pub(super) fn show(&self, done: usize, total: Option<usize>) {
        #[cfg(feature = "progress")]
        if let Some(bar) = &self.bar {
            if let Some(total) = total {
                bar.set_length(total as u64);
            }
            bar.set_position(done as u64);
        }
    }
}

impl<'a> Mapper<'a> {
    pub(super) fn new(pool: &'a Pool) -> Self {
        Self { pool, chunk_size: None, retries: None, window: 0, progress: Progress::default() }
    }

    /// How many tasks go to a worker together. By default as many as take a moment: cheap ones in
    /// thousands, long ones one by one. What comes of each does not depend on it. Python's
    /// `chunksize`.
    ///
    /// # Panics
    /// With 0.
    #[track_caller]
    pub fn chunk_size(mut self, tasks: u32) -> Self {
        assert!(tasks > 0, "a chunk of 0 tasks is none");
        self.chunk_size = Some(tasks);
        self
    }

    /// How often a task is run again that was lost with its worker: see
    /// [`PoolBuilder::retries`](crate::PoolBuilder::retries).
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// How many inputs [`imap`](Self::imap) takes ahead of the outcomes, at the most. By default some
    /// for each worker, and more where tasks are cheap. Python's `buffersize`.
    ///
    /// # Panics
    /// With 0.
    #[track_caller]
    pub fn window(mut self, inputs: usize) -> Self {
        assert!(inputs > 0, "with a window of 0 no input is ever taken");
        self.window = inputs;
        self
    }

    /// Shows how far [`map`](Self::map), [`map_settled`](Self::map_settled) and the
    /// [`MapJob`] of [`map_async`](Self::map_async), when it is waited for, have come. The bar gets its
    /// length from the inputs. With the feature `progress`.
    ///
    /// What [`imap`](Self::imap) gives is an iterator, for indicatif's own `wrap_iter`.
    ///
    /// ```
    /// # use offspring::{Pool, process};
    /// # #[process]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::new(2)?;
    /// let bar = indicatif::ProgressBar::new(0);
    /// let squares = pool.mapper().progress(bar).map(square, 0..100)?;
    /// assert_eq!(squares.len(), 100);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "progress")]
    pub fn progress(mut self, bar: indicatif::ProgressBar) -> Self {
        self.progress.bar = Some(bar);
        self
    }

    fn enter<P: Process>(&self, mode: Mode) -> Ticket {
        let entry = <P as Registered>::entry();
        let index = registry::index_of(entry);
        let mut batch = Batch::new(*index.as_ref().unwrap_or(&0), entry.name());
        batch.chunk = chunk_size(self.chunk_size);
        batch.retries = self.retries.unwrap_or(self.pool.core().settings.retries);
        batch.fails_fast = mode == Mode::FirstError;
        batch.lazy = mode == Mode::Lazy;
        if let Err(error) = index {
            batch.ending = Some(Ending::Failed(error.to_string()));
        }
        let id = self.pool.core().lock().enter(batch);
        Ticket { id, process: entry.name() }
    }

    /// See [`Pool::map`].
    ///
    /// # Errors
    /// As [`Pool::map`].
    pub fn map<P, F, I>(&self, task: F, inputs: I) -> Result<Vec<P::Output>, TaskError>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        self.feed(Mode::FirstError, task, inputs).wait()
    }

    /// See [`Pool::map_settled`].
    pub fn map_settled<P, F, I>(&self, task: F, inputs: I) -> Vec<Result<P::Output, TaskError>>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        self.feed(Mode::Settled, task, inputs).settle()
    }

    /// See [`Pool::map_async`].
    pub fn map_async<P, F, I>(&self, task: F, inputs: I) -> MapJob<P::Output>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        self.feed(Mode::FirstError, task, inputs)
    }

    /// See [`Pool::imap`].
    pub fn imap<P, F, I>(&self, task: F, inputs: I) -> Imap<'a, P, F, I::IntoIter>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        Imap::new(self.lazy(task, inputs.into_iter()))
    }

    /// See [`Pool::imap_unordered`].
    pub fn imap_unordered<P, F, I>(
        &self,
        task: F,
        inputs: I,
    ) -> ImapUnordered<'a, P, F, I::IntoIter>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        ImapUnordered::new(self.lazy(task, inputs.into_iter()))
    }

    fn lazy<P: Process, F, I>(&self, task: F, inputs: I) -> Lazy<'a, P, F, I>
    where
        F: FnMut(I::Item) -> P,
        I: Iterator,
    {
        let window = match self.window {
            0 => Window::Growing(4 * self.pool.workers() * self.chunk_size.unwrap_or(1) as usize),
            fixed => Window::Fixed(fixed),
        };
        Lazy::new(self.pool, self.enter::<P>(Mode::Lazy), window, task, inputs)
    }

    /// Hands over all inputs.
    fn feed<P, F, I>(&self, mode: Mode, mut task: F, inputs: I) -> MapJob<P::Output>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        let ticket = self.enter::<P>(mode);
        let core = self.pool.core();
        let _attending = Attending::new(core);
        let mut outcomes = Outcomes::new(ticket, self.progress.clone());
        // If an input panics, nobody wants the others.
        let unwanted = Unwanted { core, ticket };
        let mut feed = Feed::new(0);
        let mut failed = Vec::new();
        let mut first = true;
        let mut inputs = inputs.into_iter();
        while let Some(input) = inputs.next() {
            let index = feed.next();
            if let Err(reason) = feed.add(&task(input)) {
                failed.push((index, reason));
            }
            // The first ones go at once: what they cost tells how the others are to go.
            let due = feed.len() >= HAND_OVER || !failed.is_empty() || first && feed.next() >= 64;
            if due {
                first = false;
                if !hand_over(core, &ticket, &mut feed, &mut failed, false) {
                    // Each has an outcome, also those that are not looked at any more.
                    outcomes.inputs = if mode == Mode::Settled { inputs.count() } else { 0 };
                    break;
                }
                outcomes.collect(core);
            }
        }
        hand_over(core, &ticket, &mut feed, &mut failed, true);
        outcomes.inputs += feed.next();
        std::mem::forget(unwanted);
        MapJob::new(Arc::clone(core), outcomes)
    }
}

/// What its owner wants of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// All values, or the first error.
    FirstError,
    /// All outcomes.
    Settled,
    /// Outcomes as they come.
    Lazy,
}
