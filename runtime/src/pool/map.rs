//! Maps: many tasks of one kind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::batch::{Batch, Ending, Fate};
use super::core::Core;
use super::error::TaskError;
use super::job::decode;
use super::pool::{Feed, Pool, Ticket, chunk_size};
use crate::process::Process;
use crate::process::registry::{self, Registered};
use crate::sys::poll::Wait;

/// How many bytes of tasks are encoded before they are handed over.
const HAND_OVER: usize = 32 << 10;

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
        Imap { lazy: Lazy::new(self, task, inputs.into_iter()), next: 0 }
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
        ImapUnordered { lazy: Lazy::new(self, task, inputs.into_iter()) }
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

/// A thread attends to a map, as long as this is there.
struct Attending<'a>(&'a Core);

impl<'a> Attending<'a> {
    fn new(core: &'a Core) -> Self {
        core.lock().attendants += 1;
        Self(core)
    }
}

impl Drop for Attending<'_> {
    fn drop(&mut self) {
        self.0.lock().attendants -= 1;
    }
}

/// Hands over what was encoded since; says whether more is wanted.
fn hand_over(
    core: &Core,
    ticket: &Ticket,
    feed: &mut Feed,
    failed: &mut Vec<(usize, String)>,
    last: bool,
) -> bool {
    let segments = feed.take();
    let mut state = core.lock();
    let mut desks = core.desks(&mut state);
    if let Some(batch) = desks.state.batch(ticket.id) {
        let wanted = !batch.is_done() && batch.end == usize::MAX;
        if wanted {
            segments.into_iter().for_each(|segment| batch.add(segment));
            if last {
                batch.total = Some(feed.next());
            }
        }
    }
    for (index, reason) in failed.drain(..) {
        let error = TaskError::Encode { task: ticket.task(index), reason, ran: false };
        desks.deliver(ticket.id, index, Fate::Failed(error));
    }
    desks.enlist(ticket.id);
    desks.take_replies();
    if last {
        desks.check(ticket.id);
    }
    let wanted = desks
        .state
        .batch(ticket.id)
        .is_some_and(|batch| !batch.is_done() && batch.end == usize::MAX);
    let full = desks.is_full(ticket.id);
    state.attended = true;
    core.hand_over(&mut state);
    drop(state);
    if wanted && full && !last {
        // Not more than a few are kept here.
        core.wait_for(Wait::Forever, Some(ticket.id), |desks| {
            (!desks.is_full(ticket.id)).then_some(())
        });
    }
    wanted
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

/// Nobody wants what is left of a batch.
fn forget(core: &Core, ticket: Ticket) {
    if core.is_foreign() {
        return;
    }
    let mut state = core.lock();
    if state.batch(ticket.id).is_some() {
        core.desks(&mut state).cancel(ticket.id, false);
        state.remove(ticket.id);
        core.hand_over(&mut state);
    }
}

/// A map whose inputs are taken as they are needed.
struct Lazy<'a, P: Process, F, I> {
    pool: &'a Pool,
    ticket: Ticket,
    task: F,
    inputs: Option<I>,
    feed: Feed,
    /// How many outcomes were given.
    given: usize,
    window: usize,
    fixed_window: bool,
    /// What has come and was not given.
    come: BTreeMap<usize, Result<P::Output, TaskError>>,
}

impl<'a, P, F, I> Lazy<'a, P, F, I>
where
    P: Process,
    F: FnMut(I::Item) -> P,
    I: Iterator,
{
    fn new(mapper: &Mapper<'a>, task: F, inputs: I) -> Self {
        let workers = mapper.pool.workers();
        let fixed_window = mapper.window > 0;
        let window = if fixed_window {
            mapper.window
        } else {
            4 * workers * mapper.chunk_size.unwrap_or(1) as usize
        };
        Self {
            pool: mapper.pool,
            ticket: mapper.enter::<P>(false),
            task,
            inputs: Some(inputs),
            feed: Feed::new(0),
            given: 0,
            window,
            fixed_window,
            come: BTreeMap::new(),
        }
    }

    /// Takes inputs until the window is full.
    fn fill(&mut self) {
        let Some(inputs) = &mut self.inputs else { return };
        let mut failed = Vec::new();
        let before = self.feed.next();
        let mut ended = false;
        while self.feed.next() - self.given < self.window && self.feed.len() < HAND_OVER {
            let Some(input) = inputs.next() else {
                ended = true;
                break;
            };
            let index = self.feed.next();
            if let Err(reason) = self.feed.add(&(self.task)(input)) {
                failed.push((index, reason));
            }
        }
        if ended {
            self.inputs = None;
        }
        if ended || self.feed.next() > before {
            hand_over(self.pool.core(), &self.ticket, &mut self.feed, &mut failed, ended);
        }
    }

    /// Waits until `take` has found what it wants in what has come; `None` at the end.
    fn next(
        &mut self,
        take: impl Fn(
            &mut BTreeMap<usize, Result<P::Output, TaskError>>,
        ) -> Option<Result<P::Output, TaskError>>,
    ) -> Option<Result<P::Output, TaskError>> {
        let id = self.ticket.id;
        loop {
            if let Some(result) = take(&mut self.come) {
                self.given += 1;
                return Some(result);
            }
            if self.inputs.is_none() && self.given >= self.feed.next() {
                return None;
            }
            self.fill();
            if self.inputs.is_none() && self.given >= self.feed.next() {
                return None;
            }
            let waited = std::cell::Cell::new(false);
            let came = self.pool.core().wait_for(Wait::Forever, Some(id), |desks| {
                let batch = desks.state.batch(id)?;
                if batch.inbox.is_empty() && !batch.is_done() {
                    waited.set(true);
                    return None;
                }
                let inbox = std::mem::take(&mut batch.inbox);
                Some((inbox, batch.ending.clone(), batch.may_have_run))
            });
            let Some((inbox, ending, may_have_run)) = came else { continue };
            // The workers were quicker than this one: they are given more at a time.
            if !self.fixed_window && !waited.get() {
                self.window = (self.window * 2).min(1 << 14);
            }
            let ticket = self.ticket;
            let come = std::cell::RefCell::new(&mut self.come);
            inbox.each(
                |index, bytes, fds| {
                    come.borrow_mut().insert(index, decode(ticket.task(index), bytes, fds));
                },
                |index, error| drop(come.borrow_mut().insert(index, Err(error))),
            );
            if let Some(ending) = ending {
                // Whatever is missing will not come.
                self.inputs = None;
                for index in self.given..self.feed.next() {
                    let error = || Err(ending.error(ticket.task(index), may_have_run));
                    self.come.entry(index).or_insert_with(error);
                }
                if self.come.is_empty() {
                    return None;
                }
            }
        }
    }
}

impl<P: Process, F, I> Lazy<'_, P, F, I> {
    fn size_hint(&self) -> (usize, Option<usize>)
    where
        I: Iterator,
    {
        let taken = self.feed.next() - self.given;
        match &self.inputs {
            None => (taken, Some(taken)),
            Some(inputs) => {
                let (low, high) = inputs.size_hint();
                (low.saturating_add(taken), high.and_then(|high| high.checked_add(taken)))
            }
        }
    }
}

impl<P: Process, F, I> Drop for Lazy<'_, P, F, I> {
    fn drop(&mut self) {
        forget(self.pool.core(), self.ticket);
    }
}

/// The outcomes of a map in the order of its inputs: from [`Pool::imap`].
#[must_use = "an iterator does nothing until it is asked"]
pub struct Imap<'a, P: Process, F, I> {
    lazy: Lazy<'a, P, F, I>,
    next: usize,
}

impl<P: Process, F, I> fmt::Debug for Imap<'_, P, F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("process", &self.lazy.ticket.process).finish_non_exhaustive()
    }
}

impl<P, F, I> Iterator for Imap<'_, P, F, I>
where
    P: Process,
    F: FnMut(I::Item) -> P,
    I: Iterator,
{
    type Item = Result<P::Output, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let wanted = self.next;
        let next = self.lazy.next(|come| come.remove(&wanted))?;
        self.next += 1;
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lazy.size_hint()
    }
}

/// The outcomes of a map as they come: from [`Pool::imap_unordered`].
///
/// Which input an outcome is for, an error [tells](TaskError::task); a value has to hold it itself.
#[must_use = "an iterator does nothing until it is asked"]
pub struct ImapUnordered<'a, P: Process, F, I> {
    lazy: Lazy<'a, P, F, I>,
}

impl<P: Process, F, I> fmt::Debug for ImapUnordered<'_, P, F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered")
            .field("process", &self.lazy.ticket.process)
            .finish_non_exhaustive()
    }
}

impl<P, F, I> Iterator for ImapUnordered<'_, P, F, I>
where
    P: Process,
    F: FnMut(I::Item) -> P,
    I: Iterator,
{
    type Item = Result<P::Output, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.lazy.next(|come| come.pop_first().map(|(_, result)| result))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lazy.size_hint()
    }
}
