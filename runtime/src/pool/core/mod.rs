//! One pool, as all of its handles and its own thread share it.
//!
//! Whoever waits for a task listens to the workers itself, so that a reply wakes the thread that wants
//! it and no other: the *listener*. Others that wait meanwhile are its *followers*, and one of them
//! listens next. When nobody waits, the pool's own thread is told of replies by its bell; it is also the
//! one that hears of a worker's end, starts others in their place, and runs callbacks.

mod keeper;
mod listening;

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::error::{Error, Result};
use crate::pool::arena::Arena;
use crate::pool::batch::Ending;
use crate::pool::board::Board;
use crate::pool::crew::Crew;
use crate::pool::dispatch::{BatchId, Desks, FOREIGN, Limits, Phase, State};
use crate::pool::error::PoolError;
use crate::pool::stats::Records;
use crate::pool::worker::{Call, Rules};
use crate::process::Builder;
use crate::shm::object::Object;
use crate::sys::fd::above_stdio;
use crate::sys::poll::Wait;
use crate::sys::{copies, event};
use crate::wire::endpoint::Endpoint;

/// What is the same for the whole life of a pool.
#[derive(Debug)]
pub(in crate::pool) struct Settings {
    pub(in crate::pool) name: String,
    pub(in crate::pool) builder: Builder,
    /// Workers are forked, as far as that is possible.
    pub(in crate::pool) forks: bool,
    pub(in crate::pool) rules: Rules,
    pub(in crate::pool) initializer: Option<Call>,
    pub(in crate::pool) finalizer: Option<Call>,
    pub(in crate::pool) limits: Limits,
    pub(in crate::pool) retries: u32,
    pub(in crate::pool) timeline: Option<std::path::PathBuf>,
}

#[derive(Debug)]
pub(in crate::pool) struct Core {
    pub(in crate::pool) settings: Settings,
    board: Object<Board, ()>,
    state: Mutex<State>,
    /// Rung by workers when nobody listens, and by whoever wants the pool's thread to look.
    bell: Endpoint,
    /// The bell, and each worker's end.
    events: Epoll,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Which copy of the process it belongs to.
    copy: u32,
}

/// The bell among the events; the others are desks.
const BELL: u64 = u64::MAX;

impl Core {
    pub(in crate::pool) fn start(
        workers: usize,
        settings: Settings,
        place: &Location<'_>,
    ) -> Result<Arc<Self>> {
        copies::watch();
        let failed = |error: nix::Error| Error::os("make a pool", error);
        let board = Object::new(Board::new(workers), (), place)?;
        let bell = Endpoint::new(event::new_event().map_err(failed)?);
        let events = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        let events = Epoll(above_stdio(events.0).map_err(failed)?);
        events.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL)).map_err(failed)?;
        let crew = Crew::new(workers, settings.rules.clone(), settings.initializer.is_some());
        let records = Records::new(settings.timeline.is_some());
        let state = State::new(Arena::create()?, crew, settings.limits, records);
        let core = Arc::new(Self {
            settings,
            board,
            state: Mutex::new(state),
            bell,
            events,
            thread: Mutex::new(None),
            copy: copies::count(),
        });
        // If one cannot be started, those that were end with `core`.
        for worker in 0..workers {
            if let Err(error) = core.hire(worker) {
                core.lock().crew.kill_all();
                return Err(error);
            }
        }
        let own = Arc::clone(&core);
        let thread = thread::Builder::new()
            .name(core.settings.name.clone())
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| own.look_after())).is_err() {
                    own.give_up();
                }
            })
            .map_err(|error| {
                core.lock().crew.kill_all();
                Error::os("start the thread of a pool", error)
            })?;
        *core.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(core)
    }

    pub(in crate::pool) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_foreign() {
            state.disown();
        }
        state
    }

    pub(in crate::pool) fn desks<'a>(&'a self, state: &'a mut State) -> Desks<'a> {
        Desks { state, board: &self.board, foreign: self.is_foreign() }
    }

    pub(in crate::pool) fn board(&self) -> &Board {
        self.board.state()
    }

    /// Whether this process is a copy of the one whose pool this is.
    pub(in crate::pool) fn is_foreign(&self) -> bool {
        self.copy != copies::count()
    }

    /// Ends a batch, and the workers that run tasks of it. False if it was done already.
    pub(in crate::pool) fn cancel(&self, id: BatchId) -> bool {
        let mut state = self.lock();
        let mut desks = self.desks(&mut state);
        desks.take_replies();
        let running = !desks.state.is_done(id);
        desks.cancel(id, true);
        self.hand_over(&mut state);
        running
    }

    /// The pool cannot go on.
    fn fail(&self, state: &mut State, reason: String) {
        if matches!(state.phase, Phase::Ending | Phase::Failed(_)) {
            return;
        }
        state.phase = Phase::Failed(reason.clone());
        self.desks(state).end_all(&Ending::Failed(reason));
        state.crew.kill_all();
        self.hand_over(state);
        self.ring();
    }

    /// No more tasks are taken.
    pub(in crate::pool) fn close(&self) {
        if self.is_foreign() {
            return;
        }
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        drop(state);
        self.ring();
    }

    /// Ends everything, at once.
    pub(in crate::pool) fn terminate(&self) {
        if self.is_foreign() {
            return;
        }
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Ending | Phase::Failed(_)) {
            state.phase = Phase::Ending;
        }
        self.desks(&mut state).end_all(&Ending::Closed);
        state.crew.kill_all();
        self.hand_over(&mut state);
        drop(state);
        self.ring();
    }

    /// Waits until all workers are gone, and the pool's thread too. Does not wait if it is that thread which
    /// calls this, from a callback: it ends when it is through with that.
    pub(in crate::pool) fn await_end(&self) -> Result<(), PoolError> {
        if self.is_keeper() {
            return Ok(());
        }
        if self.is_foreign() {
            return Err(PoolError { reason: FOREIGN.into() });
        }
        self.wait_for(Wait::Forever, None, |desks| {
            let over = desks.state.phase != Phase::Open && desks.state.crew.len() == 0;
            (over && desks.state.is_idle()).then_some(())
        });
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.ring();
            let _ = thread.join();
        }
        let state = self.lock();
        if let Some(path) = &self.settings.timeline
            && let Some(timeline) = &state.records.timeline
            && let Err(error) = std::fs::write(path, timeline.trace())
        {
            let reason =
                format!("its timeline could not be written to {}: {error}", path.display());
            return Err(PoolError { reason });
        }
        match &state.phase {
            Phase::Failed(reason) => Err(PoolError { reason: reason.clone() }),
            _ => Ok(()),
        }
    }

    /// Has there be so many workers.
    pub(in crate::pool) fn resize(&self, change: impl FnOnce(usize) -> usize) -> Result<usize> {
        if self.is_foreign() {
            return Err(Error::os("change a pool", std::io::Error::other(FOREIGN)));
        }
        let mut state = self.lock();
        let before = state.crew.target();
        let target = change(before);
        if target > before {
            self.board.grow_tail(target)?;
            self.board().add_desks(target);
        }
        state.crew.set_target(target);
        if target > before {
            self.board().keep((target - before) as u32);
        }
        if target < before {
            self.board().dismiss((before - target) as u32);
        }
        drop(state);
        self.ring();
        Ok(target)
    }
}
