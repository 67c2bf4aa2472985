//! One end of a pipe: a packet socket that can be shared by threads and processes.
//!
//! No lock is needed anywhere: the kernel queues whole packets, gives each to one reader, and
//! keeps those of one writer in order. So a process that is killed leaves nothing half done.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::de::Error as _;
use serde::{Deserializer, Serialize, Serializer};

use super::errors::{RecvProblem, SendProblem};
use crate::sys::poll::{self, Wait};
use crate::sys::socket::is_packet_socket;
use crate::wire::endpoint::Endpoint;
use crate::wire::{self, DecodeError, Kind, Packet, RecvFailure, Scratch};

/// A serialised value.
const VALUE: Kind = Kind(b'v');
/// Plain bytes.
const BYTES: Kind = Kind(b'b');

#[derive(Debug, Clone)]
pub(super) struct End(Arc<Endpoint>);

impl End {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self(Arc::new(Endpoint::new(fd)))
    }

    pub(super) fn send<T: Serialize>(&self, value: &T, wait: Wait) -> Result<(), SendProblem> {
        let mut scratch = Scratch::new();
        let (fds, moves) = wire::encode(value, &mut scratch.0).map_err(SendProblem::Encode)?;
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        wire::send(self.as_fd(), VALUE, &scratch.0, &fds, wait)?;
        moves.sent();
        Ok(())
    }

    pub(super) fn send_bytes(&self, bytes: &[u8], wait: Wait) -> Result<(), SendProblem> {
        Ok(wire::send(self.as_fd(), BYTES, bytes, &[], wait)?)
    }

    /// Receives a message of this kind, which is to be a `W`.
    fn receive<W: ?Sized, R>(
        &self,
        kind: Kind,
        wait: Wait,
        consume: impl FnOnce(Packet<'_>) -> Result<R, DecodeError>,
    ) -> Result<R, RecvProblem> {
        let unexpected = |what: &str| DecodeError::new::<W>(what);
        wire::recv(self.as_fd(), wait, |packet| match packet.kind {
            right if right == kind => consume(packet),
            VALUE => Err(unexpected("a value came, sent by `send`")),
            BYTES => Err(unexpected("plain bytes came, sent by `send_bytes`")),
            Kind(_) => Err(unexpected("something came that no pipe carries")),
        })
        .map_err(|failure| match failure {
            RecvFailure::Corrupt(what) => RecvProblem::Decode(unexpected(what)),
            RecvFailure::Disconnected => RecvProblem::Disconnected,
            RecvFailure::TimedOut => RecvProblem::TimedOut,
            RecvFailure::DescriptorsLost => RecvProblem::DescriptorsLost,
            RecvFailure::Os(error) => RecvProblem::Os(error),
        })?
        .map_err(RecvProblem::Decode)
    }

    pub(super) fn recv<T: DeserializeOwned>(&self, wait: Wait) -> Result<T, RecvProblem> {
        self.receive::<T, T>(VALUE, wait, |packet| wire::decode(packet.payload, packet.fds))
    }

    /// Receives bytes, and passes them to `consume` where they lie.
    pub(super) fn recv_bytes<R>(
        &self,
        wait: Wait,
        consume: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, RecvProblem> {
        self.receive::<[u8], R>(BYTES, wait, |packet| Ok(consume(packet.payload)))
    }

    /// Whether something can be received, or nothing ever will be.
    pub(super) fn poll(&self, timeout: Duration) -> io::Result<bool> {
        Ok(poll::readable(self.as_fd(), Wait::at_most(timeout))?)
    }

    pub(super) fn serialize<S: Serializer>(&self, what: &str, to: S) -> Result<S::Ok, S::Error> {
        wire::serialize_fd(self.as_fd(), what, to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        what: &str,
        from: D,
    ) -> Result<Self, D::Error> {
        let fd = wire::deserialize_fd(what, from)?;
        if is_packet_socket(fd.as_fd()) {
            Ok(Self::new(fd))
        } else {
            Err(D::Error::custom(format!("the descriptor of a {what} is none")))
        }
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
