//! Receiving at an end: what is next, in the ring, beside it, or in the socket alone; and waiting for it.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::bell::{self, BYTES_BESIDE, Found, Heard, Listen, Unheard, VALUE_BESIDE};
use super::end::{BYTES, End, VALUE};
use super::errors::RecvProblem;
use super::memory::{Direction, Way};
use crate::ring::{Consuming, NotInTime, What};
use crate::sync::spin::Spin;
use crate::sys::poll::{self, Wait};
use crate::wire::{self, DecodeError, Kind, Packet, RecvFailure, Scratch};

impl End {
    /// Receives a message of this kind, which is to be a `W`.
    #[inline]
    fn receive<W: ?Sized, R>(
        &self,
        kind: Kind,
        wait: Wait,
        consume: impl FnOnce(Packet<'_>) -> Result<R, DecodeError>,
    ) -> Result<R, RecvProblem> {
        let unexpected = |what: &str| DecodeError::new::<W>(what);
        self.take(wait, |packet| match packet.kind {
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

    #[inline]
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

    /// Takes the next message, of whatever kind, and passes it to `consume` when others can go on.
    #[inline]
    fn take<R>(&self, wait: Wait, consume: impl FnOnce(Packet<'_>) -> R) -> Result<R, RecvFailure> {
        let Some(way) = self.way(false).map_err(RecvFailure::Os)? else {
            return wire::recv(self.socket(), wait, consume);
        };
        let mut spin = None;
        let mut polled = wait == Wait::Never;
        loop {
            let mut side = way.receiving(wait)?;
            match self.next(&mut side, way.direction).map_err(RecvFailure::Os)? {
                Some(Where::InRing(kind, bytes)) => {
                    self.freed(side, way);
                    let packet = Packet { kind, payload: &bytes.0, fds: Vec::new() };
                    return Ok(consume(packet));
                }
                Some(Where::Beside) => {
                    let received = || self.freed(side, way);
                    return wire::recv_then(self.socket(), Wait::Never, received, |packet| {
                        consume(Packet { kind: beside_no_more(packet.kind), ..packet })
                    });
                }
                Some(Where::InSocket) => return self.receive_packet(side, consume),
                None => drop(side),
            }
            if wait != Wait::Never && Self::comes_soon(way.direction, &mut spin) {
                continue;
            }
            // Where only the ring is used, there is hardly ever anything else.
            let listen = match way.direction.uses_ring() && !polled {
                true => Listen::BeforePoll,
                false => Listen::Exactly,
            };
            match bell::hear(way, self.socket(), listen, wait)? {
                Heard::Ring => {}
                Heard::Packet(side) => return self.receive_packet(side, consume),
                // A bell may have been for others, or another was quicker: then again.
                Heard::Nothing => {
                    if wait == Wait::Never || !poll::readable(self.socket(), wait)? {
                        return Err(RecvFailure::TimedOut);
                    }
                    polled = true;
                }
            }
        }
    }

    /// Looks for a while whether something comes into the ring.
    #[inline]
    fn comes_soon(direction: &Direction, spin: &mut Option<Spin>) -> bool {
        if !direction.uses_ring() {
            return false;
        }
        let spin = spin.get_or_insert_with(Spin::long);
        while spin.pause() {
            if !direction.ring.is_empty() {
                spin.paid();
                return true;
            }
        }
        false
    }

    /// Finds the next message, if there may be one: what is in the ring, or tells of it.
    #[inline]
    fn next(&self, side: &mut Consuming<'_>, direction: &Direction) -> io::Result<Option<Where>> {
        loop {
            let Some(record) = side.next()? else { return Ok(None) };
            let after = record.after;
            // Those that went through the socket before there was a ring.
            if after.count == 1 && bell::is_other_first(side, self.socket())? {
                return Ok(Some(Where::InSocket));
            }
            let kind = match record.what {
                What::Item => VALUE,
                What::Bytes => BYTES,
                What::Beside(number) => match bell::find(side, self.socket(), number)? {
                    Found::Other => return Ok(Some(Where::InSocket)),
                    Found::It => {
                        side.take(after);
                        return Ok(Some(Where::Beside));
                    }
                    Found::Gone => {
                        side.take(after);
                        Self::publish(side, direction);
                        continue;
                    }
                },
            };
            let mut bytes = Scratch::new();
            bytes.0.extend_from_slice(record.payload);
            side.take(after);
            return Ok(Some(Where::InRing(kind, bytes)));
        }
    }

    /// Receives the packet that is next in the socket, and that the ring knows nothing of.
    fn receive_packet<R>(
        &self,
        side: Consuming<'_>,
        consume: impl FnOnce(Packet<'_>) -> R,
    ) -> Result<R, RecvFailure> {
        wire::recv_then(self.socket(), Wait::Never, || drop(side), consume)
    }

    /// A message is taken: its room is free, and others can go on.
    #[inline]
    fn freed(&self, side: Consuming<'_>, way: Way<'_>) {
        Self::publish(&side, way.direction);
        drop(side);
        if way.direction.watched.load(Ordering::Relaxed) != 0 && way.direction.ring.is_empty() {
            let _ = bell::hear(way, self.socket(), Listen::Exactly, Wait::Never);
        }
    }

    #[inline]
    fn publish(side: &Consuming<'_>, direction: &Direction) {
        direction.room.open_all_after(|| side.publish(), || direction.has_room());
    }

    /// Whether something can be received, or nothing ever will be; if not, the socket is not readable
    /// until that may have changed.
    pub(super) fn look(&self) -> io::Result<bool> {
        let Some(way) = self.way(false)? else {
            return Ok(poll::readable(self.socket(), Wait::Never)?);
        };
        match bell::hear(way, self.socket(), Listen::Exactly, Wait::Never) {
            Ok(Heard::Ring | Heard::Packet(_)) => Ok(true),
            Ok(Heard::Nothing) | Err(Unheard::NotInTime) => Ok(false),
            Err(Unheard::Os(error)) => Err(error),
        }
    }

    /// Waits until something can be received, or nothing ever will be.
    pub(super) fn poll(&self, timeout: Duration) -> io::Result<bool> {
        let wait = Wait::at_most(timeout);
        loop {
            if self.look()? {
                return Ok(true);
            }
            if wait == Wait::Never || !poll::readable(self.socket(), wait)? {
                return Ok(false);
            }
        }
    }
}

/// Where the next message is.
enum Where {
    /// It was copied out of the ring.
    InRing(Kind, Scratch),
    /// Beside the ring, which has a record of it: the next packet.
    Beside,
    /// The ring knows nothing of it: the next packet.
    InSocket,
}

/// The kind of a message beside the ring, as it would be without one.
fn beside_no_more(kind: Kind) -> Kind {
    match kind {
        VALUE_BESIDE => VALUE,
        BYTES_BESIDE => BYTES,
        other => other,
    }
}

impl From<NotInTime> for RecvFailure {
    fn from(NotInTime: NotInTime) -> Self {
        Self::TimedOut
    }
}

impl From<Unheard> for RecvFailure {
    fn from(reason: Unheard) -> Self {
        match reason {
            Unheard::NotInTime => Self::TimedOut,
            Unheard::Os(error) => Self::Os(error),
        }
    }
}
