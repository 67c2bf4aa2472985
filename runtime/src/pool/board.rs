//! What the parent and its workers have in common: the board, on which the parent puts chunks of tasks
//! for the workers to claim, and behind it a [desk](super::desk) for each worker. `README.md` goes through
//! the steps, and a death at each.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use super::desk::Desk;

use crate::error::Result;
use crate::shm::object::Kind;
use crate::sync::gate::Gate;
use crate::sync::spin::Spin;
use crate::sys::futex;
use crate::sys::poll::Wait;

/// How many chunks can be on the board.
const WINDOW: usize = 1024;
/// The most workers that a pool can have at once.
pub(super) const MAX_WORKERS: usize = 1024;

/// A number on a cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) AtomicU32);

/// One chunk of tasks, as it hangs on the board.
#[derive(Debug)]
#[repr(C, align(64))]
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

/// A chunk that a worker has claimed.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) seq: u32,
    pub(super) chunk: Chunk,
    /// It was there when the worker looked for it.
    pub(super) at_once: bool,
}

/// What a worker has done until there was something for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Waited {
    slept: bool,
    looked_out: bool,
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
    /// 1 + the number of the worker that looks for chunks without sleeping, if one does.
    lookout: Line,
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

/// Chunks that are being put up. Workers see several of them at a time, and all of them when this is
/// dropped: each word that all of them look at goes to and fro between the processors.
#[derive(Debug)]
pub(super) struct Posting<'a> {
    board: &'a Board,
    /// The number of the next chunk, and of the first that is not published.
    next: u32,
    published: u32,
    /// How many chunks nobody has claimed, at the most.
    unclaimed: usize,
    /// How many were put up.
    count: u32,
}

impl Posting<'_> {
    /// At most so many are published together.
    const TOGETHER: u32 = 16;

    /// How many chunks nobody has claimed, at the most.
    pub(super) fn unclaimed(&self) -> usize {
        self.unclaimed
    }

    /// The number that the next chunk will have, and that of the one whose notice it will take, if
    /// there is room: which the parent must have noted who has.
    pub(super) fn next(&self) -> Option<(u32, u32)> {
        let old = self.next.wrapping_sub(WINDOW as u32);
        // As long as there is room for certain, the cursor is not looked at.
        if self.unclaimed >= WINDOW {
            if self.board.holder(old) == Holder::Nobody {
                return None;
            }
            // Its worker may have died before it moved the cursor on.
            self.board.move_on(old);
        }
        Some((self.next, old))
    }

    /// Puts up the [next](Self::next) chunk.
    pub(super) fn put(&mut self, chunk: Chunk) {
        let notice = self.board.notice(self.next);
        // Nobody looks at these: the chunk whose they were is claimed, and a worker looks before it
        // claims.
        notice.at.store(chunk.at as u64, Ordering::Relaxed);
        notice.len.store(chunk.len, Ordering::Relaxed);
        notice.count.store(chunk.count.unwrap_or(0), Ordering::Relaxed);
        notice.process.store(chunk.process, Ordering::Relaxed);
        notice.claim.store(claim(self.next, NOBODY), Ordering::Release);
        self.next = self.next.wrapping_add(1);
        self.unclaimed += 1;
        self.count += 1;
        // Not more are held back than there are for the workers meanwhile.
        let held_back = self.next.wrapping_sub(self.published);
        if held_back >= Self::TOGETHER || 2 * held_back as usize > self.unclaimed {
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.published = self.next;
        self.board.published.0.store(self.next, Ordering::SeqCst);
    }
}

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        if self.published != self.next {
            self.publish();
        }
        self.board.announce(self.count);
    }
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
            lookout: Line(AtomicU32::new(0)),
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

    /// To put up chunks. Only one thread of the parent's may do so at a time.
    pub(super) fn post(&self) -> Posting<'_> {
        // What is not free any more does not count as unclaimed.
        self.skip();
        let next = self.published.0.load(Ordering::Relaxed);
        Posting { board: self, next, published: next, unclaimed: self.unclaimed(), count: 0 }
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

    /// Moves the cursor on to the first chunk that is free: no worker may be awake, or alive, that would.
    fn skip(&self) {
        loop {
            let seq = self.cursor.0.load(Ordering::SeqCst);
            if seq == self.published.0.load(Ordering::SeqCst) || self.holder(seq) == Holder::Nobody
            {
                return;
            }
            self.move_on(seq);
        }
    }

    /// Moves the cursor on from a chunk that is not free, unless somebody has done so.
    fn move_on(&self, seq: u32) {
        let next = seq.wrapping_add(1);
        let _ = self.cursor.0.compare_exchange(seq, next, Ordering::SeqCst, Ordering::SeqCst);
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
            if word != claim(seq, NOBODY) {
                if (word >> 32) as u32 == seq {
                    self.move_on(seq);
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
                self.move_on(seq);
                return Some((seq, chunk));
            }
        }
    }

    /// Has workers come for so many chunks that were just put up. The one on the lookout comes by itself.
    ///
    /// It may have claimed another meanwhile; then it is that one which wakes somebody, as it looks once
    /// more when it is no longer on the lookout: either it sees what was published before the
    /// lookout was seen here, or it was not seen here.
    fn announce(&self, chunks: u32) {
        let lookout = u32::from(self.lookout.0.load(Ordering::SeqCst) != 0);
        if chunks > lookout {
            self.work.open(chunks - lookout);
        }
    }

    /// Puts this worker on the lookout, unless another is.
    fn look_out(&self, worker: usize) -> bool {
        let (nobody, me) = (0, worker as u32 + 1);
        self.lookout.0.compare_exchange(nobody, me, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// This worker is not on the lookout any more. True if it was.
    fn end_lookout(&self, worker: usize) -> bool {
        let (me, nobody) = (worker as u32 + 1, 0);
        self.lookout.0.compare_exchange(me, nobody, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// The next chunk, now this worker's, when there is one; `None` if it is to leave: as it was told to,
    /// or as nothing has come for so long.
    pub(super) fn await_chunk(
        &self,
        worker: usize,
        idle_timeout: Option<Duration>,
    ) -> Option<Claimed> {
        let mut waited = Waited::default();
        let mut in_time = true;
        loop {
            if self.is_dismissed() {
                return self.leave(waited);
            }
            if let Some((seq, chunk)) = self.claim(worker) {
                self.came(waited);
                return Some(Claimed { seq, chunk, at_once: waited == Waited::default() });
            }
            if self.is_closed() || !in_time {
                return self.leave(waited);
            }
            waited.looked_out |= self.spin(worker);
            if !self.has_news() {
                let wait = idle_timeout.map_or(Wait::Forever, Wait::at_most);
                // SAFETY: the board stays mapped for as long as the worker lives.
                in_time = unsafe { self.work.sleep(wait, || self.has_news()) };
                waited.slept = true;
            }
        }
    }

    /// Looks for a while whether there is news; says whether this one was on the lookout.
    fn spin(&self, worker: usize) -> bool {
        let on_lookout = self.look_out(worker);
        let mut spin = Spin::long();
        while spin.pause() {
            if self.has_news() {
                spin.paid();
                break;
            }
        }
        on_lookout && self.end_lookout(worker)
    }

    /// A worker that has waited is awake. Who was woken, or came by itself, wakes another if there is
    /// something for that one.
    fn came(&self, waited: Waited) {
        if waited.slept {
            self.work.awake(|| self.has_news());
        } else if waited.looked_out && self.has_news() {
            self.work.open_after(1, || ()); // killed in the middle of it, the kernel wakes one
        }
    }

    fn leave(&self, waited: Waited) -> Option<Claimed> {
        self.came(waited);
        None
    }

    /// A worker has ended: it may have been the one that was to come for what is there, or to wake
    /// another. Who sleeps looks no more by itself, so this is for every reason to be awake.
    pub(super) fn forget(&self, worker: usize) {
        self.end_lookout(worker);
        if self.has_news() {
            self.work.open(u32::MAX);
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

    /// Has so many stay that were to leave, if they have not left yet.
    pub(super) fn keep(&self, count: u32) {
        let _ = self.leaving.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |leaving| {
            Some(leaving.saturating_sub(count))
        });
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
