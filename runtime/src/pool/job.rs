//! A task on its way.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::batch::{Batch, Came, Fate, Inbox};
use super::core::Core;
use super::dispatch::BatchId;
use super::error::{Task, TaskError};
use super::handle::{Handle, common_to_jobs};
use crate::sys::poll::Wait;
use crate::wait::Waitable;
use crate::wait::sealed::Sealed;
use crate::wire::{self, DecodeError};

/// A task that a [`Pool`](crate::Pool) was given: what comes of it will be here. Python's
/// `AsyncResult`, and `concurrent.futures.Future`.
///
/// Dropped, the task runs all the same, and what comes of it is thrown away.
///
/// ```
/// use offspring::{Pool, process};
///
/// #[process]
/// fn length(text: String) -> usize {
///     text.len()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::new(2)?;
/// let job = pool.submit(length("elephant".into()));
/// // ... something else meanwhile ...
/// assert_eq!(job.wait()?, 8);
/// # Ok(())
/// # }
/// ```
#[must_use = "what comes of the task is thrown away unless it is waited for"]
pub struct Job<T> {
    handle: Handle,
    value: PhantomData<fn() -> T>,
}

common_to_jobs!(Job: "it");

/// The one outcome of a batch of one task.
pub(super) fn outcome<T: DeserializeOwned>(batch: Batch) -> Result<T, TaskError> {
    let task = batch.task(0);
    one(task, batch.inbox).unwrap_or_else(|| {
        let ending = batch.ending.unwrap_or(super::batch::Ending::Closed);
        Err(ending.error(task, batch.may_have_run))
    })
}

fn one<T: DeserializeOwned>(task: Task, mut inbox: Inbox) -> Option<Result<T, TaskError>> {
    let mut one = None;
    inbox.drain(|came| decode(came, |_| task, |_, result| one = Some(result)));
    one
}

/// The results that something is which has come, each with the index of its input. `task` names
/// what is not one.
#[inline]
pub(super) fn decode<T: DeserializeOwned>(
    came: Came<'_>,
    task: impl Fn(usize) -> Task,
    mut each: impl FnMut(usize, Result<T, TaskError>),
) {
    let undecodable = |index, error: DecodeError| {
        let (task, reason) = (task(index), error.to_string());
        TaskError::Decode { task, reason, may_have_run: true }
    };
    match came {
        Came::Values(first, replies) => {
            let mut index = first;
            wire::decode_each(replies, |value| {
                each(index, value.map_err(|error| undecodable(index, error)));
                index += 1;
            });
        }
        Came::Fate(index, Fate::Value(bytes, fds)) => {
            each(index, wire::decode(&bytes, fds).map_err(|error| undecodable(index, error)));
        }
        Came::Fate(index, Fate::Failed(error)) => each(index, Err(error)),
    }
}

impl<T> Job<T> {
    pub(super) fn new(core: Arc<Core>, batch: BatchId) -> Self {
        Self { handle: Handle::new(core, batch), value: PhantomData }
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Has the task not run, or no longer. True if it was not done yet: [`wait`](Self::wait) then gives
    /// [`TaskError::Cancelled`], at once.
    ///
    /// If it runs, its worker is killed, and another takes that one's place; no other task is touched.
    pub fn cancel(&self) -> bool {
        self.handle.cancel()
    }
}

impl<T: DeserializeOwned> Job<T> {
    /// Waits until the task is done, and gives its value. Python's `get()`.
    ///
    /// # Errors
    /// A [`TaskError`] says why there is none.
    pub fn wait(self) -> Result<T, TaskError> {
        let id = self.handle.id();
        let batch = self.handle.core().wait_for(Wait::Forever, Some(id), |desks| {
            desks.state.is_done(id).then(|| desks.state.remove(id))?
        });
        outcome(batch.expect("a job's batch is there until it is taken"))
    }

    /// Has `callback` called with what comes of it, on the pool's own thread (on this one, if the pool
    /// has ended). Python's `callback` and `error_callback`.
    ///
    /// It should not take long: while it runs, no other callback does, and no worker is replaced, unless it
    /// waits for another task of the pool, which it may. A panic in it is printed.
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
    /// pool.submit(square(5)).on_done(move |result| tx.send(result.unwrap()).unwrap());
    /// assert_eq!(rx.recv()?, 25);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_done(self, callback: impl FnOnce(Result<T, TaskError>) + Send + 'static) {
        let (core, id) = (self.handle.core(), self.handle.id());
        core.call_when_done(id, move |batch| Box::new(move || callback(outcome(batch))));
    }
}
