//! The bell: what makes the socket readable while there is something in the ring.
//!
//! Receivers sleep in `poll(2)` on the socket, and so do whoever has borrowed a receiver's descriptor. So
//! one thing must hold at any instruction: **if the ring has records, there is a packet of ours in the
//! socket, no earlier than the oldest record**: a bell, or the oldest record's own packet, if that
//! travels beside the ring.
//!
//! Bells and messages beside the ring are numbered together, and lie in the socket in the order of the
//! records that they are for. [`Direction::bell`] says that the last of them is a bell; then the next
//! message rings no other. While both sides are awake the same bell stays where it is, and nobody calls
//! the system.
//!
//! | step | under the mutex of | killed right after it |
//! |---|---|---|
//! | [`ring`]: the bell is sent | the senders | nobody knows of the bell: the next sender sends another |
//! | `bell` is 1 | | there is a bell, and nothing in the ring: it is heard for nothing |
//! | the tail is published | | |
//! | a message beside: `bell` is 0 | the senders | the next sender sends a bell more than is needed |
//! | its packet is sent | | it belongs to no record: who receives throws it away |
//! | the tail is published | | |
//! | [`hear`]: the ring is empty, `bell` is 0 | both | the socket is readable for nothing until the next one hears; the next sender rings |
//! | all packets of ours are thrown away | | the same, for what is left of them |
//!
//! `hear` needs the senders' mutex so that nobody is between its bell and its tail; and it says so
//! before it takes the bell away: the other way round, who is killed in between would leave a ring for which
//! nobody rings any more.
//!
//! Who takes a message beside throws away what is before it in the socket. These are bells for records
//! that are taken, as the numbers say, and for what comes after it the next sender rings anew.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use super::memory::{Direction, Way};
use crate::ring::{Consuming, NotInTime, Producing};
use crate::sys::poll::Wait;
use crate::sys::socket;
use crate::wire::{Kind, Next, SendFailure, next};

/// A bell.
const BELL: Kind = Kind(b'r');
/// A message beside the ring: a value.
pub(super) const VALUE_BESIDE: Kind = Kind(b'w');
/// A message beside the ring: plain bytes.
pub(super) const BYTES_BESIDE: Kind = Kind(b'c');

/// Whether a packet of this kind belongs to the ring.
fn is_ours(kind: Kind) -> bool {
    matches!(kind, BELL | VALUE_BESIDE | BYTES_BESIDE)
}

/// Has the socket be readable for the record that is to be published next.
///
/// # Errors
/// [`SendFailure::TimedOut`] if the socket is full.
#[inline]
pub(super) fn ring(
    side: &Producing<'_>,
    direction: &Direction,
    socket: BorrowedFd<'_>,
) -> Result<(), SendFailure> {
    if direction.bell.load(Ordering::Relaxed) != 0 { Ok(()) } else { send(side, direction, socket) }
}

#[cold]
fn send(
    side: &Producing<'_>,
    direction: &Direction,
    socket: BorrowedFd<'_>,
) -> Result<(), SendFailure> {
    let [low, high] = side.new_tag().to_le_bytes();
    let bell = [BELL.0, 0, low, high];
    match socket::send(socket, &[IoSlice::new(&bell)], &[], false) {
        Ok(()) => {
            direction.bell.store(1, Ordering::SeqCst);
            Ok(())
        }
        Err(error) => {
            side.take_tag_back();
            Err(match error {
                Errno::EAGAIN => SendFailure::TimedOut,
                other => other.into(),
            })
        }
    }
}

/// A message is about to be sent beside the ring: what comes after it needs a bell of its own.
pub(super) fn beside(_side: &Producing<'_>, direction: &Direction) {
    direction.bell.store(0, Ordering::SeqCst);
}

/// What was heard.
pub(super) enum Heard<'a> {
    /// Something is in the ring.
    Ring,
    /// Nothing is there, and the socket is not readable.
    Nothing,
    /// A packet that the ring knows nothing of is next in the socket, or its end. It stays the next
    /// while this is kept.
    Packet(Consuming<'a>),
}

/// Why nothing could be heard.
pub(super) enum Unheard {
    NotInTime,
    Os(io::Error),
}

impl From<NotInTime> for Unheard {
    fn from(NotInTime: NotInTime) -> Self {
        Self::NotInTime
    }
}

impl From<io::Error> for Unheard {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

/// How closely one listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listen {
    /// Whatever is in the socket is told.
    Exactly,
    /// The socket is polled next, and tells of what is left in it.
    BeforePoll,
}

/// Takes the bell away, if the ring is empty, and looks what else is in the socket.
pub(super) fn hear<'a>(
    way: Way<'a>,
    socket: BorrowedFd<'_>,
    listen: Listen,
    wait: Wait,
) -> Result<Heard<'a>, Unheard> {
    let _senders = way.sending(wait)?;
    let receivers = way.receiving(wait)?;
    if receivers.next()?.is_some() {
        return Ok(Heard::Ring);
    }
    if way.direction.bell.load(Ordering::Relaxed) != 0 {
        way.direction.bell.store(0, Ordering::SeqCst);
    } else if listen == Listen::BeforePoll {
        return Ok(Heard::Nothing);
    }
    loop {
        match next(socket).map_err(io::Error::from)? {
            Next::Nothing => return Ok(Heard::Nothing),
            // Nobody can be about to publish a record for it.
            Next::Packet(kind, _) if is_ours(kind) => {
                socket::discard(socket).map_err(io::Error::from)?;
                if listen == Listen::BeforePoll {
                    return Ok(Heard::Nothing);
                }
            }
            _ => return Ok(Heard::Packet(receivers)),
        }
    }
}

/// What is next in the socket for somebody who looks for a message beside the ring.
pub(super) enum Found {
    It,
    /// It is gone with one that was killed.
    Gone,
    /// A packet that the ring knows nothing of comes first.
    Other,
}

/// Looks for the message with this number, which is the oldest record's, and throws away what is
/// before it.
pub(super) fn find(
    _side: &Consuming<'_>,
    socket: BorrowedFd<'_>,
    number: u16,
) -> io::Result<Found> {
    loop {
        match next(socket)? {
            Next::Packet(kind, tag) if is_ours(kind) => {
                if kind != BELL && tag == number {
                    return Ok(Found::It);
                }
                if number.wrapping_sub(tag) >= u16::MAX / 2 {
                    return Ok(Found::Gone);
                }
                socket::discard(socket)?;
            }
            Next::Other if socket::has_ended(socket) => return Ok(Found::Gone),
            Next::Nothing => return Ok(Found::Gone),
            Next::Packet(..) | Next::Other => return Ok(Found::Other),
        }
    }
}

/// Whether a packet comes first that the ring knows nothing of.
pub(super) fn is_other_first(_side: &Consuming<'_>, socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(match next(socket)? {
        Next::Nothing => false,
        Next::Packet(kind, _) => !is_ours(kind),
        Next::Other => !socket::has_ended(socket),
    })
}
