//! Scratch space for encoding and copying, kept by each thread.

use std::cell::Cell;

/// Scratch space of up to this size is kept for the next message.
const KEPT: usize = (1 << 20) + 4096;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Space that is empty at first. Taken, not borrowed: a user's `Serialize` may send something in its
/// turn.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) Vec<u8>);

impl Scratch {
    #[inline]
    pub(crate) fn new() -> Self {
        // In an exit handler it may be gone already.
        let mut bytes = SCRATCH.try_with(Cell::take).unwrap_or_default();
        bytes.clear();
        Self(bytes)
    }
}

impl Drop for Scratch {
    #[inline]
    fn drop(&mut self) {
        if self.0.capacity() <= KEPT {
            let bytes = std::mem::take(&mut self.0);
            let _ = SCRATCH.try_with(|kept| kept.set(bytes));
        }
    }
}
