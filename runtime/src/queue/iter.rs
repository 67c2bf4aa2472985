//! A queue's items one after the other.

use std::borrow::Borrow;
use std::iter::FusedIterator;

use serde::de::DeserializeOwned;

use super::errors::{GetError, TryGetError};
use super::handle::Queue;

impl<T: DeserializeOwned> Queue<T> {
    /// Gets items until the queue is [closed](Self::close) or nobody else is left, waiting for each; where
    /// an error must not pass for that end, use [`results`](Self::results).
    ///
    /// For it ends at an error as well; [`Iter::error`] then tells which. Whoever keeps another handle and
    /// waits for the end of this one must close the queue first, or drop that handle.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(Stream::new(self))
    }

    /// As [`iter`](Self::iter), with the errors: each is an item, and what comes after it is got.
    ///
    /// It ends when the queue is closed or nobody else is left; also after an error that is not of one item
    /// alone ([`Corrupt`](GetError::Corrupt), [`Os`](GetError::Os)), which would come again and again.
    ///
    /// ```
    /// use offspring::{Queue, queue::GetError};
    ///
    /// let queue = Queue::unbounded()?;
    /// queue.put_many(0..3).unwrap();
    /// queue.close();
    /// assert_eq!(queue.results().collect::<Result<Vec<u32>, GetError>>()?, [0, 1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn results(&self) -> Results<'_, T> {
        Results(Stream::new(self))
    }

    /// Gets the items that are there now, and ends when there is none: it does not wait.
    ///
    /// It also ends at an error; [`TryIter::error`] then tells which.
    ///
    /// ```
    /// use offspring::Queue;
    ///
    /// let queue = Queue::unbounded()?;
    /// queue.put_many(0..3).unwrap();
    /// assert_eq!(queue.try_iter().sum::<u32>(), 3);
    /// assert_eq!(queue.try_iter().next(), None);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { queue: self, error: None }
    }
}

/// What is still to come from a queue.
#[derive(Debug)]
struct Stream<Q> {
    queue: Q,
    is_over: bool,
    error: Option<GetError>,
}

impl<Q> Stream<Q> {
    fn new(queue: Q) -> Self {
        Self { queue, is_over: false, error: None }
    }

    /// The next item, or why there is none; `None` at the end.
    fn result<T: DeserializeOwned>(&mut self) -> Option<Result<T, GetError>>
    where
        Q: Borrow<Queue<T>>,
    {
        if self.is_over {
            return None;
        }
        let result = self.queue.borrow().get();
        self.is_over = match &result {
            Ok(_) | Err(GetError::Decode(_) | GetError::DescriptorsLost) => false,
            Err(_) => true,
        };
        match result {
            Err(GetError::Closed | GetError::Disconnected) => None,
            result => Some(result),
        }
    }

    /// The next item; `None` at the end, and from the first error on.
    fn item<T: DeserializeOwned>(&mut self) -> Option<T>
    where
        Q: Borrow<Queue<T>>,
    {
        match self.result()? {
            Ok(item) => return Some(item),
            Err(error) => self.error = Some(error),
        }
        self.is_over = true;
        None
    }
}

/// The items of a [`Queue`], until its end: from [`Queue::iter`].
///
/// It also ends at an item that is lost or cannot be decoded. Where that must not pass for the end, use
/// [`Queue::results`], or ask [`error`](Self::error) afterwards.
#[derive(Debug)]
#[must_use = "an iterator gets nothing until it is asked"]
pub struct Iter<'a, T>(Stream<&'a Queue<T>>);

impl<T> Iter<'_, T> {
    /// The error that ended it, if it was not the end of the queue.
    pub fn error(&self) -> Option<&GetError> {
        self.0.error.as_ref()
    }
}

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.item()
    }
}

impl<T: DeserializeOwned> FusedIterator for Iter<'_, T> {}

/// The items of a [`Queue`], and the errors between them: from [`Queue::results`].
#[derive(Debug)]
#[must_use = "an iterator gets nothing until it is asked"]
pub struct Results<'a, T>(Stream<&'a Queue<T>>);

impl<T: DeserializeOwned> Iterator for Results<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.result()
    }
}

impl<T: DeserializeOwned> FusedIterator for Results<'_, T> {}

/// The items of a [`Queue`], of which it owns a handle: otherwise as [`Iter`].
///
/// ```
/// use offspring::Queue;
///
/// let queue = Queue::unbounded()?;
/// queue.put_many(0..3).unwrap();
/// let mut sum = 0;
/// for item in queue {
///     sum += item; // and it ends, since nobody else has the queue
/// }
/// assert_eq!(sum, 3);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "an iterator gets nothing until it is asked"]
pub struct IntoIter<T>(Stream<Queue<T>>);

impl<T> IntoIter<T> {
    /// The error that ended it, if it was not the end of the queue.
    pub fn error(&self) -> Option<&GetError> {
        self.0.error.as_ref()
    }
}

impl<T: DeserializeOwned> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.item()
    }
}

impl<T: DeserializeOwned> FusedIterator for IntoIter<T> {}

/// The items that are in a [`Queue`] now: from [`Queue::try_iter`].
///
/// Empty now, it may give more later; but it also ends at an item that is lost or cannot be decoded: ask
/// [`error`](Self::error) afterwards.
#[derive(Debug)]
#[must_use = "an iterator gets nothing until it is asked"]
pub struct TryIter<'a, T> {
    queue: &'a Queue<T>,
    error: Option<TryGetError>,
}

impl<T> TryIter<'_, T> {
    /// The error that ended it, if it was not that there is nothing.
    pub fn error(&self) -> Option<&TryGetError> {
        self.error.as_ref()
    }
}

impl<T: DeserializeOwned> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.error.is_some() {
            return None;
        }
        match self.queue.try_get() {
            Ok(item) => return Some(item),
            Err(TryGetError::Empty | TryGetError::Closed | TryGetError::Disconnected) => {}
            Err(other) => self.error = Some(other),
        }
        None
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Queue<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T: DeserializeOwned> IntoIterator for Queue<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(Stream::new(self))
    }
}
