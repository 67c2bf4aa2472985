//! Where the chunks on the board have their bytes: memory that the parent hands out in blocks, and that
//! its workers read.
//!
//! What is free and what is not, only the parent knows, in its own memory: no worker's death can
//! harm it.

#![allow(unsafe_code)]

use std::{io, slice};

use super::CHUNK_MAX;
use crate::error::{Error, Result};
use crate::ring::{FIRST, Store};
use crate::wire::endpoint::Endpoint;

/// Blocks have sizes that are powers of two, from this one on.
const SMALLEST: usize = 64;
const SIZES: usize = CHUNK_MAX.ilog2() as usize - SMALLEST.ilog2() as usize + 1;
/// So much memory is kept when nothing is in use.
const KEPT: usize = 4 << 20;

/// A block in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) at: usize,
    pub(super) size: usize,
}

#[derive(Debug)]
pub(super) struct Arena {
    store: Store,
    /// Free blocks of each size.
    free: [Vec<usize>; SIZES],
    /// Where the memory begins that was never handed out.
    end: usize,
    /// How much of the file has memory.
    allocated: usize,
    in_use: usize,
}

fn place_of(size: usize) -> usize {
    (size.ilog2() - SMALLEST.ilog2()) as usize
}

impl Arena {
    pub(super) fn create() -> Result<Self> {
        Ok(Self {
            store: Store::create()?,
            free: [const { Vec::new() }; SIZES],
            end: 0,
            allocated: FIRST,
            in_use: 0,
        })
    }

    pub(super) fn file(&self) -> &Endpoint {
        self.store.file()
    }

    /// A block that holds a copy of these bytes, of which there are at most [`CHUNK_MAX`].
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<Block> {
        let size = bytes.len().next_power_of_two().max(SMALLEST);
        let at = match self.free[place_of(size)].pop() {
            Some(at) => at,
            None => self.fresh(size)?,
        };
        let failed = |error| Error::os("map the memory of a pool", error);
        let to = self.store.at(at, size).map_err(failed)?;
        // SAFETY: so much is mapped there, in a block that nobody has: no worker reads it.
        unsafe { to.copy_from_nonoverlapping(std::ptr::NonNull::from(bytes).cast(), bytes.len()) };
        self.in_use += 1;
        Ok(Block { at, size })
    }

    /// Memory that was never handed out.
    fn fresh(&mut self, size: usize) -> Result<usize> {
        // Blocks lie at multiples of their size: so each is within one of the file's pieces, but for
        // one at the very beginning that is longer than the first piece.
        let mut at = self.end.next_multiple_of(size);
        if at == 0 && size > FIRST {
            at = size;
        }
        let end = at + size;
        if end > self.allocated {
            let allocated = end.next_power_of_two();
            if allocated > Store::MAX {
                return Err(Error::TooLarge {
                    what: "bytes in a pool".into(),
                    len: end,
                    max: Store::MAX,
                });
            }
            self.store.grow(self.allocated, allocated)?;
            self.allocated = allocated;
        }
        self.end = end;
        Ok(at)
    }

    /// What is in a block that was put.
    pub(super) fn bytes(&self, block: Block, len: usize) -> Vec<u8> {
        let start = self.store.at(block.at, len).expect("it was mapped when it was put");
        // SAFETY: so much is mapped there, and only this process writes to it, which does not.
        unsafe { slice::from_raw_parts(start.as_ptr(), len) }.to_vec()
    }

    /// The block is not in use any more.
    pub(super) fn free(&mut self, block: Block) {
        self.free[place_of(block.size)].push(block.at);
        self.in_use -= 1;
        if self.in_use == 0 {
            self.free.iter_mut().for_each(Vec::clear);
            self.end = 0;
            if self.allocated > KEPT {
                self.store.give_back(KEPT, self.allocated);
                self.allocated = KEPT;
            }
        }
    }
}

/// The same memory, as a worker sees it.
#[derive(Debug)]
pub(super) struct Reader(pub(super) Store);

impl Reader {
    /// The bytes of a chunk that this worker has claimed.
    pub(super) fn bytes(&self, at: usize, len: usize) -> io::Result<&[u8]> {
        let start = self.0.at(at, len)?;
        // SAFETY: so much is mapped there; the parent does not write to the block until this worker
        // says that it is through with the chunk, or has died.
        Ok(unsafe { slice::from_raw_parts(start.as_ptr(), len) })
    }
}
