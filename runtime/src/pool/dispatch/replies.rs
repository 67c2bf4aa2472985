//! What workers reply, and what follows from it.

use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{BatchId, Desks, Flight, Load, State};
use crate::pool::batch::Fate;
use crate::pool::board::Holder;
use crate::pool::desk::{REPLY_MAX, next_reply};
use crate::pool::error::{Task, TaskError, TaskPanic};
use crate::pool::reply::{Claim, End, Reply};
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
        // (Only what came of a task may be too much for the ring.)
        if payload.len() > REPLY_MAX || beside && !reply.is_of_a_task() {
            return None;
        }
        match reply {
            Reply::Claimed => {
                let Claim { seq, number } = Claim::from_bytes(payload)?;
                let flight = self.state.flights.get(&seq)?;
                if self.holder(seq, flight) != Holder::Worker(worker) {
                    return None;
                }
                self.state.crew.claims(worker, seq, number)
            }
            Reply::Useless => {
                let reason = String::from_utf8_lossy(payload);
                self.state.crew.note_useless(worker, &reason)
            }
            Reply::Wanted => self.send_beside(worker, self.state.crew.in_hand(worker)?),
            Reply::End => self.end_flight(worker, End::from_bytes(payload)?),
            Reply::Value if !beside => {
                *rest = before;
                self.take_values(self.state.crew.in_hand(worker)?, kind, rest)
            }
            Reply::Value | Reply::Panicked | Reply::Unencodable | Reply::Undecodable => {
                let outcome = if beside {
                    self.state.crew.receive(worker)
                } else {
                    Ok((payload.to_vec(), Vec::new()))
                };
                self.take_outcome(worker, reply, outcome)
            }
        }
    }

    /// The common case: plain values, one after the other, of one chunk.
    fn take_values(&mut self, seq: u32, kind: u32, rest: &mut &[u8]) -> Option<()> {
        let State { flights, batches, .. } = &mut *self.state;
        let flight = flights.get_mut(&seq)?;
        let (id, first) = (flight.batch, flight.first + flight.replied as usize);
        let batch = id.and_then(|id| batches.get_mut(&id)).filter(|batch| batch.ending.is_none());
        // (Of no more tasks than the chunk has, whatever the worker says.)
        let due = (flight.count - flight.replied) as usize;
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
        flight.replied += count.min(due) as u32;
        if let Some(batch) = batch
            && wanted > 0
            && !batch.abandoned
        {
            batch.inbox.push(first, count.min(wanted), &all[..wanted_len]);
        }
        if let Some(id) = id {
            self.count_done(id, count.min(wanted));
        }
        (count <= due).then_some(())
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
        reply: Reply,
        outcome: Result<(Vec<u8>, Vec<OwnedFd>), String>,
    ) -> Option<()> {
        let seq = self.state.crew.in_hand(worker)?;
        let undecodable = |task, reason| TaskError::Decode { task, reason, may_have_run: true };
        let (payload, fds) = match outcome {
            Ok(packet) => packet,
            Err(reason) => {
                return self.task_done(seq, |task| Fate::Failed(undecodable(task, reason)));
            }
        };
        let text = || String::from_utf8_lossy(&payload).into_owned();
        match reply {
            Reply::Panicked => {
                let (name, pid) = self.state.crew.who(worker);
                self.task_done(seq, |task| {
                    Fate::Failed(match PanicReport::from_bytes(&payload) {
                        Some(report) => {
                            let panic = Box::new(Panic::new(name, pid, report));
                            TaskError::Panicked(TaskPanic { task, panic })
                        }
                        None => undecodable(task, "the report of its panic is unreadable".into()),
                    })
                })
            }
            Reply::Unencodable => self.task_done(seq, |task| {
                Fate::Failed(TaskError::Encode { task, reason: text(), may_have_run: true })
            }),
            Reply::Undecodable => self.task_done(seq, |task| {
                Fate::Failed(TaskError::Decode { task, reason: text(), may_have_run: false })
            }),
            _ => self.task_done(seq, |_| Fate::Value(payload, fds)),
        }
    }

    /// This came of the next task of a chunk. `None`: it has no more.
    fn task_done(&mut self, seq: u32, fate: impl FnOnce(Task) -> Fate) -> Option<()> {
        let flight = self.state.flights.get_mut(&seq)?;
        if flight.replied >= flight.count {
            return None;
        }
        let index = flight.first + flight.replied as usize;
        flight.replied += 1;
        if let Some(id) = flight.batch
            && let Some(batch) = self.state.batches.get(&id)
        {
            let fate = fate(batch.task(index));
            self.deliver(id, index, fate);
        }
        Some(())
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
            self.task_done(seq, |task| {
                Fate::Failed(TaskError::Encode { task, reason, may_have_run: false })
            })?;
            self.state.crew.kill(worker);
        }
        Some(())
    }

    /// A worker is through with its chunk, if not with all of its tasks. `None`: it is not.
    fn end_flight(&mut self, worker: usize, End { seq, times }: End) -> Option<()> {
        let done = self.state.flights.get(&seq)?.replied;
        // (It has begun the first, so that something came of that.)
        if self.state.crew.in_hand(worker) != Some(seq) || done == 0 {
            return None;
        }
        self.state.crew.lays_down(worker);
        let flight = self.state.flights.remove(&seq)?;
        let nanos = times.ended - times.began;
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
        records.note(&Ran { worker, name, process, index, count: done, times }, arguments);
        self.put_back(flight, done);
        Some(())
    }
}
