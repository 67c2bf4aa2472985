//! Maps: many tasks of one kind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::batch::{Batch, Ending};
use super::core::Core;
use super::error::TaskError;
use super::feed::{Attending, Feed, HAND_OVER, Ticket, chunk_size, forget, hand_over};
use super::job::decode;
use super::lazy::{Imap, ImapUnordered, Lazy, Window};
use super::pool::Pool;
use crate::process::Process;
use crate::process::registry::{self, Registered};
use crate::sys::poll::Wait;

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
struct Progress {
    #[cfg(feature = "progress")]
    bar: Option<indicatif::ProgressBar>,
}

impl Progress {
    /// So many are done, of so many if that is known.
    #[cfg_attr(not(feature = "progress"), allow(unused_variables, clippy::unused_self))]
    fn show(&self, done: usize, total: Option<usize>) {
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

    fn enter<P: Process>(&self, fails_fast: bool) -> Ticket {
        let entry = <P as Registered>::entry();
        let index = registry::index_of(entry);
        let mut batch = Batch::new(*index.as_ref().unwrap_or(&0), entry.name());
        batch.chunk = chunk_size(self.chunk_size);
        batch.retries = self.retries.unwrap_or(self.pool.core().settings.retries);
        batch.fails_fast = fails_fast;
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
        let source = self.feed(true, task, inputs);
        source.results()
    }

    /// See [`Pool::map_settled`].
    pub fn map_settled<P, F, I>(&self, task: F, inputs: I) -> Vec<Result<P::Output, TaskError>>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        let source = self.feed(false, task, inputs);
        source.outcomes()
    }

    /// See [`Pool::map_async`].
    pub fn map_async<P, F, I>(&self, task: F, inputs: I) -> MapJob<P::Output>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        self.feed(true, task, inputs)
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
        Lazy::new(self.pool, self.enter::<P>(false), window, task, inputs)
    }

    /// Hands over all inputs.
    fn feed<P, F, I>(&self, fails_fast: bool, mut task: F, inputs: I) -> MapJob<P::Output>
    where
        P: Process,
        F: FnMut(I::Item) -> P,
        I: IntoIterator,
    {
        let ticket = self.enter::<P>(fails_fast);
        let core = self.pool.core();
        let _attending = Attending::new(core);
        // Cancels the rest, if an input panics.
        let mut job = MapJob::new(Arc::clone(core), ticket, self.progress.clone());
        let mut feed = Feed::new(0);
        let mut failed = Vec::new();
        let mut first = true;
        for input in inputs {
            let index = feed.next();
            if let Err(reason) = feed.add(&task(input)) {
                failed.push((index, reason));
            }
            // The first ones go at once: what they cost tells how the others are to go.
            let due = feed.len() >= HAND_OVER || !failed.is_empty() || first && feed.next() >= 64;
            if due {
                first = false;
                if !hand_over(core, &ticket, &mut feed, &mut failed, false) {
                    break;
                }
                job.collect();
            }
        }
        hand_over(core, &ticket, &mut feed, &mut failed, true);
        job
    }
}

/// A map on its way: from [`Pool::map_async`]. Python's `MapResult`.
///
/// Dropped, its tasks are cancelled: those that have not begun never do.
#[must_use = "what has not begun is cancelled when this is dropped"]
pub struct MapJob<T> {
    core: Arc<Core>,
    ticket: Ticket,
    progress: Progress,
    /// How many outcomes have come.
    received: usize,
    /// What has come so far: few errors, and each of them is large.
    values: Vec<Option<T>>,
    errors: BTreeMap<usize, TaskError>,
}

impl<T> fmt::Debug for MapJob<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapJob").field("process", &self.ticket.process).finish_non_exhaustive()
    }
}

impl<T> MapJob<T> {
    fn new(core: Arc<Core>, ticket: Ticket, progress: Progress) -> Self {
        Self { core, ticket, progress, received: 0, values: Vec::new(), errors: BTreeMap::new() }
    }

    /// Whether all is done. Python's `ready()`.
    pub fn is_ready(&self) -> bool {
        self.wait_timeout(Duration::ZERO)
    }

    /// Waits until all is done, but no longer than `timeout`; says whether it is. Python's
    /// `wait(timeout)`.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Wait::at_most(timeout))
    }

    fn wait_until(&self, wait: Wait) -> bool {
        let id = self.ticket.id;
        let done =
            self.core.wait_for(wait, Some(id), |desks| desks.state.is_done(id).then_some(()));
        done.is_some()
    }

    /// Has no more of its tasks begin, and ends those that run: their workers are killed, and others
    /// take their place.
    pub fn cancel(&self) {
        self.core.cancel(self.ticket.id);
    }
}

impl<T: DeserializeOwned> MapJob<T> {
    /// Takes what has come.
    fn collect(&mut self) {
        let (inbox, total) = {
            let mut state = self.core.lock();
            let Some(batch) = state.batch(self.ticket.id) else { return };
            (std::mem::take(&mut batch.inbox), batch.total)
        };
        if !inbox.is_empty() {
            self.open(inbox);
        }
        self.progress.show(self.received, total);
    }

    fn open(&mut self, inbox: super::batch::Inbox) {
        let Self { values, errors, ticket, received, .. } = self;
        let errors = std::cell::RefCell::new(errors);
        *received += inbox.len();
        inbox.each(
            |index, bytes, fds| match decode(ticket.task(index), bytes, fds) {
                Ok(value) if index == values.len() => values.push(Some(value)),
                Ok(value) => {
                    if values.len() <= index {
                        values.resize_with(index + 1, || None);
                    }
                    values[index] = Some(value);
                }
                Err(error) => drop(errors.borrow_mut().insert(index, error)),
            },
            |index, error| drop(errors.borrow_mut().insert(index, error)),
        );
    }

    /// Takes the rest, when all is done; gives how many there should be, and why not all are.
    fn finish(&mut self) -> (usize, Option<Ending>, bool) {
        let core = Arc::clone(&self.core);
        let _attending = Attending::new(&core);
        loop {
            // What comes meanwhile is decoded meanwhile.
            let id = self.ticket.id;
            let done = core.wait_for(Wait::Forever, Some(id), |desks| {
                desks.state.attended = true;
                match desks.state.batch(id) {
                    Some(batch) if batch.is_done() => Some(true),
                    Some(batch) if !batch.inbox.is_empty() => Some(false),
                    Some(_) => None,
                    None => Some(true),
                }
            });
            self.collect();
            if done == Some(true) {
                break;
            }
        }
        let taken = self.values.len();
        match self.core.lock().remove(self.ticket.id) {
            Some(Batch { total, ending, may_have_run, .. }) => {
                let total = total.unwrap_or(taken).max(usize::from(ending.is_some()));
                (total, ending, may_have_run)
            }
            None => (taken, None, false),
        }
    }

    /// The error of an input that has no value.
    fn missing(
        errors: &mut BTreeMap<usize, TaskError>,
        ticket: Ticket,
        index: usize,
        (ending, may_have_run): &(Option<Ending>, bool),
    ) -> TaskError {
        errors.remove(&index).unwrap_or_else(|| {
            let ending = ending.as_ref().unwrap_or(&Ending::Closed);
            ending.error(ticket.task(index), *may_have_run)
        })
    }

    /// Waits until all is done, and gives the results in the order of the inputs. Python's `get()`.
    ///
    /// # Errors
    /// As [`Pool::map`].
    pub fn wait(self) -> Result<Vec<T>, TaskError> {
        self.results()
    }

    /// All values, where there are any, when all is done; and why others may be missing.
    fn gather(&mut self) -> (Vec<Option<T>>, (Option<Ending>, bool)) {
        let (total, ending, may_have_run) = self.finish();
        let mut values = std::mem::take(&mut self.values);
        values.resize_with(total, || None);
        (values, (ending, may_have_run))
    }

    fn results(mut self) -> Result<Vec<T>, TaskError> {
        let (values, why) = self.gather();
        if let Some(index) = values.iter().position(Option::is_none) {
            return Err(Self::missing(&mut self.errors, self.ticket, index, &why));
        }
        Ok(values.into_iter().flatten().collect())
    }

    fn outcomes(mut self) -> Vec<Result<T, TaskError>> {
        let (values, why) = self.gather();
        let outcome = |(index, value): (usize, Option<T>)| {
            value.ok_or_else(|| Self::missing(&mut self.errors, self.ticket, index, &why))
        };
        values.into_iter().enumerate().map(outcome).collect()
    }
}

impl<T> Drop for MapJob<T> {
    fn drop(&mut self) {
        forget(&self.core, self.ticket);
    }
}
