//! One worker's desk: where it says what it does, and leaves its replies.

#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::board::Line;
use crate::sync::gate::Gate;
use crate::sys::futex;
use crate::sys::poll::Wait;

/// The size of a worker's ring for replies, in bytes.
const RING: usize = 32 << 10;
/// A longer reply goes beside the ring.
pub(super) const REPLY_MAX: usize = RING / 4;

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

/// What a reply begins with: its kind, and its length. All are padded to the same length.
const UNIT: usize = 8;

/// The next reply in what was [taken](Desk::take), with its bytes; `None` at the end, or if what is
/// there is no reply.
#[inline]
pub(super) fn next_reply<'a>(bytes: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let (header, rest) = bytes.split_first_chunk::<UNIT>()?;
    let header = u64::from_le_bytes(*header);
    let (kind, len) = (header as u32, (header >> 32) as usize);
    let (payload, _) = rest.split_at_checked(len)?;
    *bytes = rest.get(len.next_multiple_of(UNIT)..)?;
    Some((kind, payload))
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
    pub(super) fn reply(&self, known: &Cell<u32>, kind: u32, payload: &[u8], call: impl Fn()) {
        assert!(payload.len() <= REPLY_MAX);
        let header = u64::from(kind) | (payload.len() as u64) << 32;
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
        self.write(tail, &header.to_le_bytes());
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
