//! The memory of a ring: a file, or a part of one, that grows and shrinks, mapped piece by piece.
//!
//! The first piece has [`FIRST`] bytes, the second as many, and each after it as many as all before
//! it. So the memory can double without being mapped anew, and what was mapped once stays: nobody need
//! be told when it grows.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use nix::fcntl::SealFlag;
use nix::sys::stat::fstat;

use crate::error::{Error, Result};
use crate::sys::mapping::Mapping;
use crate::sys::memfd;
use crate::wire::endpoint::Endpoint;

/// The size of the first piece.
pub(crate) const FIRST: usize = 64 << 10;
const PIECES: usize = 18;

#[derive(Debug)]
pub(crate) struct Store {
    file: Arc<Endpoint>,
    /// Where it begins in the file.
    base: usize,
    max: usize,
    /// Nothing may be written to what [`at`](Self::at) gives.
    read_only: bool,
    pieces: [OnceLock<Mapping>; PIECES],
}

impl Store {
    /// The size of all pieces.
    pub(crate) const MAX: usize = FIRST << (PIECES - 1);

    /// Memory for a ring of [`FIRST`] bytes.
    pub(crate) fn create() -> Result<Self> {
        let file = memfd::create("offspring-queue")
            .map_err(|error| Error::os("make the memory of a queue", error))?;
        let failed = |error| Error::shared_memory(FIRST, error);
        memfd::allocate(file.as_fd(), FIRST).map_err(failed)?;
        memfd::seal(file.as_fd(), SealFlag::F_SEAL_SHRINK).map_err(failed)?;
        Ok(Self::of(file))
    }

    pub(crate) fn of(file: OwnedFd) -> Self {
        Self::part_of(Arc::new(Endpoint::new(file)), 0, Self::MAX)
    }

    /// Memory for a ring of up to `max` bytes, from `base` on, a multiple of a page. There is none yet.
    pub(crate) fn part_of(file: Arc<Endpoint>, base: usize, max: usize) -> Self {
        Self { file, base, max, read_only: false, pieces: [const { OnceLock::new() }; PIECES] }
    }

    /// The same memory, for who only reads: whoever writes to it through a wild pointer dies of that.
    pub(crate) fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    pub(crate) fn file(&self) -> &Endpoint {
        &self.file
    }

    /// How many bytes it can have.
    #[inline]
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Has memory ready up to there.
    pub(crate) fn grow(&self, from: usize, to: usize) -> Result<()> {
        memfd::allocate_range(self.file.as_fd(), self.base + from, self.base + to)
            .map_err(|error| Error::shared_memory(to, error))
    }

    /// Gives the memory between these two back to the system.
    pub(crate) fn give_back(&self, from: usize, to: usize) {
        // If it cannot, it stays: that harms nobody.
        let _ = memfd::give_back(self.file.as_fd(), self.base + from, self.base + to);
    }

    /// Where the piece begins in which this offset is, and where it ends.
    #[inline]
    pub(crate) fn piece(offset: usize) -> (usize, usize) {
        if offset < FIRST {
            return (0, FIRST);
        }
        let from = 1 << offset.ilog2();
        (from, from * 2)
    }

    /// The address of `len` bytes at this offset, all of which are in one piece, and are there.
    ///
    /// # Errors
    /// If there is no room for the mapping; `InvalidData` if the file is not as long.
    #[inline]
    pub(crate) fn at(&self, offset: usize, len: usize) -> io::Result<NonNull<u8>> {
        let (from, to) = Self::piece(offset);
        if offset + len > to || to > self.max {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let index = if from == 0 { 0 } else { (from / FIRST).ilog2() as usize + 1 };
        let piece = match self.pieces[index].get() {
            Some(piece) => piece,
            None => self.map(index, from, to)?,
        };
        // SAFETY: within the mapping.
        Ok(unsafe { piece.start().add(offset - from) })
    }

    #[cold]
    fn map(&self, index: usize, from: usize, to: usize) -> io::Result<&Mapping> {
        let file = self.file.as_fd();
        // It cannot shrink, so that what is there once does not vanish.
        let sealed = memfd::is_sealed(file, SealFlag::F_SEAL_SHRINK);
        if !sealed || fstat(file)?.st_size < (self.base + to) as i64 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let map = if self.read_only { Mapping::readable_at } else { Mapping::writable_at };
        let piece = map(file, self.base + from, to - from)?;
        // If another thread was quicker, this one goes.
        Ok(self.pieces[index].get_or_init(|| piece))
    }
}
