//! Several jobs: the first that is done, and all of them as they are.

use std::collections::BTreeMap;
use std::iter::FusedIterator;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::batch::Finished;
use super::core::Core;
use super::dispatch::{BatchId, Desks};
use super::error::TaskError;
use super::job::Job;
use crate::sys::poll::Wait;

/// Waits until one of `jobs` is done, and gives its place; the first of those that are. `None` if there
/// are none at all. Python's `concurrent.futures.wait(.., FIRST_COMPLETED)`.
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
/// assert_eq!(wait_any(&jobs), Some(1));
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn wait_any<T>(jobs: &[Job<T>]) -> Option<usize> {
    first_of(jobs, Wait::Forever)
}

/// As [`wait_any`], for at most `timeout`, by the monotonic clock: `None` as well if none is done then.
/// Python's `concurrent.futures.wait(.., timeout, FIRST_COMPLETED)`.
///
/// # Panics
/// As [`wait_any`].
///
/// ```
/// use offspring::{Pool, process, wait_any_timeout};
/// use std::time::Duration;
///
/// #[process]
/// fn nap(millis: u64) {
///     std::thread::sleep(Duration::from_millis(millis));
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::new(1)?;
/// let jobs = [pool.submit(nap(600_000))];
/// assert_eq!(wait_any_timeout(&jobs, Duration::from_millis(5)), None);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn wait_any_timeout<T>(jobs: &[Job<T>], timeout: Duration) -> Option<usize> {
    first_of(jobs, Wait::at_most(timeout))
}

#[track_caller]
fn first_of<T>(jobs: &[Job<T>], wait: Wait) -> Option<usize> {
    let core = jobs.first()?.handle().core();
    let same = jobs.iter().all(|job| Arc::ptr_eq(job.handle().core(), core));
    assert!(same, "jobs of several pools");
    core.wait_for(wait, None, |desks| {
        jobs.iter().position(|job| desks.state.is_done(job.handle().id()))
    })
}

/// What comes of `jobs`, each as soon as it is done, with its place among them. Python's
/// `concurrent.futures.as_completed`.
///
/// # Panics
/// If the jobs are of several pools.
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
#[track_caller]
pub fn as_completed<T: DeserializeOwned>(jobs: impl IntoIterator<Item = Job<T>>) -> AsCompleted<T> {
    let mut all = BTreeMap::new();
    for (place, job) in jobs.into_iter().enumerate() {
        if let Some((_, (_, other))) = all.first_key_value() {
            let other: &Job<T> = other;
            let same = Arc::ptr_eq(other.handle().core(), job.handle().core());
            assert!(same, "jobs of several pools");
        }
        all.insert(job.handle().id(), (place, job));
    }
    AsCompleted { jobs: all, finished: None }
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
        let core = Arc::clone(self.jobs.first_key_value()?.1.1.handle().core());
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

impl<T: DeserializeOwned> ExactSizeIterator for AsCompleted<T> {}
impl<T: DeserializeOwned> FusedIterator for AsCompleted<T> {}
