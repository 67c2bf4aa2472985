//! Which tasks there are, which worker has which, and what becomes of them: all that the parent knows,
//! under one lock.

mod endings;
mod posting;
mod replies;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::pool::arena::{Arena, Block};
use crate::pool::batch::{Batch, Ending, Fate};
use crate::pool::board::{Board, Holder};
use crate::pool::crew::Crew;
use crate::pool::desk::Desk;
use crate::pool::error::TaskError;
use crate::pool::stats::{PoolStats, Records};
use crate::pool::worker::PACKET;
use crate::shm::object::Object;
use crate::sys::event;
use crate::sys::poll::Wait;
use crate::wire::{self, Package};

/// The name of a batch.
pub(in crate::pool) type BatchId = u64;

/// By numbers that are given one after the other: they spread by themselves.
type Numbered<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 << 8 | u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A chunk that was put up and is not dealt with.
#[derive(Debug)]
struct Flight {
    /// `None`, if nobody wants to know any more.
    batch: Option<BatchId>,
    /// Which process its tasks are, by name and in the registry.
    name: &'static str,
    process: u32,
    first: usize,
    count: u32,
    load: Load,
    /// For how many of its tasks there was a reply: the first ones.
    replied: u32,
    /// How often its tasks were lost before.
    lost: u32,
    /// Who has claimed it, if that is no longer on the board.
    holder: Option<usize>,
    /// Its worker was asked to begin no more of it.
    stopped: bool,
    /// It travels beside the arena, and its worker has been sent it.
    sent: bool,
}

impl Flight {
    /// Who has it, as the chunk of this number.
    fn holder(&self, seq: u32, board: &Board) -> Holder {
        self.holder.map_or_else(|| board.holder(seq), Holder::Worker)
    }
}

#[derive(Debug)]
enum Load {
    Block(Block, usize),
    Beside(Arc<Package>),
}

/// How far the life of a pool has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pool) enum Phase {
    Open,
    /// No more tasks are taken; those that are there are done.
    Closing,
    /// All is over; workers are killed.
    Ending,
    /// So it is for this reason.
    Failed(String),
}

/// Work for the thread that looks after the pool.
pub(in crate::pool) type Callback = Box<dyn FnOnce() + Send>;

pub(in crate::pool) struct State {
    batches: Numbered<BatchId, Batch>,
    next_batch: BatchId,
    /// Batches with tasks waiting, in turn.
    ready: VecDeque<BatchId>,
    flights: Numbered<u32, Flight>,
    arena: Arena,
    pub(in crate::pool) crew: Crew,
    pub(in crate::pool) phase: Phase,
    /// The pool's own thread has ended.
    pub(in crate::pool) over: bool,
    /// A thread listens to the workers.
    pub(in crate::pool) listening: bool,
    /// Threads that wait for something while another listens: and for which batch, if for one only.
    pub(in crate::pool) followers: Vec<(std::thread::Thread, Option<BatchId>)>,
    /// Something has come about that the thread that listens may wait for.
    pub(in crate::pool) told: bool,
    pub(in crate::pool) callbacks: Vec<Callback>,
    pub(in crate::pool) records: Records,
    /// Where replies are taken to, kept.
    replies: Vec<u8>,
    limits: Limits,
    /// The pool's thread looks how long tasks run.
    pub(in crate::pool) watched: bool,
    /// How many threads attend to a map: hand over its tasks, fetch its values, and take the replies
    /// whenever they do.
    pub(in crate::pool) attendants: usize,
    /// Workers that have ended, or so it seems.
    pub(in crate::pool) ended: Vec<usize>,
    /// The pool's thread waits for something in a callback, and somebody has told of something since.
    pub(in crate::pool) keeper_waits: bool,
    pub(in crate::pool) keeper_told: bool,
    /// One of them has done so, since the pool's thread last asked.
    pub(in crate::pool) attended: bool,
    /// The pool's thread leaves the replies to them, but looks again in a moment.
    pub(in crate::pool) dozing: bool,
}

/// How long a task may run.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::pool) struct Limits {
    /// Until it can see that it should end.
    pub(in crate::pool) soft: Option<Duration>,
    /// Until its worker is killed.
    pub(in crate::pool) hard: Option<Duration>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("phase", &self.phase).finish_non_exhaustive()
    }
}

/// The state and the board, to do something with both.
pub(in crate::pool) struct Desks<'a> {
    pub(in crate::pool) state: &'a mut State,
    pub(in crate::pool) board: &'a Object<Board, ()>,
    /// This process is a copy of the one whose pool it is: it must not touch the board.
    pub(in crate::pool) foreign: bool,
}

/// What a copy of the pool's process is told.
pub(in crate::pool) const FOREIGN: &str = "it belongs to the process that this one is a copy of";

impl State {
    pub(in crate::pool) fn new(arena: Arena, crew: Crew, limits: Limits, records: Records) -> Self {
        Self {
            batches: HashMap::default(),
            next_batch: 0,
            ready: VecDeque::new(),
            flights: HashMap::default(),
            arena,
            crew,
            phase: Phase::Open,
            over: false,
            listening: false,
            followers: Vec::new(),
            told: false,
            callbacks: Vec::new(),
            records,
            replies: Vec::new(),
            limits,
            watched: false,
            attendants: 0,
            attended: false,
            ended: Vec::new(),
            keeper_waits: false,
            keeper_told: false,
            dozing: false,
        }
    }

    pub(in crate::pool) fn has_limits(&self) -> bool {
        self.limits.soft.is_some() || self.limits.hard.is_some()
    }

    pub(in crate::pool) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// In a copy of the pool's process: nothing will ever come of what is on its way.
    pub(in crate::pool) fn disown(&mut self) {
        let reason = || Ending::Failed(FOREIGN.into());
        self.phase = Phase::Failed(FOREIGN.into());
        for batch in self.batches.values_mut().filter(|batch| !batch.is_done()) {
            batch.ending = Some(reason());
        }
    }

    pub(in crate::pool) fn batch(&mut self, id: BatchId) -> Option<&mut Batch> {
        self.batches.get_mut(&id)
    }

    /// Takes a new batch in. If the pool is not open any more, it is over at once.
    pub(in crate::pool) fn enter(&mut self, mut batch: Batch) -> BatchId {
        let over = match &self.phase {
            Phase::Open => None,
            Phase::Closing | Phase::Ending => Some(Ending::Closed),
            Phase::Failed(reason) => Some(Ending::Failed(reason.clone())),
        };
        batch.ending = batch.ending.or(over);
        let id = self.next_batch;
        self.next_batch += 1;
        let done = batch.is_done();
        self.batches.insert(id, batch);
        if done {
            self.settle(id);
        }
        id
    }

    /// Whether nothing more will come of a batch than has come.
    pub(in crate::pool) fn is_done(&self, id: BatchId) -> bool {
        self.batches.get(&id).is_none_or(Batch::is_done)
    }

    /// Takes a batch out that its owner has done with.
    pub(in crate::pool) fn remove(&mut self, id: BatchId) -> Option<Batch> {
        self.batches.remove(&id)
    }

    /// Whether all that was taken in is dealt with.
    pub(in crate::pool) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.batches.values().all(Batch::is_done)
    }

    /// Whether a worker could be of use that is not there.
    pub(in crate::pool) fn backlog(&self) -> usize {
        self.flights.len() + self.ready.len()
    }

    pub(in crate::pool) fn stats(&self) -> PoolStats {
        PoolStats {
            tasks: self.records.tasks,
            failed: self.records.failed,
            waiting: self.batches.values().map(|batch| batch.waiting_count).sum(),
            workers_started: self.crew.started,
            workers: self.crew.members().map(|member| member.record.stats()).collect(),
            slowest: self.records.slowest().to_vec(),
        }
    }

    /// A batch is done: whoever waits for that is told.
    fn settle(&mut self, id: BatchId) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        if let Some(bell) = &batch.bell {
            let _ = event::ring(bell);
        }
        if let Some(finished) = &batch.finished {
            finished.lock().unwrap_or_else(PoisonError::into_inner).push_back(id);
        }
        if let Some(on_done) = batch.on_done.take() {
            self.callbacks.push(on_done(batch));
            batch.abandoned = true;
        }
        if batch.abandoned {
            self.batches.remove(&id);
        }
        self.tell(Some(id));
    }

    /// Wakes those who wait for this batch, or for just anything.
    pub(in crate::pool) fn tell(&mut self, id: Option<BatchId>) {
        self.told = true;
        self.keeper_told |= self.keeper_waits;
        for (thread, of) in &self.followers {
            if of.is_none() || *of == id || id.is_none() {
                thread.unpark();
            }
        }
    }
}

impl Desks<'_> {
    /// A worker's desk, if there is one of this number.
    fn desk(&self, worker: usize) -> Option<&Desk> {
        self.state.crew.desk(worker, self.board.tail())
    }

    fn fail(&mut self, id: BatchId, index: usize, error: TaskError) {
        self.deliver(id, index, Fate::Failed(error));
    }

    pub(in crate::pool) fn deliver(&mut self, id: BatchId, index: usize, fate: Fate) {
        let Some(batch) = self.state.batches.get_mut(&id) else { return };
        if index >= batch.end || batch.ending.is_some() {
            return;
        }
        let failed = matches!(fate, Fate::Failed(_));
        if failed {
            self.state.records.failed += 1;
        }
        if !batch.abandoned {
            batch.inbox.push_fate(index, fate);
        }
        let cut_off = failed && batch.fails_fast;
        self.count_done(id, 1);
        if cut_off {
            self.forget_from(id, index + 1, false);
        }
    }

    fn holder(&self, seq: u32, flight: &Flight) -> Holder {
        flight.holder(seq, self.board.state())
    }

    /// The chunks that workers have, and who has which.
    fn held(&self) -> Vec<(u32, usize)> {
        let holder = |(seq, flight): (&u32, &Flight)| match self.holder(*seq, flight) {
            Holder::Worker(worker) => Some((*seq, worker)),
            _ => None,
        };
        self.state.flights.iter().filter_map(holder).collect()
    }

    /// All of a batch's inputs are known: perhaps all of them are dealt with.
    pub(in crate::pool) fn check(&mut self, id: BatchId) {
        let batch = self.state.batches.get(&id);
        if batch.is_some_and(|batch| batch.ending.is_none() && batch.is_done()) {
            self.state.settle(id);
        }
    }
}

/// Receives what belongs to a reply.
pub(in crate::pool) fn receive(socket: &impl AsFd) -> Result<(Vec<u8>, Vec<OwnedFd>), String> {
    wire::recv(socket.as_fd(), Wait::Never, |packet| {
        (packet.kind == PACKET).then(|| (packet.payload.to_vec(), packet.fds))
    })
    .map_err(|failure| failure.to_string())?
    .ok_or_else(|| "it is no reply".into())
}
