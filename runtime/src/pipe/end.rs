//! One end of a pipe, untyped: it can be shared by threads and processes.
//!
//! How messages go is told in `README.md`.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::de::Error as _;
use serde::{Deserializer, Serialize, Serializer};

use super::bell::{self, BYTES_BESIDE, Found, Heard, Listen, Unheard, VALUE_BESIDE};
use super::errors::{RecvProblem, SendProblem};
use super::memory::{Direction, Memory, RING, Way};
use crate::ring::{Consuming, NoRoom, NotInTime, Producing, What};
use crate::sync::spin::Spin;
use crate::sys::poll::{self, Wait};
use crate::sys::socket::{self, is_packet_socket};
use crate::sys::ticks;
use crate::wire::endpoint::Endpoint;
use crate::wire::{
    self, DecodeError, Handle, INLINE_MAX, Kind, Packet, Parcel, RecvFailure, Scratch, SendFailure,
};

/// A serialised value.
const VALUE: Kind = Kind(b'v');
/// Plain bytes.
const BYTES: Kind = Kind(b'b');

/// So many messages go through the socket before the ring is used: many a pipe has no more.
const FIRST_PACKETS: u32 = 8;
/// How often a sender that waits for room looks whether a receiver is left.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// So often a sender is told that there is room, and finds none, before it doubts that.
const IN_VAIN: u32 = 100;

#[derive(Debug, Clone)]
pub(super) struct End(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Closed first: who is told that this end is gone looks whether the other end of the socket is.
    socket: Endpoint,
    memory: Shared,
    /// The direction in which this end sends; it receives in the other.
    outward: usize,
    /// Somebody has borrowed the descriptor to send with.
    lent: AtomicBool,
    /// When it was last seen that there is a receiver, and how many had left before.
    seen: AtomicU64,
    left: AtomicU32,
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

impl From<NotInTime> for SendProblem {
    fn from(NotInTime: NotInTime) -> Self {
        Self::TimedOut
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

    /// The way on which this end sends, and that on which it receives; `None` if the pipe has no ring.
    /// In a copy of the process whose end it is it has none, and its socket leads nowhere.
    #[inline]
    fn way(&self, outward: bool) -> io::Result<Option<Way<'_>>> {
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

/// Sending.
impl End {
    #[inline]
    pub(super) fn send<T: Serialize>(&self, value: &T, wait: Wait) -> Result<(), SendProblem> {
        let mut scratch = Scratch::new();
        let attached = wire::encode(value, &mut scratch.0).map_err(SendProblem::Encode)?;
        self.put(VALUE, &scratch.0, attached.fds(), wait)?;
        attached.sent();
        Ok(())
    }

    pub(super) fn send_bytes(&self, bytes: &[u8], wait: Wait) -> Result<(), SendProblem> {
        self.put(BYTES, bytes, &[], wait)
    }

    #[inline]
    fn put(
        &self,
        kind: Kind,
        payload: &[u8],
        fds: &[OwnedFd],
        wait: Wait,
    ) -> Result<(), SendProblem> {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let Some(way) = self.way(true).map_err(SendProblem::Os)? else {
            return Ok(wire::send(self.socket(), kind, payload, &fds, wait)?);
        };
        let direction = way.direction;
        let lent = self.0.lent.load(Ordering::Relaxed);
        // Ready before anybody is kept out.
        let parcel = match lent || !fds.is_empty() || payload.len() > INLINE_MAX {
            true => Some(Parcel::new(payload, &fds)?),
            false => None,
        };
        let mut message = Message { kind, payload, parcel, lent };
        let mut patience = Patience { wait, last_try: wait == Wait::Never, tries: 0 };
        loop {
            if direction.uses_ring() {
                self.check_receiver(direction)?;
            }
            let mut side = way.sending(wait)?;
            let refused = match self.try_put(&mut side, direction, &mut message) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            drop(side);
            match refused {
                Refused::RingIsFull => self.wait_for_room(direction, &mut patience)?,
                Refused::SocketIsFull => self.wait_for_socket(&mut patience)?,
                Refused::For(problem) => return Err(problem),
            }
        }
    }

    #[inline]
    fn try_put(
        &self,
        side: &mut Producing<'_>,
        direction: &Direction,
        message: &mut Message<'_>,
    ) -> Result<(), Refused> {
        let Message { kind, payload, ref mut parcel, lent } = *message;
        let inside = if parcel.is_some() { &[] } else { payload };
        let packets = direction.packets.load(Ordering::Relaxed);
        let place = match packets {
            // What somebody may have sent on his own comes before.
            packets if packets != RING && (lent || packets < FIRST_PACKETS) => None,
            _ => match side.reserve(inside.len()) {
                Ok(place) => Some(place),
                Err(NoRoom::Full(_)) => return Err(Refused::RingIsFull),
                Err(NoRoom::Failed(_)) if packets != RING => None,
                Err(NoRoom::Failed(error)) => {
                    return Err(Refused::For(SendProblem::Os(io::Error::other(error))));
                }
            },
        };
        let Some(place) = place else {
            let mut plain = Parcel::new(payload, &[])?;
            let parcel = parcel.as_mut().unwrap_or(&mut plain);
            parcel.send(self.socket(), (kind, 0), Wait::Never)?;
            let packets = packets.saturating_add(1).min(FIRST_PACKETS);
            direction.packets.store(packets, Ordering::Relaxed);
            return Ok(());
        };
        let what = match parcel {
            None => {
                bell::ring(side, direction, self.socket())?;
                if kind == VALUE { What::Item } else { What::Bytes }
            }
            Some(parcel) => {
                bell::beside(side, direction);
                let number = side.new_tag();
                let kind = if kind == VALUE { VALUE_BESIDE } else { BYTES_BESIDE };
                let sent = parcel.send(self.socket(), (kind, number), Wait::Never);
                What::Beside(sent.map(|()| number).inspect_err(|_| side.take_tag_back())?)
            }
        };
        side.write(place, what, inside);
        if packets != RING {
            direction.packets.store(RING, Ordering::Relaxed);
        }
        side.publish();
        Ok(())
    }

    /// An error if no receiver is left.
    ///
    /// While nobody has to be woken nothing calls the system, which would tell. So it is asked when a
    /// process has let go of its receivers, and else every few microseconds: in less, nobody can be
    /// killed, and somebody be told of it.
    #[inline]
    fn check_receiver(&self, direction: &Direction) -> Result<(), SendProblem> {
        let left = direction.left.load(Ordering::SeqCst);
        if left == self.0.left.load(Ordering::Relaxed)
            && ticks::is_recent(self.0.seen.load(Ordering::Relaxed))
        {
            return Ok(());
        }
        self.look_for_receiver(left)
    }

    #[cold]
    fn look_for_receiver(&self, left: u32) -> Result<(), SendProblem> {
        let now = ticks::now();
        if socket::is_abandoned(self.socket()) {
            return Err(SendProblem::Disconnected);
        }
        self.0.left.store(left, Ordering::Relaxed);
        self.0.seen.store(now, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until much of the ring is free: so a sender is not woken for each message.
    #[cold]
    fn wait_for_room(
        &self,
        direction: &Direction,
        patience: &mut Patience,
    ) -> Result<(), SendProblem> {
        if patience.wait == Wait::Never {
            return Err(SendProblem::TimedOut);
        }
        patience.tries += 1;
        // Room that is never found is none.
        let has_room = || direction.has_room() && patience.tries < IN_VAIN;
        let mut spin = Spin::long();
        while spin.pause() {
            if has_room() {
                spin.paid();
                return Ok(());
            }
        }
        let left = direction.left.load(Ordering::SeqCst);
        self.look_for_receiver(left)?;
        let has_left = || direction.left.load(Ordering::SeqCst) != left;
        // That all receivers were killed is told by nobody.
        let (now, early) = patience.wait.no_longer_than(LOOK_AGAIN);
        // SAFETY: the memory stays mapped for as long as this end lives, and this thread is awake before
        // it returns.
        let in_time = unsafe { direction.room.sleep(now, || has_room() || has_left()) };
        // All were woken.
        direction.room.awake(|| false);
        self.look_for_receiver(left)?;
        if in_time || early || has_room() { Ok(()) } else { Err(SendProblem::TimedOut) }
    }

    #[cold]
    fn wait_for_socket(&self, patience: &mut Patience) -> Result<(), SendProblem> {
        if patience.last_try {
            return Err(SendProblem::TimedOut);
        }
        // It says that there is room when there is much.
        let writable = poll::writable(self.socket(), patience.wait);
        patience.last_try = !writable.map_err(|error| SendProblem::Os(error.into()))?;
        Ok(())
    }
}

/// What is to be sent.
struct Message<'a> {
    kind: Kind,
    payload: &'a [u8],
    /// The same, if it goes beside the ring.
    parcel: Option<Parcel<'a>>,
    lent: bool,
}

/// Why it was not sent.
enum Refused {
    RingIsFull,
    SocketIsFull,
    For(SendProblem),
}

impl From<SendFailure> for Refused {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::TimedOut => Self::SocketIsFull,
            other => Self::For(other.into()),
        }
    }
}

/// How long a sender waits, and has waited.
struct Patience {
    wait: Wait,
    /// The time is over, but for one more try.
    last_try: bool,
    /// How often it has waited for room.
    tries: u32,
}

/// Receiving.
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
