//! Sending from an end: into the ring, beside it, or through the socket alone.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::bell::{self, BYTES_BESIDE, VALUE_BESIDE};
use super::end::{BYTES, End, VALUE};
use super::errors::SendProblem;
use super::memory::{Direction, RING};
use crate::ring::{NoRoom, NotInTime, Producing, What};
use crate::sync::spin::Spin;
use crate::sys::poll::{self, Wait};
use crate::sys::{socket, ticks};
use crate::wire::{self, INLINE_MAX, Kind, Parcel, Scratch, SendFailure};

/// So many messages go through the socket before the ring is used: many a pipe has no more.
const FIRST_PACKETS: u32 = 8;
/// How often a sender that waits for room looks whether a receiver is left.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// So often a sender is told that there is room, and finds none, before it doubts that.
const IN_VAIN: u32 = 100;

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

impl From<NotInTime> for SendProblem {
    fn from(NotInTime: NotInTime) -> Self {
        Self::TimedOut
    }
}
