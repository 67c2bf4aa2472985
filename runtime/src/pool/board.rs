//! What the parent and its workers have in common: the board, on which the parent puts chunks of tasks
//! for the workers to claim, and a desk for each worker, where it says what it does and leaves its
//! replies. `README.md` goes through the steps, and a death at each.

#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::error::Result;
use crate::shm::object::Kind;
use crate::sync::gate::Gate;
use crate::sys::futex;
use crate::sys::poll::Wait;

/// How many chunks can be on the board.
const WINDOW: usize = 1024;
/// The size of a worker's ring for replies, in bytes.
const RING: usize = 32 << 10;
/// A longer reply goes beside the ring.
pub(super) const REPLY_MAX: usize = RING / 4;
/// The most workers that a pool can have at once.
pub(super) const MAX_WORKERS: usize = 1024;

/// A number on a cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
struct Line(AtomicU32);

/// One chunk of tasks, as it hangs on the board.
#[derive(Debug)]
#[repr(C)]
struct Notice {
    /// The chunk's number (the upper half), and who has it: nobody, a worker, or it is withdrawn.
    claim: AtomicU64,
    /// Where its tasks are in the arena.
    at: AtomicU64,
    len: AtomicU32,
    /// How many tasks; 0 for one that is to be asked for.
    count: AtomicU32,
    process: AtomicU32,
}

const NOBODY: u32 = 0;
const WITHDRAWN: u32 = u32::MAX;

fn claim(seq: u32, by: u32) -> u64 {
    u64::from(seq) << 32 | u64::from(by)
}

/// A chunk of tasks, as its notice describes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub(super) at: usize,
    pub(super) len: u32,
    /// How many tasks. `None`: one, which travels beside the arena.
    pub(super) count: Option<u32>,
    pub(super) process: u32,
}

/// Who has a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Nobody,
    Worker(usize),
    /// It was withdrawn, or its notice has made room for another.
    Gone,
}

#[derive(Debug)]
#[repr(C)]
pub(super) struct Board {
    /// The first chunk that may be free: all before it are claimed or withdrawn.
    cursor: Line,
    /// How many chunks were ever put up, going round at 2³².
    published: Line,
    /// Where workers sleep that have nothing to do.
    pub(super) work: Gate,
    /// The thread of the parent's that looks after the replies sleeps on this while it is 1.
    listener: Line,
    /// No thread of the parent's listens: its bell is to be rung.
    bell_wanted: Line,
    /// No more chunks will come.
    closed: AtomicU32,
    /// So many workers are to leave.
    leaving: AtomicU32,
    /// How many desks there are.
    desks: AtomicU32,
    notices: [Notice; WINDOW],
}

impl Kind for Board {
    const NAME: &'static str = "Pool";
    type Tail = Desk;
    const TAIL_MAX: usize = MAX_WORKERS;

    fn tail_len(&self) -> usize {
        self.desks.load(Ordering::SeqCst) as usize
    }

    fn check() -> Result<()> {
        crate::sync::check()
    }
}

impl Board {
    /// With so many desks.
    pub(super) fn new(desks: usize) -> Self {
        let notice = || Notice {
            claim: AtomicU64::new(claim(0, WITHDRAWN)),
            at: AtomicU64::new(0),
            len: AtomicU32::new(0),
            count: AtomicU32::new(0),
            process: AtomicU32::new(0),
        };
        Self {
            cursor: Line(AtomicU32::new(0)),
            published: Line(AtomicU32::new(0)),
            work: Gate::new(),
            listener: Line(AtomicU32::new(0)),
            bell_wanted: Line(AtomicU32::new(0)),
            closed: AtomicU32::new(0),
            leaving: AtomicU32::new(0),
            desks: AtomicU32::new(desks as u32),
            notices: std::array::from_fn(|_| notice()),
        }
    }

    /// Says that there are more desks, which there must be.
    pub(super) fn add_desks(&self, desks: usize) {
        self.desks.fetch_max(desks as u32, Ordering::SeqCst);
    }

    fn notice(&self, seq: u32) -> &Notice {
        &self.notices[seq as usize % WINDOW]
    }

    /// How many chunks nobody has claimed, at the most.
    pub(super) fn unclaimed(&self) -> usize {
        let cursor = self.cursor.0.load(Ordering::SeqCst);
        self.published.0.load(Ordering::SeqCst).wrapping_sub(cursor) as usize
    }

    /// Who has the chunk of this number.
    pub(super) fn holder(&self, seq: u32) -> Holder {
        let word = self.notice(seq).claim.load(Ordering::SeqCst);
        match word as u32 {
            _ if (word >> 32) as u32 != seq => Holder::Gone,
            NOBODY => Holder::Nobody,
            WITHDRAWN => Holder::Gone,
            worker => Holder::Worker(worker as usize - 1),
        }
    }

    /// The number that the next chunk will have, and that of the one whose notice it will take, if
    /// there is room: which the parent must have noted who has.
    pub(super) fn next(&self) -> Option<(u32, u32)> {
        let seq = self.published.0.load(Ordering::Relaxed);
        let old = seq.wrapping_sub(WINDOW as u32);
        if self.holder(old) == Holder::Nobody {
            return None;
        }
        // Its worker may have died before it moved the cursor on.
        let (from, to) = (old, old.wrapping_add(1));
        let _ = self.cursor.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
        Some((seq, old))
    }

    /// Puts up the [next](Self::next) chunk. Only one thread at a time may do so, of the parent's.
    pub(super) fn publish(&self, chunk: Chunk) {
        let seq = self.published.0.load(Ordering::Relaxed);
        let notice = self.notice(seq);
        // Nobody looks at these: the chunk whose they were is claimed, and a worker looks before it
        // claims.
        notice.at.store(chunk.at as u64, Ordering::Relaxed);
        notice.len.store(chunk.len, Ordering::Relaxed);
        notice.count.store(chunk.count.unwrap_or(0), Ordering::Relaxed);
        notice.process.store(chunk.process, Ordering::Relaxed);
        notice.claim.store(claim(seq, NOBODY), Ordering::Release);
        self.published.0.store(seq.wrapping_add(1), Ordering::SeqCst);
    }

    /// Takes a chunk down that nobody has claimed. False if somebody has.
    pub(super) fn withdraw(&self, seq: u32) -> bool {
        let (free, gone) = (claim(seq, NOBODY), claim(seq, WITHDRAWN));
        let claim = &self.notice(seq).claim;
        let withdrawn =
            claim.compare_exchange(free, gone, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if withdrawn {
            self.skip();
        }
        withdrawn
    }

    /// Moves the cursor on to the first chunk that is free: no worker may be awake that would.
    fn skip(&self) {
        loop {
            let seq = self.cursor.0.load(Ordering::SeqCst);
            if seq == self.published.0.load(Ordering::SeqCst) || self.holder(seq) == Holder::Nobody
            {
                return;
            }
            let next = seq.wrapping_add(1);
            let _ = self.cursor.0.compare_exchange(seq, next, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// Claims the next chunk for a worker. By the exchange of one number it is that worker's, and
    /// everybody can see so.
    pub(super) fn claim(&self, worker: usize) -> Option<(u32, Chunk)> {
        loop {
            let seq = self.cursor.0.load(Ordering::SeqCst);
            if seq == self.published.0.load(Ordering::SeqCst) {
                return None;
            }
            let notice = self.notice(seq);
            let word = notice.claim.load(Ordering::SeqCst);
            let move_on = || {
                let next = seq.wrapping_add(1);
                let cursor = &self.cursor.0;
                let _ = cursor.compare_exchange(seq, next, Ordering::SeqCst, Ordering::SeqCst);
            };
            if word != claim(seq, NOBODY) {
                if (word >> 32) as u32 == seq {
                    move_on();
                }
                continue;
            }
            let count = notice.count.load(Ordering::Relaxed);
            let chunk = Chunk {
                at: notice.at.load(Ordering::Relaxed) as usize,
                len: notice.len.load(Ordering::Relaxed),
                count: (count > 0).then_some(count),
                process: notice.process.load(Ordering::Relaxed),
            };
            let mine = claim(seq, worker as u32 + 1);
            let claim = &notice.claim;
            if claim.compare_exchange(word, mine, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                move_on();
                return Some((seq, chunk));
            }
        }
    }

    /// Has the parent know of a reply, if it does not look anyway. True if its bell is to be rung.
    #[inline]
    pub(super) fn call(&self) -> bool {
        fence(Ordering::SeqCst);
        if self.listener.0.load(Ordering::SeqCst) != 0 {
            self.listener.0.store(0, Ordering::SeqCst);
            futex::wake(&self.listener.0, 1);
            return false;
        }
        self.bell_wanted.0.load(Ordering::SeqCst) != 0
            && self.bell_wanted.0.swap(0, Ordering::SeqCst) != 0
    }

    /// From here on, who replies wakes the thread that [listens](Self::listen).
    pub(super) fn begin_listening(&self) {
        self.bell_wanted.0.store(0, Ordering::SeqCst);
        self.listener.0.store(1, Ordering::SeqCst);
    }

    /// Sleeps until somebody calls. False when the time is up.
    pub(super) fn listen(&self, wait: Wait) -> bool {
        self.listener.0.load(Ordering::SeqCst) == 0 || futex::wait(&self.listener.0, 1, wait)
    }

    /// Wakes the thread that listens.
    pub(super) fn call_listener(&self) {
        self.listener.0.store(0, Ordering::SeqCst);
        // Also if it was 0: who stored that may have died before it woke anybody.
        futex::wake(&self.listener.0, 1);
    }

    pub(super) fn was_called(&self) -> bool {
        self.listener.0.load(Ordering::SeqCst) == 0
    }

    pub(super) fn end_listening(&self) {
        self.listener.0.store(0, Ordering::SeqCst);
    }

    /// Has the bell rung for the next reply, or not.
    pub(super) fn want_bell(&self, wanted: bool) {
        self.bell_wanted.0.store(u32::from(wanted), Ordering::SeqCst);
    }

    /// No more chunks will come: workers leave when none is left.
    pub(super) fn close(&self) {
        self.closed.store(1, Ordering::SeqCst);
        self.work.open(u32::MAX);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) != 0
    }

    /// Has so many workers leave, when they have no chunk in hand.
    pub(super) fn dismiss(&self, count: u32) {
        self.leaving.fetch_add(count, Ordering::SeqCst);
        self.work.open(u32::MAX);
    }

    pub(super) fn anybody_dismissed(&self) -> bool {
        self.leaving.load(Ordering::SeqCst) != 0
    }

    /// Whether the worker that asks is one of those that are to leave.
    pub(super) fn is_dismissed(&self) -> bool {
        self.anybody_dismissed()
            && self
                .leaving
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1))
                .is_ok()
    }

    /// Whether a worker has a reason to be awake.
    pub(super) fn has_news(&self) -> bool {
        self.unclaimed() > 0 || self.is_closed() || self.anybody_dismissed()
    }
}

/// Where one worker says what it does, and leaves its replies.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Desk {
    /// The number of the chunk in hand (the upper half), and how many of its tasks were begun.
    progress: AtomicU64,
    /// When the last of them was begun, in nanoseconds: where tasks have a time limit.
    pub(super) since: AtomicU64,
    /// How much of the ring was ever written.
    tail: AtomicU32,
    /// The worker is through with its initializer.
    pub(super) ready: AtomicU32,
    head: Line,
    /// Where the worker waits for room in its ring.
    room: Gate,
    /// 1 + the number of the chunk of which no more tasks are to be begun.
    stop: AtomicU64,
    /// The parent is about to kill the worker for the task in hand: it must begin no other.
    condemned: AtomicU32,
    /// What the progress was when the task in hand had run for longer than it should.
    overdue: AtomicU64,
    ring: Ring,
}

#[repr(C, align(64))]
struct Ring(UnsafeCell<[u8; RING]>);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

// SAFETY: its bytes are written by the worker between the tail and the head, and read by one thread of
// the parent's at a time between the head and the tail: `Desk` sees to that.
unsafe impl Sync for Ring {}

/// What a reply begins with. All are padded to 16 bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Header {
    pub(super) seq: u32,
    /// Which task of the chunk.
    pub(super) index: u32,
    pub(super) kind: u32,
    pub(super) len: u32,
}

const UNIT: usize = size_of::<Header>();
const _: () = assert!(UNIT == 16);

impl Header {
    #[inline]
    fn to_bytes(self) -> [u8; UNIT] {
        let [a, b, c, d] = [self.seq, self.index, self.kind, self.len].map(u128::from);
        (a | b << 32 | c << 64 | d << 96).to_le_bytes()
    }

    #[inline]
    fn from_bytes(bytes: &[u8; UNIT]) -> Self {
        let all = u128::from_le_bytes(*bytes);
        let [seq, index, kind, len] = [0, 32, 64, 96].map(|shift| (all >> shift) as u32);
        Self { seq, index, kind, len }
    }
}

/// The next reply in what was [taken](Desk::take), with its bytes; `None` at the end, or if what is
/// there is no reply.
#[inline]
pub(super) fn next_reply<'a>(bytes: &mut &'a [u8]) -> Option<(Header, &'a [u8])> {
    let (header, rest) = bytes.split_first_chunk()?;
    let header = Header::from_bytes(header);
    let (payload, _) = rest.split_at_checked(header.len as usize)?;
    *bytes = rest.get(payload.len().next_multiple_of(UNIT)..)?;
    Some((header, payload))
}

impl Desk {
    /// Makes it as it is at the beginning, for another worker.
    pub(super) fn clear(&self) {
        self.progress.store(0, Ordering::SeqCst);
        for word in [&self.since, &self.stop, &self.overdue] {
            word.store(0, Ordering::SeqCst);
        }
        for word in [&self.tail, &self.ready, &self.head.0, &self.condemned] {
            word.store(0, Ordering::SeqCst);
        }
    }

    // The worker's side.

    /// Says that a task is about to run, and looks whether it may. `strictly`: who condemns the worker
    /// for the task before this one knows for certain that this one has not run.
    #[inline]
    pub(super) fn begin(&self, seq: u32, index: u32, strictly: bool) {
        let progress = u64::from(seq) << 32 | u64::from(index + 1);
        self.progress.store(progress, Ordering::Release);
        if strictly {
            fence(Ordering::SeqCst);
        }
        while self.condemned.load(Ordering::Acquire) != 0 {
            futex::wait(&self.condemned, 1, Wait::Forever);
        }
    }

    /// Whether the task in hand has run for longer than it should.
    pub(super) fn is_overdue(&self) -> bool {
        let progress = self.progress.load(Ordering::Relaxed);
        progress != 0 && self.overdue.load(Ordering::Relaxed) == progress
    }

    /// Whether no more tasks of this chunk are to be begun.
    #[inline]
    pub(super) fn is_stopped(&self, seq: u32) -> bool {
        self.stop.load(Ordering::Relaxed) == u64::from(seq) + 1
    }

    /// How much of the ring is not read yet.
    pub(super) fn unread(&self) -> usize {
        let head = self.head.0.load(Ordering::SeqCst);
        self.tail.load(Ordering::SeqCst).wrapping_sub(head) as usize
    }

    /// Leaves a reply of up to [`REPLY_MAX`] bytes. `call` has the parent make room.
    ///
    /// `known` is how far the parent had come when this worker last looked.
    #[inline]
    pub(super) fn reply(&self, known: &Cell<u32>, header: Header, payload: &[u8], call: impl Fn()) {
        assert!(payload.len() <= REPLY_MAX && payload.len() == header.len as usize);
        let tail = self.tail.load(Ordering::Relaxed);
        let after = tail.wrapping_add((UNIT + payload.len().next_multiple_of(UNIT)) as u32);
        let fits = || after.wrapping_sub(known.get()) as usize <= RING;
        let look = || {
            known.set(self.head.0.load(Ordering::SeqCst));
            fits()
        };
        while !fits() && !look() {
            call();
            // SAFETY: the board stays mapped for as long as the worker lives.
            unsafe { self.room.sleep(Wait::Forever, look) };
            self.room.awake(|| false);
        }
        self.write(tail, &header.to_bytes());
        self.write(tail.wrapping_add(UNIT as u32), payload);
        // Who calls the parent afterwards looks behind a fence whether it sleeps.
        self.tail.store(after, Ordering::Release);
    }

    #[inline]
    fn write(&self, at: u32, bytes: &[u8]) {
        let at = at as usize % RING;
        let ring = self.ring.0.get().cast::<u8>();
        if at + bytes.len() <= RING {
            // SAFETY: it is within the ring, and beyond the tail and before the head, where only the
            // worker writes, which has one thread for this, and nobody reads.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), ring.add(at), bytes.len()) };
            return;
        }
        let (first, second) = bytes.split_at(RING - at);
        // SAFETY: so are both parts.
        unsafe {
            ptr::copy_nonoverlapping(first.as_ptr(), ring.add(at), first.len());
            ptr::copy_nonoverlapping(second.as_ptr(), ring, second.len());
        }
    }

    // The parent's side.

    /// The chunk in hand, and how many of its tasks were begun.
    pub(super) fn progress(&self) -> (u32, u32) {
        let progress = self.progress.load(Ordering::SeqCst);
        ((progress >> 32) as u32, progress as u32)
    }

    /// Appends the replies that are there to `bytes`, and makes room for others.
    pub(super) fn take(&self, bytes: &mut Vec<u8>) {
        let head = self.head.0.load(Ordering::Relaxed);
        let len = (self.tail.load(Ordering::SeqCst).wrapping_sub(head) as usize).min(RING);
        if len == 0 {
            return;
        }
        let at = head as usize % RING;
        let first = len.min(RING - at);
        let ring = self.ring.0.get().cast::<u8>();
        bytes.reserve(len);
        // SAFETY: both parts are within the ring, and between the head and the tail, where the worker
        // does not write; there is room for them behind what `bytes` has.
        unsafe {
            let to = bytes.as_mut_ptr().add(bytes.len());
            ptr::copy_nonoverlapping(ring.add(at), to, first);
            ptr::copy_nonoverlapping(ring, to.add(first), len - first);
            bytes.set_len(bytes.len() + len);
        }
        self.head.0.store(head.wrapping_add(len as u32), Ordering::SeqCst);
        self.room.open(1);
    }

    /// Has the task know that it has run for longer than it should.
    pub(super) fn warn(&self, (seq, begun): (u32, u32)) {
        self.overdue.store(u64::from(seq) << 32 | u64::from(begun), Ordering::SeqCst);
    }

    /// Has no more tasks of this chunk begin.
    pub(super) fn stop(&self, seq: u32) {
        self.stop.store(u64::from(seq) + 1, Ordering::SeqCst);
    }

    /// Has the worker begin no task from now on, and wait.
    pub(super) fn condemn(&self) {
        self.condemned.store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Takes that back.
    pub(super) fn pardon(&self) {
        self.condemned.store(0, Ordering::SeqCst);
        futex::wake(&self.condemned, 1);
    }
}
