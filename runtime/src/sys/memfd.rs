//! Files in memory, without a name, sealed: what a large payload travels in, and shared memory.
//!
//! References: `memfd_create(2)`, `fcntl(2)` on seals, `fallocate(2)`.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::slice;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};

use super::fd::{above_stdio, retry};
use super::mapping::Mapping;
use super::memory;

/// Nobody can change it any more.
pub(crate) const SEALED: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE)
    .union(SealFlag::F_SEAL_SEAL);

/// An empty file in memory, with a name for `/proc/*/maps`.
pub(crate) fn create(name: &str) -> nix::Result<OwnedFd> {
    memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).and_then(above_stdio)
}

/// A copy of `bytes` in a file that nobody can change any more.
pub(crate) fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    // Written, not mapped and copied: filling fresh pages by write(2) costs a third less.
    fits(bytes.len())?;
    let mut file = File::from(create("offspring-message")?);
    file.write_all(bytes)?;
    // (Who tries to send, or has little time, is not kept for long.)
    seal_within(file.as_fd(), SEALED, Duration::from_secs(1))?;
    Ok(file.into())
}

/// Adds seals. `EBUSY` for a seal against writing while somebody has it mapped for that.
///
/// The kernel also says so where it holds a page of the file itself: to move it elsewhere, say, or because a
/// pipe or a device is about to read it. But then only after 150 milliseconds (`memfd_wait_for_pins`), and as
/// that passes, this waits longer.
pub(crate) fn seal(fd: BorrowedFd<'_>, seals: SealFlag) -> nix::Result<()> {
    seal_within(fd, seals, Duration::from_secs(5))
}

fn seal_within(fd: BorrowedFd<'_>, seals: SealFlag, patience: Duration) -> nix::Result<()> {
    const HELD: Duration = Duration::from_millis(100);
    let began = Instant::now();
    loop {
        let tried = Instant::now();
        match fcntl(fd, FcntlArg::F_ADD_SEALS(seals)) {
            Err(Errno::EBUSY) if tried.elapsed() > HELD && began.elapsed() < patience => {}
            result => return result.map(drop),
        }
    }
}

/// Makes the file at least `len` bytes long, with memory for all of them: zeroed, where new.
///
/// Fails where they do not fit, so that touching them later never does.
pub(crate) fn allocate(fd: BorrowedFd<'_>, len: usize) -> nix::Result<()> {
    allocate_range(fd, 0, len)
}

/// The same for the bytes from `from` to `to`, where there may be a hole.
pub(crate) fn allocate_range(fd: BorrowedFd<'_>, from: usize, to: usize) -> nix::Result<()> {
    has_memory(to - from)?;
    may_be_as_long(to)?;
    let offset = |bytes: usize| libc::off_t::try_from(bytes).map_err(|_| Errno::EFBIG);
    let (from, to) = (offset(from)?, offset(to)?);
    // In pieces: what a signal interrupts is undone, and begins anew.
    const PIECE: libc::off_t = 64 << 20;
    (from..to).step_by(PIECE as usize).try_for_each(|from| {
        let len = PIECE.min(to - from);
        retry(|| fallocate(fd, FallocateFlags::empty(), from, len))
    })
}

/// Gives the memory of these bytes back to the system; they are zeros then.
pub(crate) fn give_back(fd: BorrowedFd<'_>, from: usize, to: usize) -> nix::Result<()> {
    let offset = |bytes: usize| libc::off_t::try_from(bytes).map_err(|_| Errno::EFBIG);
    let (from, to) = (offset(from)?, offset(to)?);
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    retry(|| fallocate(fd, hole, from, to - from))
}

/// An error if a file of this length is more than there is memory for, or than the process may make.
pub(crate) fn fits(len: usize) -> nix::Result<()> {
    has_memory(len)?;
    may_be_as_long(len)
}

fn has_memory(len: usize) -> nix::Result<()> {
    // Without this look the kernel would take what it can, and then start to kill processes.
    if len > memory::CHECKED_FROM && len as u64 > memory::available() {
        return Err(Errno::ENOMEM);
    }
    Ok(())
}

fn may_be_as_long(len: usize) -> nix::Result<()> {
    // Beyond this limit the kernel not only refuses, it sends a signal that ends the process.
    if getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(soft, _)| len as u64 > soft) {
        return Err(Errno::EFBIG);
    }
    Ok(())
}

/// Whether a file has these seals.
pub(crate) fn is_sealed(fd: BorrowedFd<'_>, seals: SealFlag) -> bool {
    let has = fcntl(fd, FcntlArg::F_GET_SEALS);
    has.is_ok_and(|has| SealFlag::from_bits_retain(has).contains(seals))
}

/// The length of a file that has these seals, or `None` if it has not: it could shrink under a
/// mapping of it. Nor is one with holes, which could claim any length.
pub(crate) fn sealed_len(fd: BorrowedFd<'_>, seals: SealFlag) -> Option<u64> {
    if !is_sealed(fd, seals) {
        return None;
    }
    let stat = nix::sys::stat::fstat(fd).ok()?;
    let (len, blocks) = (u64::try_from(stat.st_size).ok()?, u64::try_from(stat.st_blocks).ok()?);
    (blocks.saturating_mul(512) >= len).then_some(len)
}

/// The content of a file that nobody can change.
#[derive(Debug)]
pub(crate) struct Content(Mapping);

impl Content {
    /// Maps `fd`, which must be sealed and `len` bytes long; `None` if it is not.
    pub(crate) fn of_sealed(fd: &OwnedFd, len: usize) -> nix::Result<Option<Self>> {
        if len == 0 || sealed_len(fd.as_fd(), SEALED) != Some(len as u64) {
            return Ok(None);
        }
        Mapping::populated(fd.as_fd(), len).map(|mapping| Some(Self(mapping)))
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many readable bytes are mapped there until `self` is dropped. The file is
        // sealed against writing and shrinking, so they neither change nor vanish.
        unsafe { slice::from_raw_parts(self.0.start().as_ptr(), self.0.len()) }
    }
}
