//! The receiving face of a pipe's end.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::end::{End, Face};
use super::errors::{RecvError, RecvIntoError, RecvTimeoutError, TryRecvError};
use crate::sys::poll::Wait;

/// The receiving end of a [`pipe`](crate::pipe()): receives values of type `T`.
///
/// A handle: its clones are the same end, here and in every process it is sent to; each message
/// goes to one of those that ask. As a descriptor it is readable when there is something to
/// receive, or nothing more will come.
pub struct Receiver<T> {
    end: End,
    values: PhantomData<fn() -> T>,
}

impl<T> Receiver<T> {
    pub(super) fn new(end: End) -> Self {
        Self { end, values: PhantomData }
    }
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Receives a value, waiting until there is one.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] when nothing is left and no sender is, in any process: the end.
    /// Python's `EOFError`. [`RecvError::Decode`] if what came is no `T`; the next may be.
    pub fn recv(&self) -> Result<T, RecvError> {
        Ok(self.end.recv(Wait::Forever)?)
    }

    /// Receives a value if there is one now.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`TryRecvError::Empty`].
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        Ok(self.end.recv(Wait::Never)?)
    }

    /// Receives a value if one comes before `timeout` has passed.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`RecvTimeoutError::Timeout`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        Ok(self.end.recv(Wait::at_most(timeout))?)
    }

    /// Receives values until the end of the stream, waiting for each.
    ///
    /// It also ends at an error; [`Iter::error`] then tells which.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self, error: None }
    }
}

impl<T> Receiver<T> {
    /// Receives one message of plain bytes, sent by [`send_bytes`](crate::Sender::send_bytes).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        recv_bytes(&self.end)
    }

    /// Receives one message of plain bytes into the beginning of `buffer`, and says how long it is.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`RecvIntoError::TooShort`], which holds the whole message.
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
        recv_bytes_into(&self.end, buffer)
    }

    /// Waits until something can be received or nothing ever will be, but no longer than
    /// `timeout`; says whether that is so. Python's `poll(timeout)`.
    ///
    /// With several receivers, another may be quicker to receive it.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn poll(&self, timeout: Duration) -> io::Result<bool> {
        self.end.poll(timeout)
    }
}

pub(super) fn recv_bytes(end: &End) -> Result<Vec<u8>, RecvError> {
    end.recv_bytes(Wait::Forever, copy)?
}

/// A copy, or an error where there is no memory for one: a sealed file may be larger than that.
fn copy(bytes: &[u8]) -> Result<Vec<u8>, RecvError> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(bytes.len())
        .map_err(|_| RecvError::Os(io::ErrorKind::OutOfMemory.into()))?;
    vec.extend_from_slice(bytes);
    Ok(vec)
}

pub(super) fn recv_bytes_into(end: &End, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
    end.recv_bytes(Wait::Forever, |bytes| match buffer.get_mut(..bytes.len()) {
        Some(part) => {
            part.copy_from_slice(bytes);
            Ok(bytes.len())
        }
        None => Err(RecvIntoError::TooShort(bytes.to_vec())),
    })?
}

/// The values of a [`Receiver`], until the end of its stream: from [`Receiver::iter`].
///
/// It also ends at a message that is lost or cannot be decoded. Where that must not pass for the end
/// of the stream, ask [`error`](Self::error) afterwards, or call [`Receiver::recv`] in a loop.
#[derive(Debug)]
#[must_use = "an iterator receives nothing until it is asked"]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
    error: Option<RecvError>,
}

impl<T> Iter<'_, T> {
    /// The error that ended it, if it was not the end of the stream.
    pub fn error(&self) -> Option<&RecvError> {
        self.error.as_ref()
    }
}

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next(self.receiver, &mut self.error)
    }
}

/// The next value, or the reason why there is none, unless it is the end of the stream.
fn next<T: DeserializeOwned>(receiver: &Receiver<T>, error: &mut Option<RecvError>) -> Option<T> {
    match receiver.recv() {
        Ok(value) => Some(value),
        Err(RecvError::Disconnected) => None,
        Err(other) => {
            *error = Some(other);
            None
        }
    }
}

/// The values of a [`Receiver`], which it owns: otherwise as [`Iter`].
#[derive(Debug)]
#[must_use = "an iterator receives nothing until it is asked"]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
    error: Option<RecvError>,
}

impl<T> IntoIter<T> {
    /// The error that ended it, if it was not the end of the stream.
    pub fn error(&self) -> Option<&RecvError> {
        self.error.as_ref()
    }
}

impl<T: DeserializeOwned> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next(&self.receiver, &mut self.error)
    }
}

impl<T: DeserializeOwned> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self, error: None }
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> Receiver<T> {
    /// Whether [`poll`](Self::poll) would say so at once; if not, the [socket](Self::socket) is not
    /// readable until that may have changed.
    pub(crate) fn look(&self) -> bool {
        // If it is not to be learnt, receiving will tell.
        self.end.look().unwrap_or(true)
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.end.socket()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self::new(self.end.clone())
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("fd", &self.end.socket().as_raw_fd()).finish()
    }
}

impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.watch()
    }
}

/// Only on its way to another process.
impl<T> Serialize for Receiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(Face::Receiver, serializer)
    }
}

impl<'de, T> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        End::deserialize(Face::Receiver, deserializer).map(Self::new)
    }
}
