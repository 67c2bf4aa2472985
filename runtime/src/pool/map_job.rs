//! A map on its way, and what has come of it so far.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::batch::{Batch, Ending, Inbox};
use super::core::Core;
use super::error::TaskError;
use super::feed::{Attending, Ticket, Unwanted};
use super::handle::{Handle, common_to_jobs};
use super::job::decode;
use super::map::Progress;
use crate::sys::poll::Wait;
use crate::wait::Waitable;
use crate::wait::sealed::Sealed;

/// A map on its way: from [`Pool::map_async`](crate::Pool::map_async). Python's `MapResult`.
///
/// Dropped, its tasks run all the same, and what comes of them is thrown away.
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
/// let job = pool.map_async(square, 0..100);
/// // ... something else meanwhile ...
/// assert_eq!(job.wait()?.len(), 100);
/// # Ok(())
/// # }
/// ```
#[must_use = "what comes of the tasks is thrown away unless it is waited for"]
pub struct MapJob<T> {
    handle: Handle,
    outcomes: Outcomes<T>,
}

common_to_jobs!(MapJob: "all");

impl<T> MapJob<T> {
    pub(super) fn new(core: Arc<Core>, outcomes: Outcomes<T>) -> Self {
        Self { handle: Handle::new(core, outcomes.ticket.id), outcomes }
    }

    /// Has no more of its tasks begin, and ends those that run: their workers are killed, and others
    /// take their place. True if not all was done yet: [`wait`](Self::wait) then gives
    /// [`TaskError::Cancelled`].
    pub fn cancel(&self) -> bool {
        self.handle.cancel()
    }
}

impl<T: DeserializeOwned> MapJob<T> {
    /// Waits until all is done, and gives the results in the order of the inputs. Python's `get()`.
    ///
    /// # Errors
    /// As [`Pool::map`](crate::Pool::map).
    pub fn wait(mut self) -> Result<Vec<T>, TaskError> {
        let end = self.finish();
        self.outcomes.results(end)
    }

    /// The same, with every outcome.
    pub(super) fn settle(mut self) -> Vec<Result<T, TaskError>> {
        let end = self.finish();
        self.outcomes.settled(end)
    }

    /// Takes the rest, when all is done.
    fn finish(&mut self) -> End {
        let (core, id) = (self.handle.core(), self.handle.id());
        let _attending = Attending::new(core);
        let unwanted = Unwanted { core, ticket: self.outcomes.ticket };
        loop {
            // What comes meanwhile is decoded meanwhile.
            let done = core.wait_for(Wait::Forever, Some(id), |desks| {
                desks.state.attended = true;
                match desks.state.batch(id) {
                    Some(batch) if batch.is_done() => Some(true),
                    Some(batch) if !batch.inbox.is_empty() => Some(false),
                    Some(_) => None,
                    None => Some(true),
                }
            });
            self.outcomes.collect(core);
            if done == Some(true) {
                break;
            }
        }
        std::mem::forget(unwanted);
        let batch = core.lock().remove(id);
        self.outcomes.end(batch.as_ref())
    }

    /// Has `callback` called with what [`wait`](Self::wait) would give, on the pool's own thread: see
    /// [`Job::on_done`](crate::Job::on_done). Python's `callback` and `error_callback`.
    ///
    /// ```
    /// use offspring::{Pool, process};
    /// use std::sync::mpsc;
    ///
    /// #[process]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::new(2)?;
    /// let (tx, rx) = mpsc::channel();
    /// pool.map_async(square, 0..4).on_done(move |results| tx.send(results.unwrap()).unwrap());
    /// assert_eq!(rx.recv()?, [0, 1, 4, 9]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_done(self, callback: impl FnOnce(Result<Vec<T>, TaskError>) + Send + 'static)
    where
        T: Send + 'static,
    {
        let Self { handle, mut outcomes } = self;
        handle.core().call_when_done(handle.id(), move |mut batch| {
            Box::new(move || {
                outcomes.open(&mut batch.inbox);
                let end = outcomes.end(Some(&batch));
                callback(outcomes.results(end));
            })
        });
    }
}

/// How a map has ended.
#[derive(Debug)]
struct End {
    /// How many outcomes there are.
    total: usize,
    /// Why some are missing, and whether their tasks may have run.
    ending: Option<Ending>,
    may_have_run: bool,
}

/// What has come of a map so far.
#[derive(Debug)]
pub(super) struct Outcomes<T> {
    ticket: Ticket,
    progress: Progress,
    /// How many inputs there were.
    pub(super) inputs: usize,
    /// How many outcomes have come.
    received: usize,
    /// Where what comes is fetched to: kept, so that there is room.
    inbox: Inbox,
    /// Few errors, and each of them is large.
    values: Vec<Option<T>>,
    errors: BTreeMap<usize, TaskError>,
}

impl<T> Outcomes<T> {
    pub(super) fn new(ticket: Ticket, progress: Progress) -> Self {
        let (inbox, values, errors) = (Inbox::default(), Vec::new(), BTreeMap::new());
        Self { ticket, progress, inputs: 0, received: 0, inbox, values, errors }
    }

    fn end(&self, batch: Option<&Batch>) -> End {
        let ending = batch.and_then(|batch| batch.ending.clone());
        let total = match (&ending, batch.and_then(|batch| batch.total)) {
            (None, Some(total)) => total,
            // It was ended by something else than its own tasks.
            _ => self.inputs,
        };
        End { total, ending, may_have_run: batch.is_some_and(|batch| batch.may_have_run) }
    }

    /// The error of an input that has no value.
    fn missing(&mut self, index: usize, end: &End) -> TaskError {
        self.errors.remove(&index).unwrap_or_else(|| {
            let ending = end.ending.as_ref().unwrap_or(&Ending::Closed);
            ending.error(self.ticket.task(index), end.may_have_run)
        })
    }

    fn take_values(&mut self, end: &End) -> Vec<Option<T>> {
        let mut values = std::mem::take(&mut self.values);
        values.resize_with(end.total, || None);
        values
    }

    fn results(mut self, end: End) -> Result<Vec<T>, TaskError> {
        let values = self.take_values(&end);
        let missing = values.iter().position(Option::is_none);
        // (All values may be there of a map that was ended before all of its inputs were taken.)
        let missing = missing.or_else(|| end.ending.is_some().then_some(values.len()));
        match missing {
            Some(index) => Err(self.missing(index, &end)),
            None => Ok(values.into_iter().flatten().collect()),
        }
    }

    fn settled(mut self, end: End) -> Vec<Result<T, TaskError>> {
        let values = self.take_values(&end).into_iter().enumerate();
        values.map(|(index, value)| value.ok_or_else(|| self.missing(index, &end))).collect()
    }
}

impl<T: DeserializeOwned> Outcomes<T> {
    /// Takes what has come.
    pub(super) fn collect(&mut self, core: &Core) {
        let mut inbox = std::mem::take(&mut self.inbox);
        let total = {
            let mut state = core.lock();
            let Some(batch) = state.batch(self.ticket.id) else { return };
            std::mem::swap(&mut inbox, &mut batch.inbox);
            batch.total
        };
        self.open(&mut inbox);
        self.inbox = inbox;
        self.progress.show(self.received, total);
    }

    fn open(&mut self, inbox: &mut Inbox) {
        let Self { values, errors, ticket, .. } = self;
        self.received += inbox.len();
        inbox.drain(|came| {
            decode(
                came,
                |index| ticket.task(index),
                |index, result| match result {
                    Ok(value) if index == values.len() => values.push(Some(value)),
                    Ok(value) => {
                        if values.len() <= index {
                            values.resize_with(index + 1, || None);
                        }
                        values[index] = Some(value);
                    }
                    Err(error) => drop(errors.insert(index, error)),
                },
            );
        });
    }
}
