//! One message, one packet: its layout, its sending and its receiving. See `README.md`.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use crate::sys;
use crate::sys::memfd::{self, Content};
use crate::sys::poll::{self, Wait};
use crate::sys::socket::{self, MAX_FDS};

/// What a packet is for. Each room that sends packets has letters of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind(pub(crate) u8);

const HEADER: usize = 16;

/// The longest payload that goes in the packet itself; a longer one goes in a sealed file.
///
/// A packet must fit into a socket's buffer (208 KiB by default) or it can never be sent, and two
/// should, so that sender and receiver overlap.
pub(crate) const INLINE_MAX: usize = 64 << 10;

/// The payload is in a sealed file, which is the first descriptor.
const IN_FILE: u8 = 1;
/// The value's descriptors are queued in a socket, which is the next descriptor: there are more
/// than one packet can carry.
const IN_CARRIER: u8 = 2;

/// More descriptors than this in one message is a lie, or a mistake.
const FDS_MAX: usize = 1 << 20;

/// Why a packet was not sent. Nothing of it has been seen by anybody then.
#[derive(Debug)]
pub(crate) enum SendFailure {
    /// Nobody is left to receive it.
    Disconnected,
    /// There was no room in time.
    TimedOut,
    Os(io::Error),
}

/// Why no packet was received.
#[derive(Debug)]
pub(crate) enum RecvFailure {
    /// Nobody is left to send one, and none is left to read.
    Disconnected,
    /// None came in time.
    TimedOut,
    /// One came that this program does not send. It is gone; the next may be sound.
    Corrupt(&'static str),
    /// One came, but this process had no room for its descriptors. It is gone.
    DescriptorsLost,
    Os(io::Error),
}

impl fmt::Display for RecvFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("the other end is gone"),
            Self::TimedOut => f.write_str("nothing came in time"),
            Self::Corrupt(what) => f.write_str(what),
            Self::DescriptorsLost => f.write_str(
                "the descriptors that came do not fit into this process: raise the limit of open \
                 files (`ulimit -n`), before the first process is started",
            ),
            Self::Os(error) => error.fmt(f),
        }
    }
}

impl From<Errno> for SendFailure {
    fn from(error: Errno) -> Self {
        match error {
            Errno::EPIPE | Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ENOTCONN => {
                Self::Disconnected
            }
            Errno::ETOOMANYREFS => Self::Os(io::Error::other(
                "too many descriptors of this user are on their way already: let some be received, \
                 or raise the limit of open files (`ulimit -n`)",
            )),
            other => Self::Os(other.into()),
        }
    }
}

impl From<SendFailure> for io::Error {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::Disconnected => Errno::EPIPE.into(),
            SendFailure::TimedOut => Errno::EAGAIN.into(),
            SendFailure::Os(error) => error,
        }
    }
}

impl From<Errno> for RecvFailure {
    fn from(error: Errno) -> Self {
        Self::Os(error.into())
    }
}

/// Sends one packet: `payload`, with duplicates of `fds` beside it.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    kind: Kind,
    payload: &[u8],
    fds: &[BorrowedFd<'_>],
    wait: Wait,
) -> Result<(), SendFailure> {
    Parcel::new(payload, fds)?.send(socket, (kind, 0), wait)
}

/// The number of the packet that is next to be received; `None` if there is none, or it is none of
/// ours.
pub(crate) fn next_tag(socket: BorrowedFd<'_>) -> nix::Result<Option<u16>> {
    Ok(match next(socket)? {
        Next::Packet(_, tag) => Some(tag),
        _ => None,
    })
}

/// What is next to be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    /// What begins as a packet of ours, with this number.
    Packet(Kind, u16),
    /// Anything else, or the end of the stream.
    Other,
}

/// Looks at the packet that is next to be received.
pub(crate) fn next(socket: BorrowedFd<'_>) -> nix::Result<Next> {
    let mut start = [0; 4];
    match socket::peek(socket, &mut start) {
        Ok(4) => Ok(Next::Packet(Kind(start[0]), u16::from_le_bytes([start[2], start[3]]))),
        Ok(_) => Ok(Next::Other),
        Err(Errno::EAGAIN) => Ok(Next::Nothing),
        Err(other) => Err(other),
    }
}

/// What is to be sent, made ready: sending it copies no more than fits into a packet.
pub(crate) struct Parcel<'a> {
    payload: &'a [u8],
    /// How long the payload is, which is not here any more if it is in the file.
    len: usize,
    fds: &'a [BorrowedFd<'a>],
    /// The payload, if it is long.
    file: Option<OwnedFd>,
    /// The descriptors, if they are many.
    carrier: Option<OwnedFd>,
}

impl<'a> Parcel<'a> {
    pub(crate) fn new(payload: &'a [u8], fds: &'a [BorrowedFd<'a>]) -> Result<Self, SendFailure> {
        let mut parcel = Self { payload, len: payload.len(), fds, file: None, carrier: None };
        if payload.len() > INLINE_MAX {
            parcel.put_into_file()?;
        }
        parcel.put_into_carrier()?;
        Ok(parcel)
    }

    fn put_into_file(&mut self) -> Result<(), SendFailure> {
        self.file = Some(memfd::sealed(self.payload).map_err(SendFailure::Os)?);
        Ok(())
    }

    fn put_into_carrier(&mut self) -> Result<(), SendFailure> {
        let own = usize::from(self.file.is_some());
        if self.carrier.is_none() && own + self.fds.len() > MAX_FDS {
            self.carrier = Some(fill_carrier(self.fds)?);
        }
        Ok(())
    }

    /// Sends it, with a number that [`next_tag`] tells before it is received.
    pub(crate) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        kind: (Kind, u16),
        wait: Wait,
    ) -> Result<(), SendFailure> {
        match self.try_send(socket, kind, wait) {
            // This machine's sockets have smaller buffers than is usual.
            Err(SendFailure::Os(error))
                if error.raw_os_error() == Some(libc::EMSGSIZE) && self.file.is_none() =>
            {
                self.put_into_file()?;
                self.put_into_carrier()?;
                self.try_send(socket, kind, wait)
            }
            done => done,
        }
    }

    fn try_send(
        &self,
        socket: BorrowedFd<'_>,
        (kind, tag): (Kind, u16),
        wait: Wait,
    ) -> Result<(), SendFailure> {
        let mut flags = 0;
        let mut inline = self.payload;
        let mut carried = Vec::new();
        if let Some(file) = &self.file {
            carried.push(file.as_fd());
            flags |= IN_FILE;
            inline = &[];
        }
        if let Some(carrier) = &self.carrier {
            carried.push(carrier.as_fd());
            flags |= IN_CARRIER;
        }
        let descriptors = if carried.is_empty() {
            self.fds
        } else {
            if self.carrier.is_none() {
                carried.extend_from_slice(self.fds);
            }
            &carried
        };

        let mut header = [0; HEADER];
        header[0] = kind.0;
        header[1] = flags;
        header[2..4].copy_from_slice(&tag.to_le_bytes());
        header[4..8].copy_from_slice(&(self.fds.len() as u32).to_le_bytes());
        header[8..].copy_from_slice(&(self.len as u64).to_le_bytes());
        let parts = [IoSlice::new(&header), IoSlice::new(inline)];
        let mut last = false;
        loop {
            match socket::send(socket, &parts, descriptors, wait == Wait::Forever) {
                Err(Errno::EAGAIN) if last || wait == Wait::Never => {
                    return Err(SendFailure::TimedOut);
                }
                // Poll says "writable" only when three quarters are free: there may be room before.
                Err(Errno::EAGAIN) => last = !poll::writable(socket, wait)?,
                done => return Ok(done?),
            }
        }
    }
}

/// What is to be sent, perhaps more than once, with all that belongs to it.
#[derive(Debug)]
pub(crate) struct Package {
    /// Empty, if it is in the file.
    payload: Vec<u8>,
    len: usize,
    file: Option<OwnedFd>,
    fds: Vec<OwnedFd>,
}

impl Package {
    pub(crate) fn new(payload: &[u8], fds: Vec<OwnedFd>) -> Result<Self, SendFailure> {
        let (len, large) = (payload.len(), payload.len() > INLINE_MAX);
        let file = large.then(|| memfd::sealed(payload)).transpose().map_err(SendFailure::Os)?;
        Ok(Self { payload: if large { Vec::new() } else { payload.to_vec() }, len, file, fds })
    }

    /// How many bytes its payload has.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn send(
        &self,
        socket: BorrowedFd<'_>,
        kind: Kind,
        wait: Wait,
    ) -> Result<(), SendFailure> {
        let Self { payload, len, file, fds } = self;
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let file = file.as_ref().map(sys::fd::duplicate).transpose()?;
        let mut parcel = Parcel { payload, len: *len, fds: &fds, file, carrier: None };
        parcel.put_into_carrier()?;
        parcel.send(socket, (kind, 0), wait)
    }
}

/// A socket with all of `fds` queued in it, to be sent in their place.
fn fill_carrier(fds: &[BorrowedFd<'_>]) -> Result<OwnedFd, SendFailure> {
    let (inward, outward) = socket::pair()?;
    for batch in fds.chunks(MAX_FDS) {
        socket::send(inward.as_fd(), &[IoSlice::new(&[0])], batch, false).map_err(|error| {
            // EAGAIN: the carrier's buffer is full. There is nobody to empty it.
            let error = if error == Errno::EAGAIN { Errno::ETOOMANYREFS } else { error };
            SendFailure::Os(error.into())
        })?;
    }
    Ok(outward)
}

/// A packet that was received; the payload lives as long as the receiving closure.
#[derive(Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) kind: Kind,
    pub(crate) payload: &'a [u8],
    pub(crate) fds: Vec<OwnedFd>,
}

thread_local! {
    /// Where packets are received: kept, so that receiving allocates nothing. In an exit handler
    /// it may be gone already.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Makes room for what is received, so that a copy of this process has it.
pub(crate) fn prepare() {
    BUFFER.set(Vec::with_capacity(HEADER + INLINE_MAX));
}

/// Receives one packet, and passes it to `consume`.
pub(crate) fn recv<R>(
    socket: BorrowedFd<'_>,
    wait: Wait,
    consume: impl FnOnce(Packet<'_>) -> R,
) -> Result<R, RecvFailure> {
    recv_then(socket, wait, || {}, consume)
}

/// As [`recv`]; calls `received` as soon as the packet is out of the socket, before a long payload is
/// mapped.
pub(crate) fn recv_then<R>(
    socket: BorrowedFd<'_>,
    wait: Wait,
    received: impl FnOnce(),
    consume: impl FnOnce(Packet<'_>) -> R,
) -> Result<R, RecvFailure> {
    // Taken, not borrowed: `consume` decodes, and a user's `Deserialize` may receive in its turn.
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    buffer.reserve(HEADER + INLINE_MAX);
    let result = recv_into(socket, wait, &mut buffer, received, consume);
    let _ = BUFFER.try_with(|kept| kept.set(buffer));
    result
}

fn recv_into<R>(
    socket: BorrowedFd<'_>,
    wait: Wait,
    buffer: &mut Vec<u8>,
    then: impl FnOnce(),
    consume: impl FnOnce(Packet<'_>) -> R,
) -> Result<R, RecvFailure> {
    let mut fds = Vec::new();
    let received = loop {
        match socket::recv(socket, buffer, &mut fds, wait == Wait::Forever) {
            // Another receiver may be quicker than we are after the poll: then wait again.
            Err(Errno::EAGAIN) if wait == Wait::Never || !poll::readable(socket, wait)? => {
                return Err(RecvFailure::TimedOut);
            }
            Err(Errno::EAGAIN) => {}
            done => break done?,
        }
    };
    then();
    if received.len == 0 {
        // None of ours is empty; if it is not the end, somebody else has sent it.
        return Err(if socket::has_ended(socket) {
            RecvFailure::Disconnected
        } else {
            RecvFailure::Corrupt("an empty packet")
        });
    }
    if received.fds_lost {
        return Err(RecvFailure::DescriptorsLost);
    }
    if received.truncated {
        return Err(RecvFailure::Corrupt("a packet longer than any we send"));
    }
    let Some((header, inline)) = buffer.split_first_chunk::<HEADER>() else {
        return Err(RecvFailure::Corrupt("a packet shorter than its header"));
    };
    let &[kind, flags, _, _, fd_count @ .., _, _, _, _, _, _, _, _] = header;
    let fd_count = u32::from_le_bytes(fd_count) as usize;
    let Ok(len) = usize::try_from(u64::from_le_bytes(*header.last_chunk().expect("16 bytes")))
    else {
        return Err(RecvFailure::Corrupt("a length beyond this machine's memory"));
    };

    let mut carried = fds.into_iter();
    let mapping;
    let payload = if flags & IN_FILE == 0 {
        inline
    } else {
        let file = carried.next().ok_or(RecvFailure::Corrupt("a packet without its file"))?;
        mapping = Content::of_sealed(&file, len)?
            .ok_or(RecvFailure::Corrupt("a file that is not sealed, or not as long as was said"))?;
        &*mapping
    };
    if payload.len() != len {
        return Err(RecvFailure::Corrupt("a packet not as long as was said"));
    }
    let fds = if flags & IN_CARRIER == 0 {
        carried.collect()
    } else {
        let carrier = carried.next().ok_or(RecvFailure::Corrupt("a packet without its carrier"))?;
        empty_carrier(&carrier, fd_count)?
    };
    if fds.len() != fd_count {
        return Err(RecvFailure::Corrupt("a packet without all of its descriptors"));
    }
    Ok(consume(Packet { kind: Kind(kind), payload, fds }))
}

/// The descriptors that [`fill_carrier`] queued.
fn empty_carrier(carrier: &OwnedFd, count: usize) -> Result<Vec<OwnedFd>, RecvFailure> {
    if count > FDS_MAX || !socket::is_packet_socket(carrier.as_fd()) {
        return Err(RecvFailure::Corrupt("a carrier that is none of ours"));
    }
    let mut fds = Vec::new();
    let mut byte = Vec::with_capacity(1);
    while fds.len() < count {
        byte.clear();
        // Everything was queued before the carrier was sent, so there is nothing to wait for.
        let Ok(received) = socket::recv(carrier.as_fd(), &mut byte, &mut fds, false) else {
            break; // what is missing is seen by the number
        };
        if received.fds_lost {
            return Err(RecvFailure::DescriptorsLost);
        }
        if received.len == 0 {
            break;
        }
    }
    Ok(fds)
}
