//! Files mapped into memory.
//!
//! References: `mmap(2)`, `madvise(2)`.

use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The first bytes of a file, mapped; unmapped when it is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is a range of addresses, which are the same to all threads. What is done with the
// memory there is the business of whoever does it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of a file that is sealed against writing.
    pub(crate) fn read_only(fd: BorrowedFd<'_>, len: usize) -> nix::Result<Self> {
        // Private: of such a file, kernels before 6.7 refuse a shared mapping. As nobody writes, it is
        // the same memory.
        Self::new(fd, 0, len, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE)
    }

    /// The same, with all of the pages at once.
    pub(crate) fn populated(fd: BorrowedFd<'_>, len: usize) -> nix::Result<Self> {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_POPULATE;
        Self::new(fd, 0, len, ProtFlags::PROT_READ, flags)
    }

    /// Maps the first `len` bytes for reading and writing. The file may be shorter: what lies
    /// beyond its end must not be touched before it has grown.
    pub(crate) fn writable(fd: BorrowedFd<'_>, len: usize) -> nix::Result<Self> {
        Self::writable_at(fd, 0, len)
    }

    /// The same for `len` bytes from `offset` on, which is a multiple of a page.
    pub(crate) fn writable_at(fd: BorrowedFd<'_>, offset: usize, len: usize) -> nix::Result<Self> {
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        Self::new(fd, offset, len, prot, MapFlags::MAP_SHARED)
    }

    /// The same for reading only, while others write.
    pub(crate) fn readable_at(fd: BorrowedFd<'_>, offset: usize, len: usize) -> nix::Result<Self> {
        Self::new(fd, offset, len, ProtFlags::PROT_READ, MapFlags::MAP_SHARED)
    }

    fn new(
        fd: BorrowedFd<'_>,
        offset: usize,
        len: usize,
        prot: ProtFlags,
        flags: MapFlags,
    ) -> nix::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        if len > isize::MAX as usize {
            return Err(Errno::ENOMEM);
        }
        let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
        // SAFETY: a fresh mapping, at an address of the kernel's choice, replaces nothing.
        let start = unsafe { mmap(None, size, prot, flags, fd, offset) }?;
        Ok(Self { start: start.cast(), len })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Has the kernel map these bytes now, for writing, rather than page by page as they are
    /// touched. Where it cannot, it does not.
    pub(crate) fn populate(&self, offset: usize, len: usize) {
        /// `MADV_POPULATE_WRITE`, since Linux 5.14.
        const POPULATE_WRITE: libc::c_int = 23;
        const PAGE: usize = 4096;
        let from = offset & !(PAGE - 1);
        if len == 0 || offset.checked_add(len).is_none_or(|end| end > self.len) {
            return;
        }
        // SAFETY: within the mapping. It changes no content.
        unsafe {
            let start = self.start.as_ptr().add(from);
            libc::madvise(start.cast(), offset + len - from, POPULATE_WRITE);
        }
    }
}

impl Mapping {
    /// Whether a fork of this process has it as well.
    pub(crate) fn leave_out_of_forks(&self, leave_out: bool) {
        let advice = if leave_out { libc::MADV_DONTFORK } else { libc::MADV_DOFORK };
        // SAFETY: the very range of the mapping. In this process nothing changes.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, advice) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are those of the mapping that this value owns; whoever made
        // references into it borrowed this value, or vouches for its life.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}
