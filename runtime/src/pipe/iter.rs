//! What an end receives, one value after the other.

use std::borrow::Borrow;
use std::iter::FusedIterator;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::end::End;
use super::errors::{RecvError, TryRecvError};
use crate::sys::poll::Wait;

/// What is still to come at an end.
#[derive(Debug)]
struct Stream<E> {
    end: E,
    is_over: bool,
    error: Option<RecvError>,
}

impl<E: Borrow<End>> Stream<E> {
    fn new(end: E) -> Self {
        Self { end, is_over: false, error: None }
    }

    /// The next value, or why there is none; `None` at the end.
    fn result<T: DeserializeOwned>(&mut self) -> Option<Result<T, RecvError>> {
        if self.is_over {
            return None;
        }
        let result = self.end.borrow().recv(Wait::Forever).map_err(RecvError::from);
        self.is_over = match &result {
            Ok(_) | Err(RecvError::Decode(_) | RecvError::DescriptorsLost) => false,
            Err(_) => true,
        };
        match result {
            Err(RecvError::Disconnected) => None,
            result => Some(result),
        }
    }

    /// The next value; `None` at the end, and from the first error on.
    fn value<T: DeserializeOwned>(&mut self) -> Option<T> {
        match self.result()? {
            Ok(value) => return Some(value),
            Err(error) => self.error = Some(error),
        }
        self.is_over = true;
        None
    }
}

/// The values of a [`Receiver`](crate::Receiver) or a [`Duplex`](crate::Duplex), until the end of its
/// stream: from `iter`.
///
/// It also ends at a message that is lost or cannot be decoded. Where that must not pass for the end
/// of the stream, use [`results`](crate::Receiver::results), or ask [`error`](Self::error) afterwards.
///
/// ```
/// let (tx, rx) = offspring::pipe::<u32>()?;
/// tx.send(1).unwrap();
/// tx.send_bytes(b"no number").unwrap();
/// tx.send(2).unwrap();
///
/// let mut values = rx.iter();
/// assert_eq!(values.by_ref().collect::<Vec<_>>(), [1]);
/// assert!(values.error().is_some() && values.next().is_none());
/// assert_eq!(rx.iter().next(), Some(2)); // it goes on behind that
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "an iterator receives nothing until it is asked"]
pub struct Iter<'a, T> {
    stream: Stream<&'a End>,
    values: PhantomData<fn() -> T>,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(end: &'a End) -> Self {
        Self { stream: Stream::new(end), values: PhantomData }
    }

    /// The error that ended it, if it was not the end of the stream.
    pub fn error(&self) -> Option<&RecvError> {
        self.stream.error.as_ref()
    }
}

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.stream.value()
    }
}

impl<T: DeserializeOwned> FusedIterator for Iter<'_, T> {}

/// The values of a [`Receiver`](crate::Receiver) or a [`Duplex`](crate::Duplex), and the errors between
/// them: from `results`.
#[derive(Debug)]
#[must_use = "an iterator receives nothing until it is asked"]
pub struct Results<'a, T> {
    stream: Stream<&'a End>,
    values: PhantomData<fn() -> T>,
}

impl<'a, T> Results<'a, T> {
    pub(super) fn new(end: &'a End) -> Self {
        Self { stream: Stream::new(end), values: PhantomData }
    }
}

impl<T: DeserializeOwned> Iterator for Results<'_, T> {
    type Item = Result<T, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.stream.result()
    }
}

impl<T: DeserializeOwned> FusedIterator for Results<'_, T> {}

/// The values of a [`Receiver`](crate::Receiver) or a [`Duplex`](crate::Duplex), which it owns: otherwise
/// as [`Iter`].
#[derive(Debug)]
#[must_use = "an iterator receives nothing until it is asked"]
pub struct IntoIter<T> {
    stream: Stream<End>,
    values: PhantomData<fn() -> T>,
}

impl<T> IntoIter<T> {
    pub(super) fn new(end: End) -> Self {
        Self { stream: Stream::new(end), values: PhantomData }
    }

    /// The error that ended it, if it was not the end of the stream.
    pub fn error(&self) -> Option<&RecvError> {
        self.stream.error.as_ref()
    }
}

impl<T: DeserializeOwned> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.stream.value()
    }
}

impl<T: DeserializeOwned> FusedIterator for IntoIter<T> {}

/// The values that are there to receive now: from [`Receiver::try_iter`](crate::Receiver::try_iter).
///
/// At its end now, it may give more later; but it also ends at a message that is lost or cannot be decoded:
/// ask [`error`](Self::error) afterwards.
#[derive(Debug)]
#[must_use = "an iterator receives nothing until it is asked"]
pub struct TryIter<'a, T> {
    end: &'a End,
    error: Option<TryRecvError>,
    values: PhantomData<fn() -> T>,
}

impl<'a, T> TryIter<'a, T> {
    pub(super) fn new(end: &'a End) -> Self {
        Self { end, error: None, values: PhantomData }
    }

    /// The error that ended it, if it was not that there is nothing.
    pub fn error(&self) -> Option<&TryRecvError> {
        self.error.as_ref()
    }
}

impl<T: DeserializeOwned> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.error.is_some() {
            return None;
        }
        match self.end.recv(Wait::Never).map_err(TryRecvError::from) {
            Ok(value) => return Some(value),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            Err(other) => self.error = Some(other),
        }
        None
    }
}
