//! One end of a pipe, untyped: it can be shared by threads and processes.
//!
//! How messages go is told in `README.md`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::{fmt, io};

use serde::de::Error as _;
use serde::{Deserializer, Serializer};

use super::memory::{Memory, Way};
use crate::sys::socket::{self, is_packet_socket};
use crate::wire::endpoint::Endpoint;
use crate::wire::{self, Handle, Kind};

/// A serialised value.
pub(super) const VALUE: Kind = Kind(b'v');
/// Plain bytes.
pub(super) const BYTES: Kind = Kind(b'b');

#[derive(Clone)]
pub(super) struct End(pub(super) Arc<Inner>);

/// What all handles to an end in this process share.
#[derive(Debug)]
pub(super) struct Inner {
    /// Closed first: who is told that this end is gone looks whether the other end of the socket is.
    socket: Endpoint,
    memory: Shared,
    /// The direction in which this end sends; it receives in the other.
    outward: usize,
    /// Somebody has borrowed the descriptor to send with.
    pub(super) lent: AtomicBool,
    /// When it was last seen that there is a receiver, and how many had left before.
    pub(super) seen: AtomicU64,
    pub(super) left: AtomicU32,
}

/// The memory of this end's pipe, if it has any.
#[derive(Debug)]
struct Shared {
    memory: Option<Arc<Memory>>,
    /// The direction in which this end receives, if it does.
    inward: Option<usize>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let (Some(memory), Some(inward)) = (&self.memory, self.inward) {
            memory.leave(inward);
        }
    }
}

/// What a type has of a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Face {
    Sender,
    Receiver,
    Duplex,
}

impl Face {
    fn name(self) -> &'static str {
        match self {
            Self::Sender => "Sender",
            Self::Receiver => "Receiver",
            Self::Duplex => "Duplex",
        }
    }
}

impl End {
    /// The two ends of a pipe: the first sends in direction 0, the second in direction 1.
    pub(super) fn pair(faces: [Face; 2]) -> nix::Result<(Self, Self)> {
        let (a, b) = socket::pair()?;
        let memory = Memory::create();
        Ok((Self::new(a, memory.clone(), 0, faces[0]), Self::new(b, memory, 1, faces[1])))
    }

    fn new(socket: OwnedFd, memory: Option<Arc<Memory>>, outward: usize, face: Face) -> Self {
        let inward = (face != Face::Sender).then_some(1 - outward);
        Self(Arc::new(Inner {
            socket: Endpoint::new(socket),
            memory: Shared { memory, inward },
            outward,
            lent: AtomicBool::new(false),
            seen: AtomicU64::new(0),
            left: AtomicU32::new(0),
        }))
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }

    /// Whether both are handles to the same end, which may have come here in several ways.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || socket::is_same(self.socket(), other.socket())
    }

    /// The way on which this end sends, and that on which it receives; `None` if the pipe has no ring.
    /// In a copy of the process whose end it is it has none, and its socket leads nowhere.
    #[inline]
    pub(super) fn way(&self, outward: bool) -> io::Result<Option<Way<'_>>> {
        match &self.0.memory.memory {
            Some(memory) if !memory.is_cut_off() => {
                memory.way(if outward { self.0.outward } else { 1 - self.0.outward }).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The descriptor, for somebody who may send with it on his own: then the order of his packets and
    /// of this end's messages is that of the socket.
    pub(super) fn lend(&self) -> BorrowedFd<'_> {
        self.0.lent.store(true, Ordering::SeqCst);
        self.socket()
    }

    /// The descriptor, for somebody who waits until it can be read: from now on it can be just when
    /// there is something to receive.
    pub(super) fn watch(&self) -> BorrowedFd<'_> {
        if let Ok(Some(way)) = self.way(false) {
            way.direction.watched.store(1, Ordering::SeqCst);
            let _ = self.look();
        }
        self.socket()
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End").field("fd", &self.socket().as_raw_fd()).finish()
    }
}

/// On the way to another process.
impl End {
    pub(super) fn serialize<S: Serializer>(&self, face: Face, to: S) -> Result<S::Ok, S::Error> {
        let memory = self.0.memory.memory.as_ref().map(|memory| memory.file().as_fd());
        let fds = [self.socket()].into_iter().chain(memory);
        wire::serialize_handle(face.name(), fds, [self.0.outward as u64, 0], to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        face: Face,
        from: D,
    ) -> Result<Self, D::Error> {
        let what = face.name();
        let Handle { fds, numbers: [outward, _], .. } = wire::deserialize_handle(what, from)?;
        let mut fds = fds.into_iter();
        let socket = fds.next().filter(|socket| is_packet_socket(socket.as_fd()));
        let memory = fds.next().map(|file| Memory::adopt(file).ok_or(()));
        match (socket, memory.transpose(), fds.next(), outward) {
            (Some(socket), Ok(memory), None, 0 | 1) => {
                Ok(Self::new(socket, memory, outward as usize, face))
            }
            _ => Err(D::Error::custom(format!("the descriptor of a {what} is none"))),
        }
    }
}
