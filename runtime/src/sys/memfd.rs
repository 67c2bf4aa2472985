//! Sealed files in memory: how a payload too large for a packet travels.
//!
//! References: `memfd_create(2)`, `fcntl(2)` on seals.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::{io, num::NonZeroUsize, ops::Deref, slice};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::fd::above_stdio;

const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
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
    let mut file = File::from(create("offspring-message")?);
    file.write_all(bytes)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(file.into())
}

/// The length of a sealed file, or `None` if it is not one: its content could then change, or
/// shrink under a mapping of it. Nor is one with holes, which could claim any length.
pub(crate) fn sealed_len(fd: BorrowedFd<'_>) -> Option<u64> {
    let seals = fcntl(fd, FcntlArg::F_GET_SEALS).ok()?;
    if !SealFlag::from_bits_retain(seals).contains(SEALS) {
        return None;
    }
    let stat = nix::sys::stat::fstat(fd).ok()?;
    let (len, blocks) = (u64::try_from(stat.st_size).ok()?, u64::try_from(stat.st_blocks).ok()?);
    (blocks.saturating_mul(512) >= len).then_some(len)
}

/// A read-only mapping of a sealed file.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<libc::c_void>,
    len: usize,
}

impl Mapping {
    /// Maps `fd`, which must be sealed and `len` bytes long; `None` if it is not.
    pub(crate) fn of_sealed(fd: &OwnedFd, len: usize) -> nix::Result<Option<Self>> {
        if sealed_len(fd.as_fd()) != Some(len as u64) {
            return Ok(None);
        }
        let Some(size) = NonZeroUsize::new(len) else { return Ok(None) };
        if len > isize::MAX as usize {
            return Err(Errno::ENOMEM);
        }
        // SAFETY: a fresh mapping, at an address of the kernel's choice, replaces nothing.
        let start = unsafe {
            mmap(
                None,
                size,
                ProtFlags::PROT_READ,
                MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE,
                fd,
                0,
            )
        }?;
        Ok(Some(Self { start, len }))
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` maps `len` readable bytes until `self` is dropped. The file is sealed
        // against writing and shrinking, so they neither change nor vanish.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are those of the mapping that this value owns, and every
        // slice of it borrowed `self`.
        let _ = unsafe { munmap(self.start, self.len) };
    }
}
