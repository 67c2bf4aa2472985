//! What a worker tells its parent: which chunk it has, and then what came of each of its tasks, in
//! their order.

/// What a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// The worker has claimed this chunk: its number. What follows is about that one.
    Claimed,
    /// The next task returned this.
    Value,
    /// The next task panicked: the report.
    Panicked,
    /// What the next task returned does not serialise: why.
    Unencodable,
    /// The next task did not run, as its arguments did not deserialise: why.
    Undecodable,
    /// The chunk is one task that travels beside the arena, and the worker wants it.
    Wanted,
    /// The worker is through with its chunk, if not with all of its tasks: [`Times`].
    End,
    /// The initializer has failed, and the worker leaves: why.
    Useless,
}

/// The payload is in a packet in the worker's socket.
const BESIDE: u32 = 1 << 8;

impl Reply {
    const ALL: [Self; 8] = [
        Self::Claimed,
        Self::Value,
        Self::Panicked,
        Self::Unencodable,
        Self::Undecodable,
        Self::Wanted,
        Self::End,
        Self::Useless,
    ];

    /// Whether it says what came of the next task.
    pub(super) fn is_of_a_task(self) -> bool {
        matches!(self, Self::Value | Self::Panicked | Self::Unencodable | Self::Undecodable)
    }

    pub(super) fn code(self, beside: bool) -> u32 {
        self as u32 | if beside { BESIDE } else { 0 }
    }

    /// What this is the code of, and whether its payload is beside the ring.
    pub(super) fn of(code: u32) -> Option<(Self, bool)> {
        let reply = *Self::ALL.get((code & !BESIDE) as usize)?;
        Some((reply, code & BESIDE != 0))
    }
}

/// When a chunk was begun and ended, in nanoseconds of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) began: u64,
    pub(super) ended: u64,
}

impl Times {
    pub(super) fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.began) << 64 | u128::from(self.ended)).to_le_bytes()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let both = u128::from_le_bytes(bytes.try_into().ok()?);
        Some(Self { began: (both >> 64) as u64, ended: both as u64 })
    }
}
