//! Tasks on their way into the pool: encoded, and handed over.

use std::sync::Arc;

use super::CHUNK_MAX;
use super::batch::{ChunkSize, Fate, Segment};
use super::core::Core;
use super::dispatch::{BatchId, Desks};
use super::error::{Task, TaskError};
use crate::process::Process;
use crate::sys::poll::Wait;
use crate::wire::{self, Package};

/// How many bytes of tasks are encoded before they are handed over.
pub(super) const HAND_OVER: usize = 32 << 10;

/// Tasks of one batch, encoded.
#[derive(Debug)]
pub(super) struct Feed {
    /// Which input the next one is for.
    next: usize,
    /// Which the first in `bytes` is for, and how many there are.
    first: usize,
    count: u32,
    bytes: Vec<u8>,
    /// So many of the bytes are whole tasks: a `Serialize` that panicked has left the others.
    whole: usize,
    /// What is beside them, and how much it weighs.
    done: Vec<Segment>,
    beside: usize,
}

/// What a task weighs beside its bytes that travels with descriptors.
const PACKAGE: usize = 4 << 10;

impl Feed {
    pub(super) fn new(first: usize) -> Self {
        let (bytes, done) = (Vec::new(), Vec::new());
        Self { next: first, first, count: 0, bytes, whole: 0, done, beside: 0 }
    }

    /// Which input the next task will be for.
    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// How much there is to hand over, in bytes.
    pub(super) fn len(&self) -> usize {
        self.whole + self.beside
    }

    /// Adds the task for the next input; an error says why it cannot be encoded.
    #[inline]
    pub(super) fn add<P: Process>(&mut self, process: &P) -> Result<(), String> {
        let start = self.whole;
        self.bytes.truncate(start);
        self.bytes.extend_from_slice(&[0; 4]);
        let encoded = wire::encode(process, &mut self.bytes);
        let mut attached = match encoded {
            Ok(encoded) => encoded,
            Err(error) => {
                self.bytes.truncate(start);
                self.skip();
                return Err(error.to_string());
            }
        };
        let len = self.bytes.len() - start - 4;
        if attached.fds().is_empty() && len <= CHUNK_MAX / 2 {
            self.bytes[start..start + 4].copy_from_slice(&(len as u32).to_le_bytes());
            attached.sent();
            self.whole = self.bytes.len();
            self.count += 1;
            self.next += 1;
            return Ok(());
        }
        let package = Package::new(&self.bytes[start + 4..], attached.take_fds());
        self.bytes.truncate(start);
        let index = self.next;
        self.skip();
        let package = package.map_err(|failure| std::io::Error::from(failure).to_string())?;
        attached.sent();
        self.beside += package.len() + PACKAGE;
        self.done.push(Segment::Beside { index, package: Arc::new(package), lost: 0 });
        Ok(())
    }

    /// The next input has no task here.
    fn skip(&mut self) {
        self.seal();
        self.next += 1;
        self.first = self.next;
    }

    fn seal(&mut self) {
        self.bytes.truncate(self.whole);
        self.whole = 0;
        if self.count > 0 {
            // The next ones need as much room.
            let room = Vec::with_capacity(self.bytes.len());
            let bytes = std::mem::replace(&mut self.bytes, room);
            let (first, count) = (self.first, self.count);
            self.done.push(Segment::Plain { first, count, bytes, at: 0, lost: 0 });
        }
        self.count = 0;
        self.first = self.next;
    }

    /// All that was added since.
    pub(super) fn take(&mut self) -> Vec<Segment> {
        self.seal();
        self.beside = 0;
        std::mem::take(&mut self.done)
    }
}

/// Which batch it is, and whose tasks are in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    pub(super) id: BatchId,
    pub(super) process: &'static str,
}

impl Ticket {
    pub(super) fn task(&self, index: usize) -> Task {
        Task { process: self.process, index: Some(index) }
    }
}

pub(super) fn chunk_size(exactly: Option<u32>) -> ChunkSize {
    exactly.map_or(ChunkSize::Adaptive, ChunkSize::Exactly)
}

/// A thread attends to a map, as long as this is there.
pub(super) struct Attending<'a>(&'a Core);

impl<'a> Attending<'a> {
    pub(super) fn new(core: &'a Core) -> Self {
        core.lock().attendants += 1;
        Self(core)
    }
}

impl Drop for Attending<'_> {
    fn drop(&mut self) {
        self.0.lock().attendants -= 1;
    }
}

/// Hands over what was encoded since; says whether more is wanted.
pub(super) fn hand_over(
    core: &Core,
    ticket: &Ticket,
    feed: &mut Feed,
    failed: &mut Vec<(usize, String)>,
    last: bool,
) -> bool {
    let segments = feed.take();
    let is_wanted = |desks: &mut Desks<'_>| {
        let batch = desks.state.batch(ticket.id);
        batch.is_some_and(|batch| !batch.is_done() && batch.end == usize::MAX)
    };
    let is_full =
        |desks: &mut Desks<'_>| desks.state.batch(ticket.id).is_some_and(|batch| batch.is_full());
    let mut state = core.lock();
    let mut desks = core.desks(&mut state);
    let wanted = is_wanted(&mut desks);
    if let Some(batch) = desks.state.batch(ticket.id).filter(|_| wanted) {
        segments.into_iter().for_each(|segment| batch.add(segment));
        if last {
            batch.total = Some(feed.next());
        }
    }
    for (index, reason) in failed.drain(..) {
        let error = TaskError::Encode { task: ticket.task(index), reason, may_have_run: false };
        desks.deliver(ticket.id, index, Fate::Failed(error));
    }
    desks.enlist(ticket.id);
    desks.take_replies();
    if last {
        desks.check(ticket.id);
    }
    let wanted = is_wanted(&mut desks);
    let full = is_full(&mut desks);
    state.attended = true;
    core.hand_over(&mut state);
    drop(state);
    if wanted && full && !last {
        // Not more than a few are kept here.
        core.wait_for(Wait::Forever, Some(ticket.id), |desks| {
            (!is_full(desks) || !is_wanted(desks)).then_some(())
        });
    }
    wanted
}

/// Nobody wants what is left of a batch.
pub(super) fn forget(core: &Core, ticket: Ticket) {
    if core.is_foreign() {
        return;
    }
    let mut state = core.lock();
    if state.batch(ticket.id).is_some() {
        core.desks(&mut state).cancel(ticket.id, false);
        state.remove(ticket.id);
        core.hand_over(&mut state);
    }
}

/// A map that is cancelled when this is dropped: because code of the user's has panicked.
pub(super) struct Unwanted<'a> {
    pub(super) core: &'a Core,
    pub(super) ticket: Ticket,
}

impl Drop for Unwanted<'_> {
    fn drop(&mut self) {
        forget(self.core, self.ticket);
    }
}
