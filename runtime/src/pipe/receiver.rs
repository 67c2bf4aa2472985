//! The receiving face of a pipe's end.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::end::{End, Face};
use super::errors::{RecvError, RecvIntoError, RecvProblem, RecvTimeoutError, TryRecvError};
use super::iter::{IntoIter, Iter, Results, TryIter};
use crate::error::{Error, Result};
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

    /// Receives values until the end of the stream, waiting for each; where an error must not pass for
    /// that end, use [`results`](Self::results).
    ///
    /// For it ends at an error as well; [`Iter::error`] then tells which.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(&self.end)
    }

    /// As [`iter`](Self::iter), with the errors: each is an item, and what comes after it is received.
    ///
    /// It ends at the end of the stream; also after an error that is not of one message alone
    /// ([`Os`](RecvError::Os)), which would come again and again.
    ///
    /// ```
    /// let (tx, rx) = offspring::pipe::<u32>()?;
    /// tx.send(1).unwrap();
    /// tx.send_bytes(b"no number").unwrap();
    /// tx.send(2).unwrap();
    /// drop(tx);
    ///
    /// let (good, bad): (Vec<_>, Vec<_>) = rx.results().partition(|result| result.is_ok());
    /// assert_eq!((good.len(), bad.len()), (2, 1));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn results(&self) -> Results<'_, T> {
        Results::new(&self.end)
    }

    /// Receives the values that are there now, and ends when there is none: it does not wait.
    ///
    /// It also ends at an error; [`TryIter::error`] then tells which.
    ///
    /// ```
    /// let (tx, rx) = offspring::pipe()?;
    /// (1..=3).for_each(|n| tx.send(n).unwrap());
    /// assert_eq!(rx.try_iter().sum::<u32>(), 6); // though the sender is still there
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter::new(&self.end)
    }
}

impl<T> Receiver<T> {
    /// Receives one message of plain bytes, sent by [`send_bytes`](crate::Sender::send_bytes).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        recv_bytes(&self.end, Wait::Forever)
    }

    /// Receives one message of plain bytes if there is one now.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    pub fn try_recv_bytes(&self) -> Result<Vec<u8>, TryRecvError> {
        recv_bytes(&self.end, Wait::Never)
    }

    /// Receives one message of plain bytes if one comes before `timeout` has passed.
    ///
    /// # Errors
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvTimeoutError> {
        recv_bytes(&self.end, Wait::at_most(timeout))
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
    /// [`Error::Os`] if the system refuses.
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        poll(&self.end, timeout)
    }

    /// Whether the other receives from the same pipe.
    ///
    /// ```
    /// let (_tx, rx) = offspring::pipe::<u32>()?;
    /// assert!(rx.same_channel(&rx.clone()));
    /// assert!(!rx.same_channel(&offspring::pipe()?.1));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn same_channel(&self, other: &Self) -> bool {
        self.end.is_same(&other.end)
    }
}

pub(super) fn poll(end: &End, timeout: Duration) -> Result<bool> {
    end.poll(timeout).map_err(|error| Error::os("wait for a message", error))
}

pub(super) fn recv_bytes<E: From<RecvProblem>>(end: &End, wait: Wait) -> Result<Vec<u8>, E> {
    Ok(end.recv_bytes(wait, copy)??)
}

/// A copy, or an error where there is no memory for one: a sealed file may be larger than that.
fn copy(bytes: &[u8]) -> Result<Vec<u8>, RecvProblem> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(bytes.len())
        .map_err(|_| RecvProblem::Os(io::ErrorKind::OutOfMemory.into()))?;
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

impl<T: DeserializeOwned> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter::new(self.end)
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
