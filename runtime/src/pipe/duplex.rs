//! One end of a two-way pipe.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::end::{End, Face};
use super::errors::{
    RecvError, RecvIntoError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};
use super::receiver;
use crate::sys::poll::Wait;

/// One end of a two-way pipe, from [`duplex`](crate::duplex): sends values of type `S`, receives
/// values of type `R`.
///
/// Each method is what it is in [`Sender`](crate::Sender) and in [`Receiver`](crate::Receiver).
pub struct Duplex<S, R> {
    end: End,
    values: PhantomData<fn(S) -> R>,
}

impl<S, R> Duplex<S, R> {
    pub(super) fn new(end: End) -> Self {
        Self { end, values: PhantomData }
    }
}

impl<S: Serialize, R> Duplex<S, R> {
    /// Sends a value, waiting while the pipe is full: see [`Sender::send`](crate::Sender::send).
    ///
    /// # Errors
    /// The value comes back if the other end is gone, if it cannot be encoded, or if the system
    /// refuses.
    pub fn send(&self, value: S) -> Result<(), SendError<S>> {
        self.end.send(&value, Wait::Forever).map_err(|problem| SendError::new(value, problem))
    }

    /// Sends a value if there is room for it now.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`TrySendError::Full`].
    pub fn try_send(&self, value: S) -> Result<(), TrySendError<S>> {
        self.end.send(&value, Wait::Never).map_err(|problem| TrySendError::new(value, problem))
    }

    /// Sends a value if there is room for it before `timeout` has passed.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`SendTimeoutError::Timeout`].
    pub fn send_timeout(&self, value: S, timeout: Duration) -> Result<(), SendTimeoutError<S>> {
        self.end
            .send(&value, Wait::at_most(timeout))
            .map_err(|problem| SendTimeoutError::new(value, problem))
    }
}

impl<S, R: DeserializeOwned> Duplex<S, R> {
    /// Receives a value, waiting until there is one: see [`Receiver::recv`](crate::Receiver::recv).
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] when nothing is left and the other end is gone, in every
    /// process.
    pub fn recv(&self) -> Result<R, RecvError> {
        Ok(self.end.recv(Wait::Forever)?)
    }

    /// Receives a value if there is one now.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`TryRecvError::Empty`].
    pub fn try_recv(&self) -> Result<R, TryRecvError> {
        Ok(self.end.recv(Wait::Never)?)
    }

    /// Receives a value if one comes before `timeout` has passed.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`RecvTimeoutError::Timeout`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R, RecvTimeoutError> {
        Ok(self.end.recv(Wait::at_most(timeout))?)
    }
}

impl<S, R> Duplex<S, R> {
    /// Sends plain bytes as one message, for [`recv_bytes`](Self::recv_bytes) at the other end.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError<()>> {
        self.end.send_bytes(bytes, Wait::Forever).map_err(|problem| SendError::new((), problem))
    }

    /// Receives one message of plain bytes.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        receiver::recv_bytes(&self.end)
    }

    /// Receives one message of plain bytes into the beginning of `buffer`, and says how long it is.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`RecvIntoError::TooShort`], which holds the whole message.
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
        receiver::recv_bytes_into(&self.end, buffer)
    }

    /// Waits until something can be received or nothing ever will be, but no longer than
    /// `timeout`; says whether that is so. Python's `poll(timeout)`.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn poll(&self, timeout: Duration) -> io::Result<bool> {
        self.end.poll(timeout)
    }
}

impl<S, R> Duplex<S, R> {
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

impl<S, R> Clone for Duplex<S, R> {
    fn clone(&self) -> Self {
        Self::new(self.end.clone())
    }
}

impl<S, R> fmt::Debug for Duplex<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duplex").field("fd", &self.end.socket().as_raw_fd()).finish()
    }
}

impl<S, R> AsFd for Duplex<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.watch();
        self.end.lend()
    }
}

/// Only on its way to another process.
impl<S, R> Serialize for Duplex<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.end.serialize(Face::Duplex, serializer)
    }
}

impl<'de, S, R> Deserialize<'de> for Duplex<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        End::deserialize(Face::Duplex, deserializer).map(Self::new)
    }
}
