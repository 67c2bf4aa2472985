//! `SOCK_SEQPACKET` socket pairs: one packet is one message, whole or not at all, with descriptors.
//!
//! References: `unix(7)`, `cmsg(3)`, `recvmsg(2)`; `net/unix/af_unix.c`.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socketpair, sockopt};
use nix::sys::stat::{SFlag, fstat};

use super::fd::above_stdio;
use super::poll::{self, Wait};

/// The most descriptors the kernel lets one packet carry (`SCM_MAX_FD`).
pub(crate) const MAX_FDS: usize = 253;

/// A connected pair of packet sockets.
pub(crate) fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (a, b) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((above_stdio(a)?, above_stdio(b)?))
}

/// Whether this descriptor is a packet socket, as our pipes' ends are.
pub(crate) fn is_packet_socket(fd: BorrowedFd<'_>) -> bool {
    getsockopt(&fd, sockopt::SockType) == Ok(SockType::SeqPacket)
        && nix::sys::socket::getsockname::<nix::sys::socket::UnixAddr>(fd.as_raw_fd()).is_ok()
}

/// The process at the other end, as the kernel recorded it when the pair was made.
pub(crate) fn peer_pid(fd: BorrowedFd<'_>) -> nix::Result<u32> {
    getsockopt(&fd, sockopt::PeerCredentials).map(|peer| peer.pid().cast_unsigned())
}

/// Room for the control message of a packet with the most descriptors, aligned as a `cmsghdr`.
#[repr(C, align(8))]
struct Control(MaybeUninit<[u8; CONTROL_LEN]>);

// SAFETY: CMSG_SPACE only computes.
const CONTROL_LEN: usize =
    unsafe { libc::CMSG_SPACE((MAX_FDS * size_of::<RawFd>()) as u32) } as usize;

/// Sends one packet. With `wait` false, `EAGAIN` says that the other end has no room.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    wait: bool,
) -> nix::Result<()> {
    debug_assert!(fds.len() <= MAX_FDS);
    let mut control = Control(MaybeUninit::uninit());
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len() as _;
    if !fds.is_empty() {
        let bytes = size_of_val(fds) as u32;
        message.msg_control = (&raw mut control).cast();
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute; `control` is as long as the space for
        // MAX_FDS, so the header that CMSG_FIRSTHDR finds and its data lie inside it. A
        // `BorrowedFd` is a `RawFd` in memory (it is `repr(transparent)`).
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(bytes) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(bytes) as _;
            ptr::copy_nonoverlapping(
                fds.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(header),
                bytes as usize,
            );
        }
    }
    let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
    loop {
        // SAFETY: `message` points to slices and a control buffer that outlive the call.
        match Errno::result(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) })
        {
            Ok(_) => return Ok(()),
            // ECONNRESET: the other end went with packets of ours unread. It is told once, by
            // whatever call comes next; the second try finds out how things stand.
            Err(Errno::EINTR | Errno::ECONNRESET) => {}
            Err(other) => return Err(other),
        }
    }
}

/// What a packet turned out to be.
#[derive(Debug)]
pub(crate) struct Received {
    /// How many bytes arrived; 0 is the end of the stream.
    pub(crate) len: usize,
    /// The packet was longer than the room for it; the rest is gone.
    pub(crate) truncated: bool,
    /// The packet's descriptors did not all fit into this process; the rest are gone.
    pub(crate) fds_lost: bool,
}

/// Receives one packet into the spare capacity of `buffer`, and its descriptors onto the end of
/// `fds`.
pub(crate) fn recv(
    socket: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    fds: &mut Vec<OwnedFd>,
    wait: bool,
) -> nix::Result<Received> {
    let mut control = Control(MaybeUninit::uninit());
    let room = buffer.spare_capacity_mut();
    let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    let len = loop {
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = CONTROL_LEN as _;
        // SAFETY: `message` points to buffers that outlive the call.
        match Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) }) {
            Ok(len) => break len.cast_unsigned(),
            // See `send`: what was queued before the other end went can still be read.
            Err(Errno::EINTR | Errno::ECONNRESET) => {}
            Err(other) => return Err(other),
        }
    };
    // SAFETY: the kernel has written the first `len` bytes of the spare capacity (without
    // MSG_TRUNC among the flags, the length it gives is never more than it wrote).
    unsafe { buffer.set_len(buffer.len() + len) };
    // SAFETY: the kernel filled in `msg_controllen` bytes of `control`, which the CMSG macros
    // walk; each descriptor in an SCM_RIGHTS message has just been opened for us alone.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                for index in 0..bytes / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    let mut fds_lost = message.msg_flags & libc::MSG_CTRUNC != 0;
    for fd in fds.iter_mut().filter(|fd| super::fd::STDIO.contains(&fd.as_raw_fd())) {
        match super::fd::duplicate(&*fd) {
            Ok(moved) => *fd = moved,
            Err(_) => fds_lost = true,
        }
    }
    Ok(Received { len, truncated: message.msg_flags & libc::MSG_TRUNC != 0, fds_lost })
}

/// Whether both are descriptors of one socket.
pub(crate) fn is_same(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    let socket = |fd| {
        let file = fstat(fd).ok()?;
        (file.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFSOCK.bits())
            .then_some((file.st_dev, file.st_ino))
    };
    socket(a).is_some_and(|a| socket(b) == Some(a))
}

/// Whether the other end is gone and nothing is left to read, as far as that is known.
pub(crate) fn is_hung_up(socket: BorrowedFd<'_>) -> bool {
    matches!(peek(socket, &mut [0]), Ok(0))
}

/// Whether a packet of no bytes, just received, was the end of the stream.
pub(crate) fn has_ended(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::POLLHUP)];
    let closed = poll::poll(&mut fds, Wait::Never).is_ok_and(|ready| ready > 0);
    closed && !matches!(peek(socket, &mut [0]), Ok(1))
}

/// Whether nobody has the other end any more: what is sent would not be received.
pub(crate) fn is_abandoned(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::empty())];
    poll::poll(&mut fds, Wait::Never).is_ok_and(|ready| ready > 0)
}

/// Throws the next packet away, with its descriptors, if there is one.
pub(crate) fn discard(socket: BorrowedFd<'_>) -> nix::Result<()> {
    get(socket, &mut [0], libc::MSG_DONTWAIT).map(drop)
}

/// Copies the beginning of the next packet, which stays where it is, and says how much that is.
pub(crate) fn peek(socket: BorrowedFd<'_>, start: &mut [u8]) -> nix::Result<usize> {
    get(socket, start, libc::MSG_PEEK | libc::MSG_DONTWAIT)
}

fn get(socket: BorrowedFd<'_>, start: &mut [u8], flags: libc::c_int) -> nix::Result<usize> {
    loop {
        let (room, len) = (start.as_mut_ptr().cast(), start.len());
        // SAFETY: so much room is given as is claimed.
        match Errno::result(unsafe { libc::recv(socket.as_raw_fd(), room, len, flags) }) {
            Ok(len) => return Ok(len.cast_unsigned()),
            Err(Errno::EINTR | Errno::ECONNRESET) => {}
            Err(other) => return Err(other),
        }
    }
}
