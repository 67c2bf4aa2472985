//! Descriptors: duplicating them, and keeping ours away from the three standard ones.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::sys::stat::Mode;

/// Standard input, output and error.
pub(crate) const STDIO: std::ops::Range<RawFd> = 0..3;

/// Calls `operation` again for as long as a signal interrupts it.
pub(crate) fn retry<T>(mut operation: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match operation() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// A second descriptor for the same open file, close-on-exec and never one of the standard three.
pub(crate) fn duplicate(fd: impl AsFd) -> nix::Result<OwnedFd> {
    let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(STDIO.end))?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Moves a fresh descriptor out of the way of the standard three.
///
/// A program that has closed its standard input gets number 0 for the next thing it opens. Were
/// that thing ours, a child would be given it as its standard input.
pub(crate) fn above_stdio(fd: OwnedFd) -> nix::Result<OwnedFd> {
    if STDIO.contains(&fd.as_raw_fd()) { duplicate(&fd) } else { Ok(fd) }
}

/// One of the standard three, if it is open.
pub(crate) fn standard(number: RawFd) -> Option<BorrowedFd<'static>> {
    debug_assert!(STDIO.contains(&number));
    // SAFETY: fcntl(F_GETFD) reads a flag, on any number; a closed one is EBADF.
    let open = unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    // SAFETY: it is open, and the standard three are by convention open for the program's life.
    open.then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

/// Makes `fd` one of the standard three, replacing what was there. It survives an `exec`.
pub(crate) fn become_standard(fd: BorrowedFd<'_>, number: RawFd) -> nix::Result<()> {
    debug_assert!(STDIO.contains(&number));
    // SAFETY: dup2 has no memory effects. The number it replaces is a standard stream, which std
    // itself treats as replaceable, and which the caller means to replace.
    retry(|| Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), number) })).map(drop)
}

/// Makes a descriptor that has an owner lead to what `other` leads to. Its number and owner stay.
pub(crate) fn replace_owned(number: RawFd, other: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: dup3 has no memory effects, and the number is open before and after: to its owner it
    // is as if the peer had gone.
    retry(|| Errno::result(unsafe { libc::dup3(other.as_raw_fd(), number, libc::O_CLOEXEC) }))
        .map(drop)
}

/// A descriptor that reads as empty and swallows what is written.
///
/// Where there is no `/dev/null` (a bare chroot), an empty file in memory takes its place.
pub(crate) fn null() -> nix::Result<OwnedFd> {
    retry(|| open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()))
        .or_else(|_| super::memfd::create("offspring-null"))
        .and_then(above_stdio)
}

/// Closes every descriptor from `first` on.
///
/// # Safety
/// Nobody may own one of them any more: this is for a process that has just been made, before
/// anything in it has opened a descriptor of its own.
pub(crate) unsafe fn close_from(first: RawFd) {
    // SAFETY: the caller promises that no owner is left.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if done == 0 {
        return;
    }
    // A kernel before 5.9, or a filter: one by one, as far as the limit goes.
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .map_or(1024, |(soft, _)| soft.min(1 << 20));
    for number in first..limit as RawFd {
        // SAFETY: as above.
        unsafe { libc::close(number) };
    }
}

/// Takes over a descriptor that was handed to this process at its start, if it is open.
///
/// # Safety
/// The number must have been set aside for us by whoever started the process.
pub(crate) unsafe fn inherit(number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: the caller says the number is ours; if it is not open, this fails with EBADF.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: as above, and it is open.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Writes up to `len` bytes from `start`; says how many.
///
/// # Safety
/// So many bytes must be there. They need not be initialised.
pub(crate) unsafe fn write_raw(
    fd: BorrowedFd<'_>,
    start: *const u8,
    len: usize,
) -> nix::Result<usize> {
    // SAFETY: the caller's promise; the kernel only reads.
    retry(|| Errno::result(unsafe { libc::write(fd.as_raw_fd(), start.cast(), len) }))
        .map(|written| written.cast_unsigned())
}
