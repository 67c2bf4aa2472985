//! What a worker tells its parent: which chunk it has, and then what came of each of its tasks, in
//! their order.

/// What a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// The worker has claimed this chunk: [`Claim`]. What follows is about that one.
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
    /// The worker is through with its chunk, if not with all of its tasks: [`End`].
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

/// Which chunk was claimed, and that it is the worker's first, second..
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) seq: u32,
    pub(super) number: u32,
}

impl Claim {
    pub(super) fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.seq) << 32 | u64::from(self.number)).to_le_bytes()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let both = u64::from_le_bytes(bytes.try_into().ok()?);
        Some(Self { seq: (both >> 32) as u32, number: both as u32 })
    }
}

/// When a chunk was begun and ended, in nanoseconds of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) began: u64,
    pub(super) ended: u64,
}

/// Which chunk has ended, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) seq: u32,
    pub(super) times: Times,
}

impl End {
    pub(super) fn to_bytes(self) -> [u8; 24] {
        let Self { seq, times: Times { began, ended } } = self;
        let mut bytes = [0; 24];
        for (to, word) in bytes.chunks_exact_mut(8).zip([u64::from(seq), began, ended]) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// `None` for what cannot be.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut words = bytes.chunks_exact(8);
        let mut next = || Some(u64::from_le_bytes(words.next()?.try_into().ok()?));
        let (seq, began, ended) = (next()?, next()?, next()?);
        let end = Self { seq: seq.try_into().ok()?, times: Times { began, ended } };
        (bytes.len() == 24 && began <= ended).then_some(end)
    }
}
