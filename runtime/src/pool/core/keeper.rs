//! The pool's own thread: it hears of a worker's end, starts others in their place, runs callbacks, and
//! listens when nobody waits.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::time::{Duration, Instant};

use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};

use super::{BELL, Core};
use crate::error::{Error, Result};
use crate::launch::StartMethod;
use crate::pool::batch::Batch;
use crate::pool::crew::Member;
use crate::pool::dispatch::{BatchId, Callback, Desks, Phase, State};
use crate::pool::timeline::What;
use crate::pool::worker::{Call, Worker};
use crate::sys::poll::Wait;
use crate::sys::{clock, event, fd, socket};
use crate::wire::Fd;
use crate::wire::endpoint::Endpoint;

thread_local! {
    /// Where the pool is whose own thread this is. (It is asked at every task.)
    static KEEPER_OF: Cell<usize> = const { Cell::new(0) };
}

/// While somebody attends to a map, and takes the replies whenever it hands over tasks or fetches values,
/// the pool's thread looks only after this whether that still goes on; if not, its bell is rung for them.
const DOZE: Duration = Duration::from_millis(1);
/// When a worker could not be started, it is tried again after this.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// So often, while there is no other; then the pool gives up.
const TRIES: u32 = 20;

impl Core {
    /// Whether it is the pool's own thread that asks.
    pub(super) fn is_keeper(&self) -> bool {
        KEEPER_OF.get() == ptr::from_ref(self).addr()
    }

    /// Has the pool's thread look.
    pub(in crate::pool) fn ring(&self) {
        let _ = event::ring(&self.bell);
    }

    /// Can be read when the pool's thread is to look.
    pub(in crate::pool) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Whether there is work for the pool's own thread that it may not know of.
    pub(super) fn is_keeper_needed(&self, state: &State) -> bool {
        let watch = state.has_limits() && !state.watched && state.backlog() > 0;
        let hire = self.settings.rules.idle_timeout.is_some() && !self.to_hire(state).is_empty();
        !state.callbacks.is_empty() || state.keeper_told || watch || hire
    }

    /// Has what `callback` makes of a batch called on the pool's own thread when the batch is done: on
    /// this one, if that is not there any more.
    pub(in crate::pool) fn call_when_done(
        &self,
        id: BatchId,
        callback: impl FnOnce(Batch) -> Callback + Send + 'static,
    ) {
        let mut state = self.lock();
        let Some(batch) = state.batch(id) else { return };
        if !batch.is_done() {
            batch.on_done = Some(Box::new(move |batch| {
                let (process, name) = (batch.process, batch.name);
                callback(std::mem::replace(batch, Batch::new(process, name)))
            }));
        } else if let Some(batch) = state.remove(id) {
            let callback = callback(batch);
            if state.over || self.is_foreign() {
                drop(state);
                return callback();
            }
            state.callbacks.push(callback);
        }
        self.hand_over(&mut state);
    }

    /// What the pool's own thread does, until all is over.
    pub(super) fn look_after(&self) {
        KEEPER_OF.set(ptr::from_ref(self).addr());
        loop {
            let wait = self.tend();
            let callbacks = {
                let mut state = self.lock();
                let callbacks = std::mem::take(&mut state.callbacks);
                let over = state.phase != Phase::Open && state.crew.len() == 0 && state.is_idle();
                if over && callbacks.is_empty() {
                    state.over = true;
                    state.tell(None);
                    self.hand_over(&mut state);
                    return;
                }
                callbacks
            };
            if callbacks.is_empty() {
                self.rest(wait);
            }
            for callback in callbacks {
                // A panic in one is printed, and is nothing to the others; nor is one in what it
                // panics with.
                if let Err(payload) = catch_unwind(AssertUnwindSafe(callback)) {
                    std::mem::forget(payload);
                }
            }
        }
    }

    /// Takes replies, buries workers, hires others, ends what is overdue; says when there is more of
    /// that at the latest.
    fn tend(&self) -> Option<Duration> {
        let (vacancies, mut wait) = {
            let mut state = self.lock();
            let mut desks = self.desks(&mut state);
            desks.take_replies();
            for worker in std::mem::take(&mut desks.state.ended) {
                self.bury(&mut desks, worker);
            }
            let now = clock::now();
            let look_again = desks.end_overdue(now);
            state.watched = look_again.is_some();
            let vacancies = self.to_hire(&state);
            let wait = look_again.map(|then| Duration::from_nanos(then.saturating_sub(now)));
            let wait = [wait, state.crew.try_again_in()].into_iter().flatten().min();
            self.hand_over(&mut state);
            (vacancies, wait)
        };
        for worker in vacancies {
            if let Err(error) = self.hire(worker) {
                self.could_not_hire(&error);
                wait = Some(wait.map_or(TRY_AGAIN, |wait| wait.min(TRY_AGAIN)));
                break;
            }
        }
        wait
    }

    /// Sleeps until the pool's own thread has something to do.
    fn rest(&self, mut wait: Option<Duration>) {
        let mut state = self.lock();
        state.dozing = std::mem::take(&mut state.attended) && state.attendants > 0;
        if state.dozing {
            self.board().want_bell(false);
            wait = Some(wait.map_or(DOZE, |wait| wait.min(DOZE)));
        } else if !state.listening && state.followers.is_empty() {
            self.board().want_bell(true);
            if self.desks(&mut state).any_replies() {
                return;
            }
        }
        drop(state);
        let ended = self.sleep(wait);
        self.lock().ended.extend(ended);
    }

    /// Sleeps until the bell rings or a worker has ended; gives those that have.
    fn sleep(&self, wait: Option<Duration>) -> Vec<usize> {
        let timeout = wait.map_or(EpollTimeout::NONE, |wait| {
            // Rounded up, so that it is not looked in vain.
            let millis = wait.as_nanos().div_ceil(1_000_000).min(60_000);
            EpollTimeout::from(millis as u16)
        });
        let mut events = [EpollEvent::empty(); 64];
        let count = self.events.wait(&mut events, timeout).unwrap_or(0);
        let mut ended = Vec::new();
        for event in &events[..count] {
            match event.data() {
                BELL => drop(event::still(&self.bell)),
                worker => ended.push(worker as usize),
            }
        }
        ended
    }

    /// The same, on the pool's own thread, in a callback: it looks after the pool meanwhile.
    pub(super) fn wait_in_callback<R>(
        &self,
        wait: Wait,
        mut look: impl FnMut(&mut Desks<'_>) -> Option<R>,
    ) -> Option<R> {
        loop {
            let again = self.tend();
            let mut state = self.lock();
            let found = look(&mut self.desks(&mut state));
            let over = found.is_some() || wait == Wait::Never || wait.is_over();
            (state.keeper_waits, state.keeper_told) = (!over, false);
            self.hand_over(&mut state);
            drop(state);
            if over {
                return found;
            }
            self.rest(match (again, wait) {
                (again, Wait::Until(end)) => {
                    let left = end.saturating_duration_since(Instant::now());
                    Some(again.map_or(left, |again| again.min(left)))
                }
                (again, _) => again,
            });
        }
    }

    /// Starts a worker at this desk.
    pub(super) fn hire(&self, worker: usize) -> Result<()> {
        let began = Instant::now();
        let failed = |error: nix::Error| Error::os("start a worker of a pool", error);
        let (ours, theirs) = socket::pair().map_err(failed)?;
        let (number, arena) = {
            let mut state = self.lock();
            state.crew.starting += 1;
            let arena = fd::duplicate(state.arena().file());
            (state.crew.started + state.crew.starting as u64, arena)
        };
        let start = || {
            let another = |call: &Option<Call>| call.as_ref().map(Call::another).transpose();
            let work = Worker {
                board: self.board.clone(),
                arena: Fd::new(arena.map_err(failed)?),
                bell: Fd::new(fd::duplicate(&self.bell).map_err(failed)?),
                socket: Fd::new(theirs),
                desk: worker as u32,
                rules: self.settings.rules.clone(),
                initializer: another(&self.settings.initializer).map_err(failed)?,
                finalizer: another(&self.settings.finalizer).map_err(failed)?,
            };
            let mut builder = self.settings.builder.clone();
            builder.name(format!("{}-{number}", self.settings.name)).daemon(true);
            if self.is_keeper() && self.settings.forks {
                // This very thread is one that a fork must not leave behind.
                builder.start_method(StartMethod::ForkServer);
            }
            builder.spawn(work)
        };
        let child = start();
        let mut state = self.lock();
        state.crew.starting -= 1;
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                state.crew.early_sentences(worker); // there is nobody
                return Err(error);
            }
        };
        let event = EpollEvent::new(EpollFlags::EPOLLIN, worker as u64);
        let watched = self.events.add(&child, event).map_err(failed);
        let member = Member::new(child, Endpoint::new(ours), began);
        if let Err(error) = watched {
            // Its end will not be heard, and it may have claimed something already.
            let _ = member.child.kill();
            let _ = member.child.wait();
            state.crew.insert(worker, member);
            self.bury(&mut self.desks(&mut state), worker);
            self.hand_over(&mut state);
            return Err(error);
        }
        state.crew.was_started();
        if matches!(state.phase, Phase::Ending | Phase::Failed(_)) {
            let _ = member.child.kill();
        }
        state.records.happened(worker, clock::now(), || What::Started {
            name: member.child.name().into(),
            pid: member.child.pid(),
        });
        state.crew.insert(worker, member);
        // It may have replied already, when nobody looked at its desk.
        self.desks(&mut state).welcome(worker);
        self.hand_over(&mut state);
        Ok(())
    }

    /// The desks that are to have a worker and have none.
    fn to_hire(&self, state: &State) -> Vec<usize> {
        let mut vacancies = match state.phase {
            _ if state.crew.try_again_in().is_some() => Vec::new(),
            Phase::Open => state.crew.vacancies(),
            Phase::Closing if !self.board().is_closed() => state.crew.vacancies(),
            _ => Vec::new(),
        };
        if self.settings.rules.idle_timeout.is_some() || state.phase == Phase::Closing {
            // Those that have left for want of work come back for work.
            let wanted = state.backlog().saturating_sub(state.crew.len());
            vacancies.truncate(wanted);
        }
        vacancies
    }

    fn could_not_hire(&self, error: &Error) {
        let mut state = self.lock();
        if state.crew.could_not_start(TRY_AGAIN) >= TRIES {
            self.fail(&mut state, format!("no worker could be started: {error}"));
        }
    }

    /// A worker has ended, or so it seems.
    fn bury(&self, desks: &mut Desks<'_>, worker: usize) {
        let Some(status) = desks.state.crew.status(worker) else { return };
        let was_ready = self
            .board
            .tail()
            .get(worker)
            .is_some_and(|desk| desk.ready.load(std::sync::atomic::Ordering::SeqCst) != 0);
        desks.state.records.happened(worker, clock::now(), || What::Ended {
            how: status.map_or("how is not known".into(), |status| status.to_string()),
        });
        desks.bury(worker, status);
        // It may have been about to wake who listens.
        desks.state.told = true;
        let failed = desks.state.crew.note_end(worker, was_ready, status);
        if let Some(member) = desks.state.crew.remove(worker) {
            let _ = self.events.delete(&member.child);
        }
        if let Some(reason) = failed {
            self.fail(desks.state, reason);
        }
    }

    /// The pool's own thread has panicked, which it never should: nothing more comes of the pool.
    pub(super) fn give_up(&self) {
        let mut state = self.lock();
        self.fail(
            &mut state,
            "its own thread panicked, as was printed: a bug of this library".into(),
        );
        for worker in state.crew.present().collect::<Vec<_>>() {
            if let Some(member) = state.crew.remove(worker) {
                let _ = member.child.kill();
                let _ = member.child.wait();
            }
        }
        self.desks(&mut state).abandon();
        state.over = true;
        state.tell(None);
        self.hand_over(&mut state);
    }
}
