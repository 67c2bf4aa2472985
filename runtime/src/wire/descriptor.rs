//! Files, sockets and whatever else is a descriptor, on the way to another process.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{deserialize_fd, serialize_fd};

/// A file, a socket, or anything else that owns a descriptor, made so that it can cross to another
/// process: as an argument, in a result, or through a pipe.
///
/// What crosses is the open file itself: both processes then share its position and its locks, and
/// a socket's connection ends when both have closed it. Sending leaves the sender's own open until
/// it is dropped.
///
/// `T` is whatever converts from and to an [`OwnedFd`]: `File`, `TcpStream`, `TcpListener`,
/// `UdpSocket`, `UnixStream`, `PipeReader`, `OwnedFd` itself. Python sends sockets and
/// connections as they are, and others by `reduction.DupFd`.
///
/// # Errors
/// It can be serialised only on its way to another process; elsewhere that fails, and says so.
///
/// ```
/// use offspring::{Fd, process};
/// use std::io::{Read, Write};
///
/// #[process]
/// fn write_to(mut pipe: Fd<std::io::PipeWriter>) {
///     pipe.write_all(b"from the child").unwrap();
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut reader, writer) = std::io::pipe()?;
/// write_to(Fd::new(writer)).spawn()?;
///
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "from the child");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Fd<T>(T);

impl<T> Fd<T> {
    /// Wraps it.
    pub fn new(inner: T) -> Self {
        Self(inner)
    }

    /// Unwraps it.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Fd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fd").field(&self.0).finish()
    }
}

impl<T> From<T> for Fd<T> {
    fn from(inner: T) -> Self {
        Self(inner)
    }
}

impl<T> Deref for Fd<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Fd<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: AsFd> AsFd for Fd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T: AsFd> Serialize for Fd<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_fd(self.0.as_fd(), "descriptor", serializer)
    }
}

impl<'de, T: From<OwnedFd>> Deserialize<'de> for Fd<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_fd("descriptor", deserializer).map(|fd| Self(fd.into()))
    }
}
