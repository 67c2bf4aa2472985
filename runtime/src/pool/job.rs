//! A task on its way.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock, PoisonError};

use std::time::Duration;
use std::{fmt, ptr};

use serde::de::DeserializeOwned;

use super::batch::{Batch, Finished, Inbox};
use super::core::Core;
use super::dispatch::{BatchId, Desks};
use super::error::{Task, TaskError};
use crate::sys::event::new_event;
use crate::sys::fd::duplicate;
use crate::sys::poll::Wait;
use crate::wait::Waitable;
use crate::wait::sealed::Sealed;
use crate::wire;

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
    core: Arc<Core>,
    batch: BatchId,
    /// It was taken out of the pool, by a callback or with its value.
    taken: bool,
    /// Can be read when it is done: for [`wait`](crate::wait()).
    bell: OnceLock<OwnedFd>,
    value: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("is_ready", &self.is_ready()).finish_non_exhaustive()
    }
}

/// The one outcome of a batch of one task.
pub(super) fn outcome<T: DeserializeOwned>(batch: Batch) -> Result<T, TaskError> {
    let task = batch.task(0);
    one(task, batch.inbox).unwrap_or_else(|| {
        let ending = batch.ending.unwrap_or(super::batch::Ending::Closed);
        Err(ending.error(task, batch.may_have_run))
    })
}

fn one<T: DeserializeOwned>(task: Task, inbox: Inbox) -> Option<Result<T, TaskError>> {
    let (mut value, mut failed) = (None, None);
    inbox.each(
        |_, bytes, fds| value = Some(decode(task, bytes, fds)),
        |_, error| failed = Some(Err(error)),
    );
    value.or(failed)
}

/// The value that a task has given.
#[inline]
pub(super) fn decode<T: DeserializeOwned>(
    task: Task,
    bytes: &[u8],
    fds: Vec<std::os::fd::OwnedFd>,
) -> Result<T, TaskError> {
    wire::decode(bytes, fds).map_err(|error| TaskError::Decode {
        task,
        reason: error.to_string(),
        ran: true,
    })
}

impl<T> Job<T> {
    pub(super) fn new(core: Arc<Core>, batch: BatchId) -> Self {
        Self { core, batch, taken: false, bell: OnceLock::new(), value: PhantomData }
    }

    /// Whether what comes of it is there, so that [`wait`](Self::wait) would return at once. Python's
    /// `ready()`.
    pub fn is_ready(&self) -> bool {
        self.core.wait_for(Wait::Never, Some(self.batch), |desks| self.done(desks)).is_some()
    }

    fn done(&self, desks: &mut Desks<'_>) -> Option<()> {
        desks.state.is_done(self.batch).then_some(())
    }

    /// Waits until it is done, but no longer than `timeout`; says whether it is. Python's
    /// `wait(timeout)`.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let wait = Wait::at_most(timeout);
        self.core.wait_for(wait, Some(self.batch), |desks| self.done(desks)).is_some()
    }

    /// Has the task not run, or no longer. True if it was not done yet: [`wait`](Self::wait) then gives
    /// [`TaskError::Cancelled`], at once.
    ///
    /// If it runs, its worker is killed, and another takes that one's place; no other task is touched.
    pub fn cancel(&self) -> bool {
        self.core.cancel(self.batch)
    }
}

impl<T: DeserializeOwned> Job<T> {
    /// Waits until the task is done, and gives its value. Python's `get()`.
    ///
    /// # Errors
    /// A [`TaskError`] says why there is none.
    pub fn wait(mut self) -> Result<T, TaskError> {
        self.taken = true;
        let batch = self.core.wait_for(Wait::Forever, Some(self.batch), |desks| {
            self.done(desks).and_then(|()| desks.state.remove(self.batch))
        });
        outcome(batch.expect("a job's batch is there until it is taken"))
    }

    /// Has `callback` called with what comes of it, on the pool's own thread (on this one, if the pool
    /// has ended). Python's `callback` and `error_callback`.
    ///
    /// It should not take long: while it runs, that thread does nothing else. A panic in it is printed.
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
    /// pool.submit(square(5)).then(move |result| tx.send(result.unwrap()).unwrap());
    /// assert_eq!(rx.recv()?, 25);
    /// # Ok(())
    /// # }
    /// ```
    pub fn then(mut self, callback: impl FnOnce(Result<T, TaskError>) + Send + 'static) {
        self.taken = true;
        let mut state = self.core.lock();
        let Some(batch) = state.batch(self.batch) else { return };
        let run = move |batch: Batch| -> Box<dyn FnOnce() + Send> {
            Box::new(move || callback(outcome(batch)))
        };
        if batch.is_done() {
            if let Some(batch) = state.remove(self.batch) {
                let callback = run(batch);
                if state.over {
                    // There is no other thread any more that could.
                    drop(state);
                    return callback();
                }
                state.callbacks.push(callback);
            }
        } else {
            batch.on_done = Some(Box::new(move |batch| {
                let (process, name) = (batch.process, batch.name);
                run(std::mem::replace(batch, Batch::new(process, name)))
            }));
        }
        self.core.hand_over(&mut state);
    }
}

impl<T> Sealed for Job<T> {}
impl<T> Waitable for Job<T> {
    fn readiness(&self) -> BorrowedFd<'_> {
        match self.bell.get() {
            Some(bell) => bell.as_fd(),
            // It could not be made: the pool's own is rung at every reply.
            None => self.core.bell(),
        }
    }

    fn look(&self) -> Option<bool> {
        if self.bell.get().is_none()
            && let Ok(bell) = new_event()
        {
            let _ = self.bell.set(bell);
        }
        let mut state = self.core.lock();
        let mut desks = self.core.desks(&mut state);
        desks.take_replies();
        if let (Some(batch), Some(bell)) = (desks.state.batch(self.batch), self.bell.get())
            && batch.bell.is_none()
        {
            batch.bell = duplicate(bell).ok();
        }
        let done = self.done(&mut desks).is_some();
        self.core.hand_over(&mut state);
        Some(done)
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        if self.taken || self.core.is_foreign() {
            return;
        }
        let mut state = self.core.lock();
        if let Some(batch) = state.batch(self.batch) {
            if batch.is_done() {
                state.remove(self.batch);
            } else {
                batch.abandoned = true;
            }
        }
    }
}

/// Waits until one of `jobs` is done, and gives its place; the first of those that are. `None` when
/// the time is up, or there are none. `timeout` is a `Duration`, or `None` for as long as it takes. Python's
/// `concurrent.futures.wait(.., FIRST_COMPLETED)`.
///
/// # Panics
/// If the jobs are of several pools.
///
/// ```
/// use offspring::{Pool, process, wait_any};
/// use std::time::Duration;
///
/// #[process]
/// fn nap(millis: u64) -> u64 {
///     std::thread::sleep(Duration::from_millis(millis));
///     millis
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::new(2)?;
/// let jobs = [pool.submit(nap(600_000)), pool.submit(nap(1))];
/// assert_eq!(wait_any(&jobs, None), Some(1));
/// # Ok(())
/// # }
/// ```
pub fn wait_any<T>(jobs: &[Job<T>], timeout: impl Into<Option<Duration>>) -> Option<usize> {
    let wait = timeout.into().map_or(Wait::Forever, Wait::at_most);
    let core = &jobs.first()?.core;
    assert!(jobs.iter().all(|job| Arc::ptr_eq(&job.core, core)), "jobs of several pools");
    core.wait_for(wait, None, |desks| jobs.iter().position(|job| job.done(desks).is_some()))
}

/// What comes of `jobs`, each as soon as it is done, with its place among them. Python's
/// `concurrent.futures.as_completed`.
///
/// # Panics
/// When it is asked for the first: if the jobs are of several pools.
///
/// ```
/// use offspring::{Pool, as_completed, process};
///
/// #[process]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::new(2)?;
/// let jobs = (0..10).map(|x| pool.submit(square(x)));
/// let mut sum = 0;
/// for (place, result) in as_completed(jobs) {
///     let value = result?;
///     assert_eq!(value, (place * place) as u64);
///     sum += value;
/// }
/// assert_eq!(sum, 285);
/// # Ok(())
/// # }
/// ```
pub fn as_completed<T: DeserializeOwned>(jobs: impl IntoIterator<Item = Job<T>>) -> AsCompleted<T> {
    let jobs = jobs.into_iter().enumerate().map(|(place, job)| (job.batch, (place, job)));
    AsCompleted { jobs: jobs.collect(), finished: None }
}

/// Jobs, as they are done: from [`as_completed`].
#[derive(Debug)]
#[must_use = "an iterator waits for nothing until it is asked"]
pub struct AsCompleted<T> {
    /// Those that were not given, and their places.
    jobs: BTreeMap<BatchId, (usize, Job<T>)>,
    /// Those of them that are done.
    finished: Option<Finished>,
}

impl<T> AsCompleted<T> {
    /// Has all that are not done be told when they are; those that are stand there already.
    fn enlist(&self, core: &Core) -> Finished {
        let same = self.jobs.values().all(|(_, job)| ptr::eq(&*job.core, core));
        assert!(same, "jobs of several pools");
        let mut done: Vec<_> = Vec::new();
        let finished = Finished::default();
        let mut state = core.lock();
        for (id, (place, _)) in &self.jobs {
            match state.batch(*id) {
                Some(batch) if !batch.is_done() => batch.finished = Some(Arc::clone(&finished)),
                _ => done.push((*place, *id)),
            }
        }
        // Nothing is done meanwhile, as the state is locked.
        done.sort_unstable();
        let all = done.into_iter().map(|(_, id)| id);
        finished.lock().unwrap_or_else(PoisonError::into_inner).extend(all);
        drop(state);
        finished
    }
}

impl<T: DeserializeOwned> Iterator for AsCompleted<T> {
    type Item = (usize, Result<T, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        let core = Arc::clone(&self.jobs.first_key_value()?.1.1.core);
        let finished = match &self.finished {
            Some(finished) => finished,
            None => self.finished.insert(self.enlist(&core)),
        };
        let first =
            |_: &mut Desks<'_>| finished.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let next = core.wait_for(Wait::Forever, None, first)?;
        let (place, job) = self.jobs.remove(&next)?;
        Some((place, job.wait()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.jobs.len(), Some(self.jobs.len()))
    }
}
