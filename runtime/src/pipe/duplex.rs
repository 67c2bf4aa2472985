//! One end of a two-way pipe.

use std::fmt;
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
use super::iter::{IntoIter, Iter, Results, TryIter};
use super::receiver;
use crate::error::Result;
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

    /// Receives values until the end of the stream, waiting for each; where an error must not pass for
    /// that end, use [`results`](Self::results). See [`Receiver::iter`](crate::Receiver::iter).
    ///
    /// ```
    /// use offspring::{Duplex, process};
    ///
    /// #[process]
    /// fn double(numbers: Duplex<u64, u32>) {
    ///     for number in &numbers {
    ///         numbers.send(u64::from(number) * 2).unwrap();
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (here, there) = offspring::duplex()?;
    /// let child = double(there).spawn()?;
    /// here.send(21)?;
    /// assert_eq!(here.recv()?, 42);
    /// drop(here); // the end of the child's stream
    /// child.join()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter(&self) -> Iter<'_, R> {
        Iter::new(&self.end)
    }

    /// As [`iter`](Self::iter), with the errors: see [`Receiver::results`](crate::Receiver::results).
    pub fn results(&self) -> Results<'_, R> {
        Results::new(&self.end)
    }

    /// Receives the values that are there now, and ends when there is none: see
    /// [`Receiver::try_iter`](crate::Receiver::try_iter).
    pub fn try_iter(&self) -> TryIter<'_, R> {
        TryIter::new(&self.end)
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

    /// Sends plain bytes if there is room for them now.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_send_bytes(&self, bytes: &[u8]) -> Result<(), TrySendError<()>> {
        self.end.send_bytes(bytes, Wait::Never).map_err(|problem| TrySendError::new((), problem))
    }

    /// Sends plain bytes if there is room for them before `timeout` has passed.
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

    /// Receives one message of plain bytes.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        receiver::recv_bytes(&self.end, Wait::Forever)
    }

    /// Receives one message of plain bytes if there is one now.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    pub fn try_recv_bytes(&self) -> Result<Vec<u8>, TryRecvError> {
        receiver::recv_bytes(&self.end, Wait::Never)
    }

    /// Receives one message of plain bytes if one comes before `timeout` has passed.
    ///
    /// # Errors
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvTimeoutError> {
        receiver::recv_bytes(&self.end, Wait::at_most(timeout))
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
    /// [`Error::Os`](crate::Error::Os) if the system refuses.
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        receiver::poll(&self.end, timeout)
    }

    /// Whether the other is a handle to the same end of the same pipe.
    pub fn same_channel(&self, other: &Self) -> bool {
        self.end.is_same(&other.end)
    }
}

impl<S, R: DeserializeOwned> IntoIterator for Duplex<S, R> {
    type Item = R;
    type IntoIter = IntoIter<R>;

    fn into_iter(self) -> IntoIter<R> {
        IntoIter::new(self.end)
    }
}

impl<'a, S, R: DeserializeOwned> IntoIterator for &'a Duplex<S, R> {
    type Item = R;
    type IntoIter = Iter<'a, R>;

    fn into_iter(self) -> Iter<'a, R> {
        self.iter()
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
