//! Looking again for a while before sleeping: as long as that pays.

use std::cell::Cell;

/// How many looks. The pauses between them double, so all take 252 pauses: some microseconds.
const LOOKS: u32 = 6;
const FIRST_PAUSE: u32 = 4;
/// So many waits in a row may be in vain until this thread sleeps at once.
const IN_VAIN: u32 = 4;
/// After so many waits without a look it is tried again.
const TRY_AGAIN: u32 = 16;

thread_local! {
    /// How many more waits of this thread may be in vain, and for how many it has not looked.
    static PATIENCE: Cell<(u32, u32)> = const { Cell::new((IN_VAIN, 0)) };
}

/// One wait's looks.
#[derive(Debug)]
pub(crate) struct Spin {
    left: u32,
    pause: u32,
    first: u32,
}

impl Spin {
    pub(crate) fn new() -> Self {
        Self::from_pause(FIRST_PAUSE)
    }

    /// Eight times as long, for what others need longer to make: a message, and not the end of a few
    /// instructions.
    pub(crate) fn long() -> Self {
        Self::from_pause(FIRST_PAUSE * 8)
    }

    fn from_pause(pause: u32) -> Self {
        let (patience, without) = PATIENCE.get();
        let left = if patience > 0 || without >= TRY_AGAIN {
            LOOKS
        } else {
            PATIENCE.set((0, without + 1));
            0
        };
        Self { left, pause, first: pause }
    }

    /// None at all.
    pub(crate) fn none() -> Self {
        Self { left: 0, pause: FIRST_PAUSE, first: FIRST_PAUSE }
    }

    /// Pauses before another look; false, at once, if it is time to sleep.
    pub(crate) fn pause(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        for _ in 0..self.pause {
            std::hint::spin_loop();
        }
        self.pause *= 2;
        self.left -= 1;
        if self.left == 0 {
            // Until the next look has shown something else, it did not pay.
            PATIENCE.set((PATIENCE.get().0.saturating_sub(1), 0));
        }
        true
    }

    /// What it looked for has come.
    pub(crate) fn paid(&self) {
        if self.pause > self.first {
            PATIENCE.set((IN_VAIN, 0));
        }
    }
}
