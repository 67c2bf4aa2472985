//! Which tasks there are, which worker has which, and what becomes of them: all that the parent knows,
//! under one lock.

mod endings;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::pool::arena::{Arena, Block};
use crate::pool::batch::{Batch, Ending, Fate, Segment, Taken};
use crate::pool::board::{Board, Chunk, Holder};
use crate::pool::crew::Crew;
use crate::pool::desk::{Desk, next_reply};
use crate::pool::error::{Task, TaskError, TaskPanic};
use crate::pool::reply::{Reply, Times};
use crate::pool::stats::{PoolStats, Records};
use crate::pool::worker::{PACKET, next_task};
use crate::pool::{CHUNK_MAX, ROOM};
use crate::process::{Panic, PanicReport};
use crate::shm::object::Object;
use crate::sys::event;
use crate::sys::poll::Wait;
use crate::wire::{self, Package, SendFailure};

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
        batch.ending = match &self.phase {
            Phase::Open => None,
            Phase::Closing | Phase::Ending => Some(Ending::Closed),
            Phase::Failed(reason) => Some(Ending::Failed(reason.clone())),
        };
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
        for (thread, of) in &self.followers {
            if of.is_none() || *of == id || id.is_none() {
                thread.unpark();
            }
        }
    }
}

impl Desks<'_> {
    /// A pool that is closed, and has nothing left to do, sends its workers home.
    fn close_if_idle(&self) {
        let board = self.board.state();
        if self.state.phase == Phase::Closing && !board.is_closed() && self.state.is_idle() {
            board.close();
        }
    }

    fn desk(&self, worker: usize) -> Option<&Desk> {
        self.board.tail().get(worker)
    }

    /// Takes in a batch that has its tasks, and puts them up.
    pub(in crate::pool) fn begin(&mut self, batch: Batch) -> BatchId {
        let id = self.state.enter(batch);
        self.enlist(id);
        self.put_up();
        id
    }

    /// A batch may have tasks waiting: they are [put up](Self::put_up) in its turn.
    pub(in crate::pool) fn enlist(&mut self, id: BatchId) {
        if let Some(batch) = self.state.batches.get_mut(&id)
            && batch.waiting_count > 0
            && !mem::replace(&mut batch.is_ready, true)
        {
            self.state.ready.push_back(id);
        }
    }

    /// Puts chunks on the board, as many as should be there.
    pub(in crate::pool) fn put_up(&mut self) {
        if self.foreign {
            return;
        }
        let board = self.board.state();
        let workers = self.state.crew.target();
        let mut new = 0;
        let mut unclaimed = board.unclaimed();
        while let Some(id) = self.state.ready.front().copied() {
            let Some(batch) = self.state.batches.get_mut(&id).filter(|batch| !batch.is_done())
            else {
                self.state.ready.pop_front();
                continue;
            };
            if unclaimed >= batch.ahead(workers) {
                break;
            }
            let Some((seq, old)) = board.next() else { break };
            // Its notice goes: who has it is to be known without that.
            if let Some(flight) = self.state.flights.get_mut(&old)
                && let Holder::Worker(worker) = board.holder(old)
            {
                flight.holder = Some(worker);
            }
            let most = self.state.crew.rules().max_tasks.unwrap_or(u32::MAX);
            let cut = batch.cut(workers, most, ROOM);
            let flight = match cut {
                None => None,
                Some(Taken::Beside { index, package, lost }) => {
                    Some((index, 1, Ok(Load::Beside(package)), lost))
                }
                Some(Taken::Plain { first, count, at, len, lost }) => {
                    let block = self.state.arena.put(batch.cut_bytes(at, len));
                    Some((first, count, block.map(|block| Load::Block(block, len)), lost))
                }
            };
            batch.tidy();
            let process = batch.process;
            // Others have their turn.
            self.state.ready.pop_front();
            if batch.waiting_count > 0 {
                self.state.ready.push_back(id);
            } else {
                batch.is_ready = false;
            }
            let Some((first, count, load, lost)) = flight else { continue };
            let load = match load {
                Ok(load) => load,
                Err(error) => {
                    let reason = error.to_string();
                    for index in first..first + count as usize {
                        let task = self.state.batches[&id].task(index);
                        let error = TaskError::Encode { task, reason: reason.clone(), ran: false };
                        self.fail(id, index, error);
                    }
                    continue;
                }
            };
            let chunk = match &load {
                Load::Block(block, len) => {
                    Chunk { at: block.at, len: *len as u32, count: Some(count), process }
                }
                Load::Beside(_) => Chunk { at: 0, len: 0, count: None, process },
            };
            let flight = Flight {
                batch: Some(id),
                first,
                count,
                load,
                replied: 0,
                lost,
                holder: None,
                stopped: false,
            };
            self.state.flights.insert(seq, flight);
            board.publish(chunk);
            new += 1;
            unclaimed += 1;
        }
        board.announce(new);
    }

    /// Whether a worker has left a reply that was not taken.
    pub(in crate::pool) fn any_replies(&self) -> bool {
        !self.foreign
            && self
                .state
                .crew
                .present()
                .any(|worker| self.desk(worker).is_some_and(|desk| desk.unread() > 0))
    }

    /// Takes all replies, and sees to what follows from them.
    pub(in crate::pool) fn take_replies(&mut self) {
        if self.foreign {
            return;
        }
        let present: Vec<_> = self.state.crew.present().collect();
        for worker in present {
            self.take_replies_of(worker);
        }
        self.put_up();
        self.share_out();
        self.close_if_idle();
    }

    fn take_replies_of(&mut self, worker: usize) {
        let Some(desk) = self.board.tail().get(worker) else { return };
        if desk.unread() == 0 {
            return;
        }
        let mut replies = mem::take(&mut self.state.replies);
        replies.clear();
        desk.take(&mut replies);
        let mut at = self.state.crew.at(worker);
        let mut rest = &replies[..];
        loop {
            let before = rest;
            let Some((kind, payload)) = next_reply(&mut rest) else { break };
            let Some((reply, beside)) = Reply::of(kind) else { continue };
            if reply == Reply::Value && !beside {
                rest = before;
                at.1 += self.take_values(at, kind, &mut rest);
                continue;
            }
            if reply == Reply::Claimed {
                at = (payload.try_into().map_or(at.0, u32::from_le_bytes), 0);
                continue;
            }
            let (payload, fds) = if beside {
                match self.state.crew.receive(worker) {
                    Ok(packet) => packet,
                    Err(reason) => {
                        self.task_done(at, |task| {
                            Fate::Failed(TaskError::Decode { task, reason, ran: true })
                        });
                        at.1 += 1;
                        continue;
                    }
                }
            } else {
                (payload.to_vec(), Vec::new())
            };
            self.take_reply(worker, at, reply, payload, fds);
            at.1 += u32::from(reply.is_of_a_task());
        }
        self.state.crew.set_at(worker, at);
        self.state.replies = replies;
    }

    /// The common case: plain values, one after the other, of one chunk. Gives how many there are.
    fn take_values(&mut self, (seq, index): (u32, u32), kind: u32, rest: &mut &[u8]) -> u32 {
        let State { flights, batches, .. } = &mut *self.state;
        let flight = flights.get_mut(&seq);
        let first = flight.as_ref().map_or(0, |flight| flight.first + index as usize);
        let id = flight.as_ref().and_then(|flight| flight.batch);
        let batch = id.and_then(|id| batches.get_mut(&id)).filter(|batch| batch.ending.is_none());
        let wanted = batch.as_ref().map_or(0, |batch| batch.end.saturating_sub(first));
        let all = *rest;
        let (mut count, mut wanted_len) = (0, 0);
        loop {
            let mut ahead = *rest;
            match next_reply(&mut ahead) {
                Some((next, _)) if next == kind => {}
                _ => break,
            }
            *rest = ahead;
            count += 1;
            if count <= wanted {
                wanted_len = all.len() - rest.len();
            }
        }
        if let Some(flight) = flight {
            flight.replied = index + count as u32;
        }
        if let Some(batch) = batch
            && wanted > 0
        {
            batch.inbox.push(first, count.min(wanted), &all[..wanted_len]);
        }
        if let Some(id) = id {
            self.count_done(id, count.min(wanted));
        }
        count as u32
    }

    /// So many more tasks of a batch are dealt with.
    fn count_done(&mut self, id: BatchId, count: usize) {
        let Some(batch) = self.state.batches.get_mut(&id) else { return };
        if count == 0 || batch.ending.is_some() {
            return;
        }
        batch.done += count;
        self.state.records.tasks += count as u64;
        if batch.is_done() {
            self.state.settle(id);
        } else if batch.total.is_none() || batch.bell.is_some() {
            // A lazy map, whose owner may want what there is.
            self.state.tell(Some(id));
        }
    }

    fn take_reply(
        &mut self,
        worker: usize,
        at: (u32, u32),
        reply: Reply,
        payload: Vec<u8>,
        fds: Vec<OwnedFd>,
    ) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match reply {
            Reply::Claimed => {}
            Reply::Value => self.task_done(at, |_| Fate::Value(payload, fds)),
            Reply::Panicked => {
                let (name, pid) = self.state.crew.who(worker);
                self.task_done(at, |task| {
                    Fate::Failed(match PanicReport::from_bytes(&payload) {
                        Some(report) => {
                            let panic = Box::new(Panic::new(name, pid, report));
                            TaskError::Panicked(TaskPanic { task, panic })
                        }
                        None => {
                            let reason = "the report of its panic is unreadable".into();
                            TaskError::Decode { task, reason, ran: true }
                        }
                    })
                });
            }
            Reply::Unencodable => self.task_done(at, |task| {
                Fate::Failed(TaskError::Encode { task, reason: text(&payload), ran: true })
            }),
            Reply::Undecodable => self.task_done(at, |task| {
                Fate::Failed(TaskError::Decode { task, reason: text(&payload), ran: false })
            }),
            Reply::Wanted => self.send_beside(worker, at.0),
            Reply::End => self.end_flight(worker, at, Times::from_bytes(&payload)),
            Reply::Useless => self.state.crew.note_useless(worker, text(&payload)),
        }
    }

    fn task_done(&mut self, (seq, index): (u32, u32), fate: impl FnOnce(Task) -> Fate) {
        let Some(flight) = self.state.flights.get_mut(&seq) else { return };
        flight.replied = index + 1;
        let (Some(id), index) = (flight.batch, flight.first + index as usize) else { return };
        let Some(batch) = self.state.batches.get_mut(&id) else { return };
        let fate = fate(batch.task(index));
        self.deliver(id, index, fate);
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
        batch.inbox.push_fate(index, fate);
        let cut_off = failed && batch.fails_fast;
        self.count_done(id, 1);
        if cut_off {
            self.forget_from(id, index + 1, false);
        }
    }

    /// Sends a worker the task that it has claimed, and which is not in the arena.
    fn send_beside(&mut self, worker: usize, seq: u32) {
        let Some(flight) = self.state.flights.get(&seq) else { return };
        let Load::Beside(package) = &flight.load else { return };
        let package = Arc::clone(package);
        let sent = self.state.crew.send(worker, &package);
        if let Err(failure) = sent
            && !matches!(failure, SendFailure::Disconnected)
        {
            // (If the worker is gone, its end is heard, and the task waits again.) It waits for what will
            // not come.
            let reason = std::io::Error::from(failure).to_string();
            self.task_done((seq, 0), |task| {
                Fate::Failed(TaskError::Encode { task, reason, ran: false })
            });
            self.state.crew.kill(worker);
        }
    }

    /// A worker is through with a chunk, of which it has done so many tasks.
    fn end_flight(&mut self, worker: usize, (seq, done): (u32, u32), times: Option<Times>) {
        let Some(flight) = self.state.flights.remove(&seq) else { return };
        if let Some(Times { began, ended }) = times {
            let nanos = ended.saturating_sub(began);
            let name = flight.batch.and_then(|id| self.state.batches.get_mut(&id)).map(|batch| {
                batch.learn(nanos, done);
                batch.name
            });
            self.state.crew.note_work(worker, done, nanos);
            self.state.records.note(worker, name.unwrap_or("?"), flight.first, done, began, ended);
        }
        self.put_back(flight, done);
    }

    /// The tasks of a chunk from this one on did not run: they are to wait again.
    fn put_back(&mut self, flight: Flight, from: u32) {
        if from < flight.count && self.is_wanted(flight.batch) {
            let rest = self.segment(&flight, from, flight.count - from, flight.lost);
            self.add_again(flight.batch, rest);
        }
        if let Load::Block(block, _) = flight.load {
            self.state.arena.free(block);
        }
    }

    /// The same, where this one was lost once more.
    fn run_again(&mut self, flight: Flight, from: u32) {
        let (id, alone) = (flight.batch, self.segment(&flight, from, 1, flight.lost + 1));
        self.put_back(flight, from + 1);
        self.add_again(id, alone);
    }

    fn is_wanted(&self, id: Option<BatchId>) -> bool {
        id.is_some_and(|id| !self.state.is_done(id))
    }

    /// So many tasks of a chunk, from this one on.
    fn segment(&self, flight: &Flight, from: u32, count: u32, lost: u32) -> Segment {
        let first = flight.first + from as usize;
        match &flight.load {
            Load::Beside(package) => {
                Segment::Beside { index: first, package: Arc::clone(package), lost }
            }
            Load::Block(block, len) => {
                let bytes = self.state.arena.bytes(*block, *len);
                let mut rest = &bytes[..];
                for _ in 0..from {
                    next_task(&mut rest);
                }
                let at = bytes.len() - rest.len();
                Segment::Plain { first, count, bytes, at, lost }
            }
        }
    }

    /// Has tasks wait before all others of their batch.
    fn add_again(&mut self, id: Option<BatchId>, segment: Segment) {
        let Some(id) = id else { return };
        let Some(batch) = self.state.batches.get_mut(&id) else { return };
        if segment.first() >= batch.end || batch.is_done() {
            return;
        }
        batch.add_again(segment);
        if batch.end != usize::MAX {
            batch.forget_from(batch.end);
        }
        if !mem::replace(&mut batch.is_ready, true) {
            self.state.ready.push_front(id);
        }
    }

    /// If workers have nothing to do while another has a long chunk in hand, that one gives back what
    /// it has not begun.
    fn share_out(&mut self) {
        let workers = self.state.crew.target();
        if !self.state.ready.is_empty() || self.state.flights.len() >= workers {
            return;
        }
        let board = self.board;
        for (seq, flight) in &mut self.state.flights {
            let adaptive = flight.batch.and_then(|id| self.state.batches.get(&id));
            let adaptive = adaptive
                .is_some_and(|batch| batch.chunk == crate::pool::batch::ChunkSize::Adaptive);
            let left = flight.count.saturating_sub(flight.replied);
            if !adaptive || flight.stopped || left < 2 {
                continue;
            }
            let holder = flight.holder.map_or_else(|| board.state().holder(*seq), Holder::Worker);
            if let Holder::Worker(worker) = holder
                && let Some(desk) = board.tail().get(worker)
            {
                flight.stopped = true;
                desk.stop(*seq);
            }
        }
    }

    fn holder(&self, seq: u32, flight: &Flight) -> Holder {
        match flight.holder {
            Some(worker) => Holder::Worker(worker),
            None => self.board.state().holder(seq),
        }
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

    /// Whether the room that the tasks of a batch may take is full.
    pub(in crate::pool) fn is_full(&self, id: BatchId) -> bool {
        self.state.batches.get(&id).is_some_and(|batch| batch.waiting_bytes() > 4 * CHUNK_MAX)
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
