//! Tasks that wait go on the board, a chunk at a time; what a worker leaves undone waits again.

use std::mem;
use std::sync::Arc;

use super::{BatchId, Desks, Flight, Load, Phase, State};
use crate::pool::ROOM;
use crate::pool::batch::{Batch, ChunkSize, Segment, Taken, len_of};
use crate::pool::board::{Chunk, Holder};
use crate::pool::error::TaskError;

impl Desks<'_> {
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
        let mut posting = board.post();
        let mut failed = Vec::new();
        let workers = self.state.crew.target();
        while let Some(id) = self.state.ready.front().copied() {
            let Some(batch) = self.state.batches.get_mut(&id).filter(|batch| !batch.is_done())
            else {
                self.state.ready.pop_front();
                continue;
            };
            if posting.unclaimed() >= batch.ahead(workers) {
                break;
            }
            let Some((seq, old)) = posting.next() else { break };
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
                Some(Taken::Spoiled { first, count, may_have_run }) => {
                    let reason = "its arguments were written over in the pool's memory".to_owned();
                    failed.push((id, first..first + count as usize, reason, may_have_run));
                    None
                }
                Some(Taken::Beside { index, package, lost }) => {
                    Some((index, 1, Ok(Load::Beside(package)), lost))
                }
                Some(Taken::Plain { first, count, at, len, lost }) => {
                    let block = self.state.arena.put(batch.cut_bytes(at, len));
                    Some((first, count, block.map(|block| Load::Block(block, len)), lost))
                }
            };
            batch.tidy();
            let (name, process) = (batch.name, batch.process);
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
                    let inputs = first..first + count as usize;
                    failed.push((id, inputs, error.to_string(), lost > 0));
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
                name,
                process,
                first,
                count,
                load,
                replied: 0,
                lost,
                holder: None,
                stopped: false,
                sent: false,
            };
            self.state.flights.insert(seq, flight);
            posting.put(chunk);
        }
        drop(posting);
        // Not before: what follows from that may put up others.
        for (id, indices, reason, may_have_run) in failed {
            for index in indices {
                let Some(batch) = self.state.batches.get(&id) else { break };
                let (task, reason) = (batch.task(index), reason.clone());
                self.fail(id, index, TaskError::Encode { task, reason, may_have_run });
            }
        }
    }

    /// If workers have nothing to do while another has a long chunk in hand, that one gives back what
    /// it has not begun.
    pub(super) fn share_out(&mut self) {
        let workers = self.state.crew.target();
        if !self.state.ready.is_empty() || self.state.flights.len() >= workers {
            return;
        }
        let board = self.board;
        let State { flights, batches, crew, .. } = &mut *self.state;
        // A desk has room for one number: that of the chunk which its worker has claimed last stays.
        let mut flights: Vec<_> = flights.iter_mut().collect();
        flights.sort_unstable_by_key(|(seq, _)| **seq);
        for (seq, flight) in flights {
            let adaptive = flight.batch.and_then(|id| batches.get(&id));
            let adaptive = adaptive.is_some_and(|batch| batch.chunk == ChunkSize::Adaptive);
            let left = flight.count.saturating_sub(flight.replied);
            if !adaptive || flight.stopped || left < 2 {
                continue;
            }
            if let Holder::Worker(worker) = flight.holder(*seq, board.state())
                && let Some(desk) = crew.desk(worker, board.tail())
            {
                flight.stopped = true;
                desk.stop(*seq);
            }
        }
    }

    /// The tasks of a chunk from this one on did not run: they are to wait again.
    pub(super) fn put_back(&mut self, flight: Flight, from: u32) {
        if from < flight.count && self.is_wanted(flight.batch) {
            let rest = self.segment(&flight, from, flight.count - from, flight.lost);
            self.add_again(flight.batch, rest);
        }
        if let Load::Block(block, _) = flight.load {
            self.state.arena.free(block);
        }
    }

    /// The same, where this one was lost once more.
    pub(super) fn run_again(&mut self, flight: Flight, from: u32) {
        let (id, alone) = (flight.batch, self.segment(&flight, from, 1, flight.lost + 1));
        self.put_back(flight, from + 1);
        self.add_again(id, alone);
    }

    /// So many tasks of a chunk, from this one on.
    fn segment(&self, flight: &Flight, from: u32, count: u32, lost: u32) -> Segment {
        let first = flight.first + from as usize;
        match &flight.load {
            Load::Beside(package) => {
                Segment::Beside { index: first, package: Arc::clone(package), lost }
            }
            Load::Block(block, len) => {
                let mut bytes = self.state.arena.bytes(*block, *len);
                let at = len_of(&bytes, from);
                bytes.truncate(at + len_of(&bytes[at..], count));
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

    fn is_wanted(&self, id: Option<BatchId>) -> bool {
        id.is_some_and(|id| !self.state.is_done(id))
    }

    /// A pool that is closed, and has nothing left to do, sends its workers home.
    pub(super) fn close_if_idle(&self) {
        let board = self.board.state();
        if self.state.phase == Phase::Closing && !board.is_closed() && self.state.is_idle() {
            board.close();
        }
    }
}
