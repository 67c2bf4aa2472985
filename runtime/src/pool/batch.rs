//! Tasks that came in one call, and what came of them.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use super::CHUNK_MAX;
use super::desk::next_reply;
use super::error::{Task, TaskError};
use super::worker::next_task;
use crate::wire::Package;

/// How long a chunk should keep a worker busy, in nanoseconds: so long that what it costs to hand one
/// out does not matter, and so short that nobody waits for the last one for long.
const CHUNK_TIME: f64 = 200_000.0;
/// How long one should keep it busy at the least, where not many tasks are left.
const CHUNK_TIME_MIN: f64 = 20_000.0;
/// The most tasks in a chunk whose size is ours to choose.
const CHUNK_COUNT: f64 = 16_384.0;
/// So many tasks wait beside the arena, at the most: each has descriptors.
const PACKAGES_MAX: usize = 16;

/// Tasks that are not on the board, in the order of their inputs.
#[derive(Debug)]
pub(super) enum Segment {
    /// Tasks one after the other, each with its length before it, and nothing behind them.
    Plain {
        /// Which input the first of them is for.
        first: usize,
        count: u32,
        bytes: Vec<u8>,
        /// Where in the bytes the first of them begins.
        at: usize,
        /// How often they were lost with a worker.
        lost: u32,
    },
    /// One that travels beside the arena.
    Beside { index: usize, package: Arc<Package>, lost: u32 },
}

impl Segment {
    /// Which input its first task is for.
    pub(super) fn first(&self) -> usize {
        match self {
            Self::Plain { first, .. } => *first,
            Self::Beside { index, .. } => *index,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Plain { count, .. } => *count as usize,
            Self::Beside { .. } => 1,
        }
    }

    /// How many bytes its tasks have.
    fn len(&self) -> usize {
        match self {
            Self::Plain { bytes, at, .. } => bytes.len() - at,
            Self::Beside { package, .. } => package.len(),
        }
    }

    /// How many descriptors of this process it holds, more or less.
    fn packages(&self) -> usize {
        usize::from(matches!(self, Self::Beside { .. }))
    }
}

/// How many tasks go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkSize {
    /// As many as take a moment together.
    Adaptive,
    /// So many.
    Exactly(u32),
}

/// What came of one task that is no plain value.
#[derive(Debug)]
pub(super) enum Fate {
    /// A value that came beside the ring.
    Value(Vec<u8>, Vec<OwnedFd>),
    Failed(TaskError),
}

/// What has come of a batch's tasks and was not fetched.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Plain values, as they were in the ring, in runs: which input the first is for, how many bytes.
    runs: Vec<(usize, usize)>,
    values: Vec<u8>,
    fates: Vec<(usize, Fate)>,
    len: usize,
}

impl Inbox {
    /// Values of so many inputs that follow each other, each as a [reply](next_reply).
    #[inline]
    pub(super) fn push(&mut self, first: usize, count: usize, replies: &[u8]) {
        self.runs.push((first, replies.len()));
        self.values.extend_from_slice(replies);
        self.len += count;
    }

    pub(super) fn push_fate(&mut self, index: usize, fate: Fate) {
        self.fates.push((index, fate));
        self.len += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Passes everything on, and is empty then; it keeps its room.
    #[inline]
    pub(super) fn drain(&mut self, mut came: impl FnMut(Came<'_>)) {
        // Taken, so that it is empty if a user's `Deserialize` panics.
        let mut own = std::mem::take(self);
        let mut rest = &own.values[..];
        for (first, len) in own.runs.drain(..) {
            let (run, after) = rest.split_at(len);
            rest = after;
            came(Came::Values(first, Replies(run)));
        }
        own.values.clear();
        for (index, fate) in own.fates.drain(..) {
            came(Came::Fate(index, fate));
        }
        own.len = 0;
        *self = own;
    }
}

/// Something that has come of a batch's tasks.
#[derive(Debug)]
pub(super) enum Came<'a> {
    /// Plain values of inputs that follow each other, from this one on.
    Values(usize, Replies<'a>),
    /// What came of this input's task.
    Fate(usize, Fate),
}

/// The bytes of values, one after the other.
#[derive(Debug)]
pub(super) struct Replies<'a>(&'a [u8]);

impl<'a> Iterator for Replies<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        next_reply(&mut self.0).map(|(_, bytes)| bytes)
    }
}

/// Why the tasks of a batch that are not done never will be.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    Cancelled,
    Closed,
    Failed(String),
}

impl Ending {
    pub(super) fn error(&self, task: Task, may_have_run: bool) -> TaskError {
        match self {
            Self::Cancelled => TaskError::Cancelled { task, may_have_run },
            Self::Closed => TaskError::PoolClosed { task, may_have_run },
            Self::Failed(reason) => TaskError::PoolFailed { task, reason: reason.clone() },
        }
    }
}

/// Batches that are done, in the order in which they were.
pub(super) type Finished = Arc<Mutex<VecDeque<u64>>>;

/// What a batch's owner wants to be told when it is done.
pub(super) type OnDone = Box<dyn FnOnce(&mut Batch) -> Box<dyn FnOnce() + Send> + Send>;

pub(super) struct Batch {
    /// Which process its tasks are, in the registry and by name.
    pub(super) process: u32,
    pub(super) name: &'static str,
    /// It is one task that was submitted alone.
    pub(super) alone: bool,
    pub(super) chunk: ChunkSize,
    /// How often a task is run again that was lost with its worker.
    pub(super) retries: u32,
    /// It ends at the first input whose task fails.
    pub(super) fails_fast: bool,
    waiting: VecDeque<Segment>,
    /// How many tasks, and bytes, are in `waiting`, and how many of its tasks travel beside the arena.
    pub(super) waiting_count: usize,
    waiting_bytes: usize,
    waiting_packages: usize,
    /// Its owner takes outcomes as they come.
    pub(super) lazy: bool,
    /// It is in the pool's list of those that have tasks waiting.
    pub(super) is_ready: bool,
    /// How many inputs there are, when that is known.
    pub(super) total: Option<usize>,
    /// How many of them are dealt with.
    pub(super) done: usize,
    /// What takes place from this input on does not matter any more.
    pub(super) end: usize,
    pub(super) ending: Option<Ending>,
    /// Whether one of those that were not done had been claimed.
    pub(super) may_have_run: bool,
    /// How long a task takes, in nanoseconds.
    pace: Option<f64>,
    pub(super) inbox: Inbox,
    /// Nobody will fetch what comes of it.
    pub(super) abandoned: bool,
    pub(super) on_done: Option<OnDone>,
    /// Written to when it is done.
    pub(super) bell: Option<OwnedFd>,
    /// It is to stand here when it is done.
    pub(super) finished: Option<Finished>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Batch {
    pub(super) fn new(process: u32, name: &'static str) -> Self {
        Self {
            process,
            name,
            alone: false,
            chunk: ChunkSize::Adaptive,
            retries: 0,
            fails_fast: false,
            waiting: VecDeque::new(),
            waiting_count: 0,
            waiting_bytes: 0,
            waiting_packages: 0,
            lazy: false,
            is_ready: false,
            total: None,
            done: 0,
            end: usize::MAX,
            ending: None,
            may_have_run: false,
            pace: None,
            inbox: Inbox::default(),
            abandoned: false,
            on_done: None,
            bell: None,
            finished: None,
        }
    }

    pub(super) fn task(&self, index: usize) -> Task {
        Task { process: self.name, index: (!self.alone).then_some(index) }
    }

    pub(super) fn is_done(&self) -> bool {
        self.ending.is_some() || self.total.is_some_and(|total| self.done >= total)
    }

    /// Whether enough tasks wait: their bytes are this process's memory, and what is beside the arena
    /// has descriptors.
    pub(super) fn is_full(&self) -> bool {
        self.waiting_bytes > 4 * CHUNK_MAX || self.waiting_packages >= PACKAGES_MAX
    }

    /// Nobody will fetch what comes of it.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
        self.inbox = Inbox::default();
    }

    /// More tasks, behind those that wait.
    pub(super) fn add(&mut self, segment: Segment) {
        self.count_in(&segment);
        self.waiting.push_back(segment);
    }

    /// Tasks that are to be run again, or after all, before those that wait.
    pub(super) fn add_again(&mut self, segment: Segment) {
        self.count_in(&segment);
        self.waiting.push_front(segment);
    }

    fn count_in(&mut self, segment: &Segment) {
        self.waiting_count += segment.count();
        self.waiting_bytes += segment.len();
        self.waiting_packages += segment.packages();
    }

    /// Has nothing begin from this input on. Says how many tasks were waiting that now do not.
    pub(super) fn forget_from(&mut self, index: usize) -> usize {
        let before = self.waiting_count;
        self.waiting.retain_mut(|segment| {
            if segment.first() >= index {
                return false;
            }
            if let Segment::Plain { first, count, bytes, at, .. } = segment
                && (index - *first) < *count as usize
            {
                *count = (index - *first) as u32;
                let len = len_of(&bytes[*at..], *count);
                bytes.truncate(*at + len);
            }
            true
        });
        self.waiting_count = self.waiting.iter().map(Segment::count).sum();
        self.waiting_bytes = self.waiting.iter().map(Segment::len).sum();
        self.waiting_packages = self.waiting.iter().map(Segment::packages).sum();
        before - self.waiting_count
    }

    /// A task has taken so many nanoseconds, on average of so many.
    pub(super) fn learn(&mut self, nanos: u64, count: u32) {
        if count > 0 {
            let each = nanos as f64 / f64::from(count);
            self.pace = Some(self.pace.map_or(each, |pace| pace * 0.5 + each * 0.5));
        }
    }

    /// How many tasks the next chunk is to have, for so many workers.
    fn chunk_size(&self, workers: usize) -> u32 {
        match (self.chunk, self.pace) {
            (ChunkSize::Exactly(count), _) => count,
            (ChunkSize::Adaptive, None) => 1,
            (ChunkSize::Adaptive, Some(pace)) => {
                let in_time = |time: f64| (time / pace.max(1.0)).clamp(1.0, CHUNK_COUNT) as u32;
                // What is left goes to all of them, and in pieces that get smaller; as long as more
                // is to come, what is there is not all that is left.
                let shares = if self.total.is_some() { 2 * workers } else { workers };
                let share = self.waiting_count.div_ceil(shares.max(1)) as u32;
                share.clamp(in_time(CHUNK_TIME_MIN), in_time(CHUNK_TIME))
            }
        }
    }

    /// How many chunks that nobody has claimed should hang on the board while so many workers claim
    /// them: so many that none looks in vain before the parent puts up more.
    pub(super) fn ahead(&self, workers: usize) -> usize {
        /// The parent may be away for so many nanoseconds.
        const AWAY: f64 = 1_000_000.0;
        let by_time = match self.pace {
            Some(pace) => AWAY / (pace.max(1.0) * f64::from(self.chunk_size(workers))),
            None if self.alone => f64::MAX,
            None => 0.0,
        };
        let least = workers.max(1);
        let most = match self.waiting.front() {
            // Each holds memory of its own, and descriptors.
            Some(Segment::Beside { .. }) => 2 * least,
            _ => least.max(500),
        };
        (by_time as usize).clamp(least, most)
    }

    /// Cuts the next chunk, of no more tasks than `most` and no more bytes than `room`, unless
    /// the first alone has more.
    pub(super) fn cut(&mut self, workers: usize, most: u32, room: usize) -> Option<Taken> {
        let size = self.chunk_size(workers).min(most).max(1);
        let segment = self.waiting.front_mut()?;
        let (first, cut) = match segment {
            Segment::Beside { .. } => {
                let Some(Segment::Beside { index, package, lost }) = self.waiting.pop_front()
                else {
                    unreachable!("it was there just now")
                };
                self.waiting_count -= 1;
                self.waiting_bytes -= package.len();
                self.waiting_packages -= 1;
                return Some(Taken::Beside { index, package, lost });
            }
            Segment::Plain { first, count, bytes, at, lost } => {
                let mut rest = &bytes[*at..];
                let mut taken = 0;
                let mut len = 0;
                while taken < size.min(*count) && next_task(&mut rest).is_some() {
                    let now = bytes.len() - *at - rest.len();
                    if taken > 0 && now > room {
                        break;
                    }
                    (taken, len) = (taken + 1, now);
                }
                if taken == 0 {
                    let spoiled =
                        Taken::Spoiled { first: *first, count: *count, may_have_run: *lost > 0 };
                    self.waiting_count -= segment.count();
                    self.waiting_bytes -= segment.len();
                    self.waiting.pop_front();
                    return Some(spoiled);
                }
                let cut = (*at, len, taken, *lost);
                let from = *first;
                *first += taken as usize;
                *count -= taken;
                *at += len;
                (from, cut)
            }
        };
        let (at, len, count, lost) = cut;
        self.waiting_count -= count as usize;
        self.waiting_bytes -= len;
        Some(Taken::Plain { first, count, at, len, lost })
    }

    /// The bytes of what was just cut.
    pub(super) fn cut_bytes(&self, at: usize, len: usize) -> &[u8] {
        match self.waiting.front() {
            Some(Segment::Plain { bytes, .. }) => &bytes[at..at + len],
            _ => &[],
        }
    }

    /// What was cut is on the board.
    pub(super) fn tidy(&mut self) {
        while let Some(Segment::Plain { count: 0, .. }) = self.waiting.front() {
            self.waiting.pop_front();
        }
    }
}

/// How many bytes the first so many of these tasks have.
pub(super) fn len_of(tasks: &[u8], count: u32) -> usize {
    let mut rest = tasks;
    for _ in 0..count {
        next_task(&mut rest);
    }
    tasks.len() - rest.len()
}

/// A chunk that was cut.
#[derive(Debug)]
pub(super) enum Taken {
    Plain {
        first: usize,
        count: u32,
        at: usize,
        len: usize,
        lost: u32,
    },
    Beside {
        index: usize,
        package: Arc<Package>,
        lost: u32,
    },
    /// None: the bytes of these tasks were written over, while a worker had them.
    Spoiled {
        first: usize,
        count: u32,
        may_have_run: bool,
    },
}
