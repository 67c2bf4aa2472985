//! What workers reply, and what follows from it.

use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{BatchId, Desks, Flight, Load, State};
use crate::pool::batch::Fate;
use crate::pool::board::Holder;
use crate::pool::desk::{REPLY_MAX, next_reply};
use crate::pool::error::{Task, TaskError, TaskPanic};
use crate::pool::reply::{Claim, End, Reply, Times};
use crate::pool::stats::Ran;
use crate::pool::worker::next_task;
use crate::process::{Panic, PanicReport};
use crate::wire::SendFailure;

impl Desks<'_> {
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

    pub(super) fn take_replies_of(&mut self, worker: usize) {
        // (What a worker leaves that is not known yet, waits until it is.)
        let known = self.state.crew.is_present(worker);
        if self.foreign || !known || self.desk(worker).is_none_or(|desk| desk.unread() == 0) {
            return;
        }
        let mut replies = mem::take(&mut self.state.replies);
        replies.clear();
        if let Some(desk) = self.desk(worker) {
            desk.take(&mut replies);
        }
        let mut rest = &replies[..];
        while !rest.is_empty() && !self.state.crew.babbles(worker) {
            if self.take_next(worker, &mut rest).is_none() {
                self.state.crew.kill_babbler(worker);
            }
        }
        self.state.replies = replies;
    }

    /// Takes the next reply of a worker, or some values at once. `None`: it makes no sense. A worker that
    /// lost its way could otherwise keep tasks for ever of which it never speaks again.
    fn take_next(&mut self, worker: usize, rest: &mut &[u8]) -> Option<()> {
        let before = *rest;
        let (kind, payload) = next_reply(rest)?;
        let (reply, beside) = Reply::of(kind)?;
        if payload.len() > REPLY_MAX {
            return None;
        }
        match reply {
            Reply::Claimed => {
                let Claim { seq, number } = Claim::from_bytes(payload)?;
                let flight = self.state.flights.get(&seq)?;
                if self.holder(seq, flight) != Holder::Worker(worker) {
                    return None;
                }
                return self.state.crew.claims(worker, seq, number);
            }
            Reply::Useless => {
                let reason = String::from_utf8_lossy(payload);
                return self.state.crew.note_useless(worker, &reason);
            }
            _ => {}
        }
        let (seq, index) = self.state.crew.at(worker)?;
        let count = self.state.flights.get(&seq)?.count;
        if reply.is_of_a_task() && index >= count {
            return None;
        }
        if reply == Reply::Value && !beside {
            *rest = before;
            let index = index.saturating_add(self.take_values((seq, index), kind, rest));
            self.state.crew.set_at(worker, Some((seq, index)));
            return (index <= count).then_some(());
        }
        let (payload, fds) = if beside {
            match self.state.crew.receive(worker) {
                Ok(packet) => packet,
                Err(reason) if reply.is_of_a_task() => {
                    self.task_done((seq, index), |task| {
                        Fate::Failed(TaskError::Decode { task, reason, may_have_run: true })
                    });
                    self.state.crew.set_at(worker, Some((seq, index + 1)));
                    return Some(());
                }
                Err(_) => return None,
            }
        } else {
            (payload.to_vec(), Vec::new())
        };
        match reply {
            Reply::Claimed | Reply::Useless => {}
            Reply::Wanted => self.send_beside(worker, seq)?,
            Reply::End => {
                let end = End::from_bytes(&payload)?;
                // (It has begun the first, so that something came of that.)
                if end.seq != seq || index == 0 {
                    return None;
                }
                self.state.crew.set_at(worker, None);
                self.end_flight(worker, (seq, index), end.times);
            }
            Reply::Value | Reply::Panicked | Reply::Unencodable | Reply::Undecodable => {
                self.take_outcome(worker, (seq, index), reply, payload, fds);
                self.state.crew.set_at(worker, Some((seq, index + 1)));
            }
        }
        Some(())
    }

    /// The common case: plain values, one after the other, of one chunk. Gives how many there are.
    fn take_values(&mut self, (seq, index): (u32, u32), kind: u32, rest: &mut &[u8]) -> u32 {
        let State { flights, batches, .. } = &mut *self.state;
        let flight = flights.get_mut(&seq);
        let first = flight.as_ref().map_or(0, |flight| flight.first + index as usize);
        let id = flight.as_ref().and_then(|flight| flight.batch);
        let batch = id.and_then(|id| batches.get_mut(&id)).filter(|batch| batch.ending.is_none());
        // (Of no more tasks than the chunk has, whatever the worker says.)
        let due = flight.as_ref().map_or(0, |flight| flight.count.saturating_sub(index)) as usize;
        let wanted = batch.as_ref().map_or(0, |batch| batch.end.saturating_sub(first)).min(due);
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
            flight.replied = index.saturating_add(count as u32).min(flight.count);
        }
        if let Some(batch) = batch
            && wanted > 0
            && !batch.abandoned
        {
            batch.inbox.push(first, count.min(wanted), &all[..wanted_len]);
        }
        if let Some(id) = id {
            self.count_done(id, count.min(wanted));
        }
        count as u32
    }

    /// So many more tasks of a batch are dealt with.
    pub(super) fn count_done(&mut self, id: BatchId, count: usize) {
        let Some(batch) = self.state.batches.get_mut(&id) else { return };
        if count == 0 || batch.ending.is_some() {
            return;
        }
        batch.done += count;
        self.state.records.tasks += count as u64;
        if batch.is_done() {
            self.state.settle(id);
        } else if batch.lazy || batch.total.is_none() {
            // Its owner may want what there is, or wait until there is room for more tasks.
            self.state.tell(Some(id));
        }
    }

    fn take_outcome(
        &mut self,
        worker: usize,
        at: (u32, u32),
        reply: Reply,
        payload: Vec<u8>,
        fds: Vec<OwnedFd>,
    ) {
        let (name, pid) = self.state.crew.who(worker);
        self.task_done(at, |task| {
            let text = || String::from_utf8_lossy(&payload).into_owned();
            Fate::Failed(match reply {
                Reply::Panicked => match PanicReport::from_bytes(&payload) {
                    Some(report) => {
                        let panic = Box::new(Panic::new(name, pid, report));
                        TaskError::Panicked(TaskPanic { task, panic })
                    }
                    None => {
                        let reason = "the report of its panic is unreadable".into();
                        TaskError::Decode { task, reason, may_have_run: true }
                    }
                },
                Reply::Unencodable => {
                    TaskError::Encode { task, reason: text(), may_have_run: true }
                }
                Reply::Undecodable => {
                    TaskError::Decode { task, reason: text(), may_have_run: false }
                }
                _ => return Fate::Value(payload, fds),
            })
        });
    }

    pub(super) fn task_done(&mut self, (seq, index): (u32, u32), fate: impl FnOnce(Task) -> Fate) {
        let Some(flight) = self.state.flights.get_mut(&seq) else { return };
        if index >= flight.count {
            return; // of no task that it had
        }
        flight.replied = index + 1;
        let (Some(id), index) = (flight.batch, flight.first + index as usize) else { return };
        let Some(batch) = self.state.batches.get_mut(&id) else { return };
        let fate = fate(batch.task(index));
        self.deliver(id, index, fate);
    }

    /// Sends a worker the task that it has claimed, and which is not in the arena. `None`: there is none, or
    /// it has it.
    fn send_beside(&mut self, worker: usize, seq: u32) -> Option<()> {
        let flight = self.state.flights.get_mut(&seq)?;
        let Load::Beside(package) = &flight.load else { return None };
        if mem::replace(&mut flight.sent, true) {
            return None;
        }
        let package = Arc::clone(package);
        let sent = self.state.crew.send(worker, &package);
        if let Err(failure) = sent
            && !matches!(failure, SendFailure::Disconnected)
        {
            // (If the worker is gone, its end is heard, and the task waits again.) It waits for what will
            // not come.
            let reason = std::io::Error::from(failure).to_string();
            self.task_done((seq, 0), |task| {
                Fate::Failed(TaskError::Encode { task, reason, may_have_run: false })
            });
            self.state.crew.kill(worker);
        }
        Some(())
    }

    /// A worker is through with a chunk, of which it has done so many tasks.
    fn end_flight(&mut self, worker: usize, (seq, done): (u32, u32), times: Times) {
        let Some(flight) = self.state.flights.remove(&seq) else { return };
        let Times { began, ended } = times;
        let nanos = ended.saturating_sub(began);
        if let Some(batch) = flight.batch.and_then(|id| self.state.batches.get_mut(&id)) {
            batch.learn(nanos, done);
        }
        self.state.crew.note_work(worker, done, nanos);
        let State { records, arena, .. } = &mut *self.state;
        let arguments = || match flight.load {
            Load::Block(block, len) => {
                next_task(&mut &arena.bytes(block, len)[..]).map(<[u8]>::to_vec)
            }
            Load::Beside(_) => None,
        };
        let Flight { name, process, first: index, .. } = flight;
        let count = done;
        records.note(&Ran { worker, name, process, index, count, times }, arguments);
        self.put_back(flight, done);
    }
}
