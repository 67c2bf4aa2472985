//! Many items at once: putting them, getting them, and what can go wrong with that.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::core::GetProblem;
use super::errors::{
    GetError, GetTimeoutError, Problem, PutError, PutTimeoutError, TryGetError, TryPutError,
};
use super::handle::Queue;
use crate::sys::poll::Wait;
use crate::wire::{self, Scratch};

/// So many bytes are put at a time.
const BATCH: usize = 64 << 10;
/// So many items, as some have no bytes.
const BATCH_ITEMS: usize = 8 << 10;

impl<T: Serialize> Queue<T> {
    /// Puts many items into the queue, waiting while it is full: as [`put`](Self::put) for each, in order,
    /// but faster, as others are woken only once. Items of other producers may come in between.
    ///
    /// It takes up to 64 KiB of items from `values`, or 8,192, before it puts them: so much is lost if this process
    /// is killed meanwhile, and not seen by others while `values` waits for something.
    ///
    /// # Errors
    /// What was taken from `values` and not put comes back, with the reason. The others stay where they
    /// are: pass `values.by_ref()` to have them.
    ///
    /// ```
    /// use offspring::Queue;
    ///
    /// let queue = Queue::unbounded()?;
    /// queue.put_many(0..1000).unwrap();
    /// assert_eq!(queue.get_many(10).unwrap(), (0..10).collect::<Vec<_>>());
    /// assert_eq!(queue.len(), 990);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutManyError<T>> {
        self.put_many_within(values, Wait::Forever, PutError::new)
    }

    /// Puts as many of these items into the queue as there is room for now: as [`put_many`](Self::put_many),
    /// without waiting.
    ///
    /// # Errors
    /// As [`put_many`](Self::put_many), and [`TryPutError::Full`], with those for which there was no room.
    ///
    /// ```
    /// use offspring::{Queue, queue::TryPutError};
    ///
    /// let queue = Queue::bounded(10)?;
    /// let mut numbers = 0..1000;
    /// let error = queue.try_put_many(numbers.by_ref()).unwrap_err();
    /// assert!(error.error().is_full());
    /// assert_eq!((queue.len(), error.count()), (10, 10));
    /// let mut others = error.into_inner().into_iter().chain(numbers);
    /// assert_eq!(others.next(), Some(10));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn try_put_many(
        &self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<(), PutManyError<T, TryPutError<T>>> {
        self.put_many_within(values, Wait::Never, TryPutError::new)
    }

    /// Puts many items into the queue, if there is room for them before `timeout` has passed: as
    /// [`put_many`](Self::put_many). Those for which there is room are in the queue in any case: as long as
    /// others get them quickly enough, the time is never up.
    ///
    /// # Errors
    /// As [`put_many`](Self::put_many), and [`PutTimeoutError::Timeout`], with those for which there was no
    /// room.
    pub fn put_many_timeout(
        &self,
        values: impl IntoIterator<Item = T>,
        timeout: Duration,
    ) -> Result<(), PutManyError<T, PutTimeoutError<T>>> {
        self.put_many_within(values, Wait::at_most(timeout), PutTimeoutError::new)
    }

    fn put_many_within<E>(
        &self,
        values: impl IntoIterator<Item = T>,
        wait: Wait,
        error: impl Fn(T, Problem) -> E,
    ) -> Result<(), PutManyError<T, E>> {
        let mut values = values.into_iter();
        let mut put = 0;
        loop {
            let mut scratch = Scratch::new();
            let (mut batch, mut ends) = (Vec::new(), Vec::new());
            let expected = values.size_hint().0.min(BATCH / 64);
            batch.reserve(expected);
            ends.reserve(expected);
            let mut special = None;
            for value in values.by_ref() {
                let start = scratch.0.len();
                match wire::encode(&value, &mut scratch.0) {
                    Ok(attached)
                        if attached.fds().is_empty() && scratch.0.len() - start <= BATCH =>
                    {
                        attached.sent();
                        batch.push(value);
                        ends.push(scratch.0.len());
                    }
                    // On its own, in its turn.
                    encoded => {
                        drop(encoded);
                        special = Some(value);
                    }
                }
                if special.is_some() || scratch.0.len() >= BATCH || ends.len() >= BATCH_ITEMS {
                    break;
                }
            }
            if let Err((done, problem)) = self.put_batch(&scratch.0, &ends, wait) {
                let mut rest = batch.into_iter().skip(done).chain(special).collect::<Vec<_>>();
                let first = rest.remove(0);
                return Err(PutManyError::new(put + done, error(first, problem), rest));
            }
            put += ends.len();
            drop(scratch);
            match special {
                Some(value) => {
                    if let Err(problem) = self.put_within(&value, wait) {
                        return Err(PutManyError::new(put, error(value, problem), Vec::new()));
                    }
                    put += 1;
                }
                None if ends.is_empty() => return Ok(()),
                None => {}
            }
        }
    }

    /// Puts plain items that end there; on failure says how many were put.
    fn put_batch(&self, bytes: &[u8], ends: &[usize], wait: Wait) -> Result<(), (usize, Problem)> {
        let mut done = 0;
        while done < ends.len() {
            match self.core.put_some(bytes, ends, done, wait) {
                Ok(more) => done += more,
                Err((more, problem)) => return Err((done + more, Problem::Put(problem))),
            }
        }
        Ok(())
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Waits for an item, and gets all that are there then, but no more than `max`: at least one, unless
    /// `max` is 0. If this process is killed meanwhile, all of these are gone.
    ///
    /// # Errors
    /// As [`get`](Self::get), with what was got before.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetManyError<T>> {
        self.get_many_within(max, Wait::Forever)
    }

    /// Gets all items that are there now, but no more than `max`: at least one, unless `max` is 0.
    ///
    /// # Errors
    /// As [`try_get`](Self::try_get), with what was got before.
    ///
    /// ```
    /// use offspring::{Queue, queue::TryGetError};
    ///
    /// let queue = Queue::unbounded()?;
    /// queue.put_many(0..3).unwrap();
    /// assert_eq!(queue.try_get_many(10).unwrap(), [0, 1, 2]);
    /// let error = queue.try_get_many(10).unwrap_err();
    /// assert!(matches!(error.error(), TryGetError::Empty));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn try_get_many(&self, max: usize) -> Result<Vec<T>, GetManyError<T, TryGetError>> {
        self.get_many_within(max, Wait::Never)
    }

    /// As [`get_many`](Self::get_many), if an item comes before `timeout` has passed. It does not wait for
    /// more than one.
    ///
    /// # Errors
    /// As [`get_timeout`](Self::get_timeout), with what was got before.
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::Queue;
    ///
    /// let queue = Queue::unbounded()?;
    /// queue.put_many(0..3).unwrap();
    /// let items = queue.get_many_timeout(10, Duration::from_secs(5)).unwrap(); // at once
    /// assert_eq!(items, [0, 1, 2]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn get_many_timeout(
        &self,
        max: usize,
        timeout: Duration,
    ) -> Result<Vec<T>, GetManyError<T, GetTimeoutError>> {
        self.get_many_within(max, Wait::at_most(timeout))
    }

    fn get_many_within<E: From<GetProblem>>(
        &self,
        max: usize,
        wait: Wait,
    ) -> Result<Vec<T>, GetManyError<T, E>> {
        let mut items = Vec::new();
        match self.get_into(&mut items, max, wait) {
            Ok(()) => Ok(items),
            Err(problem) => Err(GetManyError { items, error: problem.into() }),
        }
    }

    fn get_into(&self, items: &mut Vec<T>, max: usize, wait: Wait) -> Result<(), GetProblem> {
        while items.len() < max {
            // This one is waited for, if it is the first, and need not be plain, as those after it.
            let wait = if items.is_empty() { wait } else { Wait::Never };
            match self.get_within(wait) {
                Ok(item) => items.push(item),
                Err(GetProblem::TimedOut | GetProblem::Closed) if !items.is_empty() => break,
                Err(problem) => return Err(problem),
            }
            if items.len() == max {
                break;
            }
            let mut scratch = Scratch::new();
            let ends = match self.core.get_some(max - items.len(), &mut scratch.0) {
                Ok(ends) => ends,
                Err(GetProblem::TimedOut) => break,
                Err(problem) => return Err(problem),
            };
            let mut error = None;
            let mut from = 0;
            items.reserve(ends.len());
            for &to in &ends {
                match wire::decode(&scratch.0[from..to], Vec::new()) {
                    Ok(item) => items.push(item),
                    // Those after it were taken as well, so they are not to be lost.
                    Err(wrong) => error = error.or(Some(wrong)),
                }
                from = to;
            }
            if let Some(wrong) = error {
                return Err(GetProblem::Decode(wrong));
            }
        }
        Ok(())
    }
}

/// Why [`Queue::put_many`] did not put all, with what it did not put.
///
/// With another `E` it is that of [`try_put_many`](Queue::try_put_many) and
/// [`put_many_timeout`](Queue::put_many_timeout).
#[derive(Serialize, Deserialize)]
pub struct PutManyError<T, E = PutError<T>> {
    count: usize,
    error: Box<E>,
    rest: Vec<T>,
}

impl<T, E> PutManyError<T, E> {
    fn new(count: usize, error: E, rest: Vec<T>) -> Self {
        Self { count, error: Box::new(error), rest }
    }

    /// How many were put: they are in the queue.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Why the first of the rest is not.
    pub fn error(&self) -> &E {
        &self.error
    }
}

macro_rules! into_inner {
    ($($error:ident)*) => {$(
        impl<T> PutManyError<T, $error<T>> {
            /// What was taken and is not in the queue, in order, beginning with the one that failed.
            pub fn into_inner(self) -> Vec<T> {
                let mut rest = self.rest;
                rest.insert(0, self.error.into_inner());
                rest
            }
        }
    )*};
}

into_inner!(PutError TryPutError PutTimeoutError);

impl<T, E: fmt::Display> fmt::Display for PutManyError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, error, rest } = self;
        write!(f, "{count} items put, and {} {error}", 1 + rest.len())
    }
}

impl<T, E: fmt::Display> fmt::Debug for PutManyError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutManyError({self})")
    }
}

impl<T, E: Error> Error for PutManyError<T, E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Why [`Queue::get_many`] failed, with what it got before.
///
/// With another `E` it is that of [`try_get_many`](Queue::try_get_many) and
/// [`get_many_timeout`](Queue::get_many_timeout).
#[derive(Serialize, Deserialize)]
pub struct GetManyError<T, E = GetError> {
    items: Vec<T>,
    error: E,
}

impl<T, E> GetManyError<T, E> {
    /// What went wrong.
    pub fn error(&self) -> &E {
        &self.error
    }

    /// What was got before that.
    pub fn into_inner(self) -> Vec<T> {
        self.items
    }
}

impl<T, E: fmt::Display> fmt::Display for GetManyError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after {} items", self.error, self.items.len())
    }
}

impl<T, E: fmt::Display> fmt::Debug for GetManyError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GetManyError({self})")
    }
}

impl<T, E: Error> Error for GetManyError<T, E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
