//! What ends tasks that are not done: their own failure, a time limit, somebody who does not want them
//! any more, the death of their worker, the end of the pool.

use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{BatchId, Desks, Flight, Limits, Load, State};
use crate::pool::batch::Ending;
use crate::pool::board::Holder;
use crate::pool::crew::Sentence;
use crate::pool::desk::Desk;
use crate::pool::error::{Overrun, TaskError, WorkerDeath};

impl Desks<'_> {
    /// Ends everything that is not done.
    pub(in crate::pool) fn end_all(&mut self, ending: &Ending) {
        if self.foreign {
            return;
        }
        let board = self.board.state();
        let State { ready, flights, batches, arena, .. } = &mut *self.state;
        ready.clear();
        flights.retain(|seq, flight| {
            // Nobody will claim it; or somebody has, whose death is heard.
            let unclaimed = flight.holder.is_none() && board.withdraw(*seq);
            if let Some(batch) = flight.batch.take().and_then(|id| batches.get_mut(&id)) {
                batch.may_have_run |= !unclaimed;
            }
            if let (true, Load::Block(block, _)) = (unclaimed, &flight.load) {
                arena.free(*block);
            }
            !unclaimed
        });
        let ids: Vec<_> = batches.keys().copied().collect();
        for id in ids {
            let Some(batch) = self.state.batches.get_mut(&id) else { continue };
            if !batch.is_done() {
                batch.ending = Some(ending.clone());
                batch.forget_from(0);
                self.state.settle(id);
            }
        }
        self.state.tell(None);
    }

    /// Nobody is left who could do what is on its way.
    pub(in crate::pool) fn abandon(&mut self) {
        self.state.flights.clear();
    }

    /// What a batch has from this input on does not matter any more: what is not begun never is.
    /// `kill`: and what is begun is ended.
    pub(in crate::pool) fn forget_from(&mut self, id: BatchId, index: usize, kill: bool) {
        if self.foreign {
            return;
        }
        let Some(batch) = self.state.batches.get_mut(&id) else { return };
        batch.end = batch.end.min(index);
        batch.forget_from(index);
        let mut flights: Vec<u32> = self
            .state
            .flights
            .iter()
            .filter(|(_, flight)| flight.batch == Some(id))
            .map(|(seq, _)| *seq)
            .collect();
        // A desk has room for one number: that of the chunk which its worker has claimed last stays.
        flights.sort_unstable();
        for seq in flights {
            // (Replies are taken before a worker is killed: it may be done by now.)
            let Some(flight) = self.state.flights.get(&seq) else { continue };
            let (first, last) = (flight.first, flight.first + flight.count as usize);
            if last <= index {
                continue;
            }
            if first >= index && self.board.state().withdraw(seq) {
                if let Some(Flight { load: Load::Block(block, _), .. }) =
                    self.state.flights.remove(&seq)
                {
                    self.state.arena.free(block);
                }
                continue;
            }
            if let Holder::Worker(worker) = self.holder(seq, flight) {
                if let Some(desk) = self.desk(worker) {
                    desk.stop(seq);
                }
                if kill {
                    self.condemn(worker, (seq, None), Sentence::Cancelled);
                }
            }
            if first >= index
                && let Some(flight) = self.state.flights.get_mut(&seq)
                && flight.replied < flight.count
                && let Some(batch) = self.state.batches.get_mut(&id)
            {
                batch.may_have_run = true;
                flight.batch = None;
            }
        }
        // What was done beyond that does not count, and what is left before it may be done already.
        let outstanding: usize = self
            .state
            .flights
            .values()
            .filter(|flight| flight.batch == Some(id))
            .map(|flight| {
                let from = flight.first + flight.replied as usize;
                segment_count_before(index, from, flight.count - flight.replied)
            })
            .sum();
        if let Some(batch) = self.state.batches.get_mut(&id) {
            let total = batch.total.map_or(batch.end, |total| total.min(batch.end));
            batch.total = Some(total);
            batch.done = total.saturating_sub(outstanding + batch.waiting_count);
            if batch.is_done() && batch.ending.is_none() {
                self.state.settle(id);
            }
        }
        self.put_up();
        self.close_if_idle();
    }

    /// Ends a batch: nobody wants what is not done yet.
    pub(in crate::pool) fn cancel(&mut self, id: BatchId, kill: bool) {
        let Some(batch) = self.state.batches.get_mut(&id).filter(|batch| !batch.is_done()) else {
            return;
        };
        batch.ending = Some(Ending::Cancelled);
        self.forget_from(id, 0, kill);
        self.state.settle(id);
    }

    /// Kills a worker for the task of this chunk that it has in hand, if it has one: if it is this one,
    /// where that matters.
    fn condemn(&mut self, worker: usize, (seq, only): (u32, Option<u32>), sentence: Sentence) {
        if self.foreign || self.state.crew.is_sentenced(worker) {
            return;
        }
        if !self.state.crew.is_present(worker) {
            // It is at work before its start has returned. Until then nobody could kill it.
            return self.state.crew.sentence_early(worker, (seq, only), sentence);
        }
        let Some(desk) = self.desk(worker) else { return };
        desk.condemn();
        self.take_replies_of(worker);
        if self.state.crew.babbles(worker) {
            return; // it is being killed for that
        }
        let in_hand = self
            .state
            .flights
            .get(&seq)
            .filter(|flight| flight.replied < flight.count)
            .map(|flight| flight.replied)
            .filter(|in_hand| only.is_none_or(|only| only == *in_hand));
        match in_hand {
            Some(index) => self.state.crew.sentence(worker, seq, index, sentence),
            None => self.desk(worker).into_iter().for_each(Desk::pardon),
        }
    }

    /// A worker is known now that may have been at work for a while.
    pub(in crate::pool) fn welcome(&mut self, worker: usize) {
        self.take_replies();
        for (seq, only, sentence) in self.state.crew.early_sentences(worker) {
            self.condemn(worker, (seq, only), sentence);
        }
    }

    /// Tells the tasks that have run for long, and kills the workers whose tasks have run for too long;
    /// says when to look again, in nanoseconds of the clock.
    pub(in crate::pool) fn end_overdue(&mut self, now: u64) -> Option<u64> {
        let nanos =
            |limit: Option<Duration>| limit.map_or(u64::MAX, |limit| limit.as_nanos() as u64);
        let Limits { soft, hard } = self.state.limits;
        let (soft, hard) = (nanos(soft), nanos(hard));
        if self.foreign || !self.state.has_limits() || self.state.flights.is_empty() {
            return None;
        }
        // What begins now is not overdue before that.
        let mut next = now.saturating_add(soft.min(hard));
        for (seq, worker) in self.held() {
            let Some(desk) = self.desk(worker) else { continue };
            let (in_hand, begun) = desk.progress();
            if in_hand != seq || begun == 0 {
                continue;
            }
            let since = desk.since.load(Ordering::SeqCst);
            let (warn, end) = (since.saturating_add(soft), since.saturating_add(hard));
            if end <= now {
                self.condemn(worker, (seq, Some(begun - 1)), Sentence::TimedOut);
            } else if warn <= now {
                desk.warn((in_hand, begun));
                next = next.min(end);
            } else {
                next = next.min(warn).min(end);
            }
        }
        Some(next)
    }

    /// Deals with what a worker had in hand that has ended.
    pub(in crate::pool) fn bury(&mut self, worker: usize, status: Option<ExitStatus>) {
        if self.foreign {
            return;
        }
        self.take_replies_of(worker);
        let progress = self.desk(worker).map(Desk::progress);
        let sentence = self.state.crew.sentence_of(worker);
        let babbled = self.state.crew.babbles(worker);
        let (name, pid) = self.state.crew.who(worker);
        for (seq, _) in self.held().into_iter().filter(|(_, holder)| *holder == worker) {
            let Some(flight) = self.state.flights.remove(&seq) else { continue };
            let next = flight.replied;
            let executed = sentence.filter(|(of, index, _)| (*of, *index) == (seq, next));
            // A condemned worker begins nothing, whatever it says: but for the task it is killed for. And
            // what one says that babbles is nothing to go by.
            let begun = babbled
                || progress == Some((seq, next + 1)) && (sentence.is_none() || executed.is_some());
            if !begun || next >= flight.count {
                self.put_back(flight, next);
                continue;
            }
            let index = flight.first + next as usize;
            let (Some(id), lost) = (flight.batch, flight.lost) else {
                self.put_back(flight, next);
                continue;
            };
            let Some(batch) = self.state.batches.get(&id) else {
                self.put_back(flight, next);
                continue;
            };
            let (task, retries) = (batch.task(index), batch.retries);
            if executed.is_none() && lost < retries {
                self.run_again(flight, next);
                continue;
            }
            let limit = self.state.limits.hard.unwrap_or_default();
            self.put_back(flight, next + 1);
            let error = match (executed, status) {
                (Some((_, _, Sentence::TimedOut)), _) => {
                    TaskError::TimedOut(Overrun { task, worker: name.clone(), pid, limit })
                }
                (Some((_, _, Sentence::Cancelled)), _) => {
                    TaskError::Cancelled { task, may_have_run: true }
                }
                (None, status) => TaskError::WorkerDied(WorkerDeath {
                    task,
                    worker: name.clone(),
                    pid,
                    status: status.unwrap_or_default(),
                    babbled,
                }),
            };
            self.fail(id, index, error);
        }
        if let Some(desk) = self.desk(worker) {
            desk.clear();
        }
        self.board.state().forget(worker);
        self.put_up();
        self.close_if_idle();
    }
}

fn segment_count_before(end: usize, first: usize, count: u32) -> usize {
    end.saturating_sub(first).min(count as usize)
}
