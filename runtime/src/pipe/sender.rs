//! The sending face of a pipe's end.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::end::{End, Face};
use super::errors::{SendError, SendTimeoutError, TrySendError};
use crate::sys::poll::Wait;

/// The sending end of a [`pipe`](crate::pipe()): sends values of type `T`.
///
/// A handle: its clones are the same end, here and in every process it is sent to.
pub struct Sender<T> {
    end: End,
    values: PhantomData<fn(T)>,
}

impl<T> Sender<T> {
    pub(super) fn new(end: End) -> Self {
        Self { end, values: PhantomData }
    }
}

impl<T: Serialize> Sender<T> {
    /// Sends a value, waiting while the pipe is full.
    ///
    /// When it returns the value is in the pipe, and stays there whatever becomes of this process.
    /// Handles in the value (ends of pipes, [`Fd`](crate::Fd)s) go with it.
    ///
    /// # Errors
    /// The value comes back if no receiver is left, if it cannot be encoded, or if the system
    /// refuses.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.end.send(&value, Wait::Forever).map_err(|problem| SendError::new(value, problem))
    }

    /// Sends a value if there is room for it now.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`TrySendError::Full`].
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.end.send(&value, Wait::Never).map_err(|problem| TrySendError::new(value, problem))
    }

    /// Sends a value if there is room for it before `timeout` has passed.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`SendTimeoutError::Timeout`].
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.end
            .send(&value, Wait::at_most(timeout))
            .map_err(|problem| SendTimeoutError::new(value, problem))
    }
}

impl<T> Sender<T> {
    /// Sends plain bytes as one message, for [`recv_bytes`](crate::Receiver::recv_bytes).
    ///
    /// Much faster than a `Vec<u8>` by [`send`](Self::send), and copied less often.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError<()>> {
        self.end.send_bytes(bytes, Wait::Forever).map_err(|problem| SendError::new((), problem))
    }

    /// Sends plain bytes as one message if there is room for it now.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    ///
    /// ```
    /// let (tx, rx) = offspring::pipe::<()>()?;
    /// while tx.try_send_bytes(b"some more").is_ok() {}
    /// assert!(tx.try_send_bytes(b"too much").is_err_and(|error| error.is_full()));
    /// assert_eq!(rx.recv_bytes()?, b"some more");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_send_bytes(&self, bytes: &[u8]) -> Result<(), TrySendError<()>> {
        self.end.send_bytes(bytes, Wait::Never).map_err(|problem| TrySendError::new((), problem))
    }

    /// Sends plain bytes as one message if there is room for it before `timeout` has passed.
    ///
    /// # Errors
    /// As [`send_timeout`](Self::send_timeout).
    pub fn send_bytes_timeout(
        &self,
        bytes: &[u8],
        timeout: Duration,
    ) -> Result<(), SendTimeoutError<()>> {
        self.end
            .send_bytes(bytes, Wait::at_most(timeout))
            .map_err(|problem| SendTimeoutError::new((), problem))
    }

    /// Whether the other sends into the same pipe.
    ///
    /// ```
    /// let (tx, _rx) = offspring::pipe::<u32>()?;
    /// assert!(tx.same_channel(&tx.clone()));
    /// assert!(!tx.same_channel(&offspring::pipe()?.0));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn same_channel(&self, other: &Self) -> bool {
        self.end.is_same(&other.end)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self::new(self.end.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("fd", &self.end.socket().as_raw_fd()).finish()
    }
}

impl<T> AsFd for Sender<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.lend()
    }
}

/// Only on its way to another process.
impl<T> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(Face::Sender, serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        End::deserialize(Face::Sender, deserializer).map(Self::new)
    }
}
