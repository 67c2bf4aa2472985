//! One pool, as all of its handles and its own thread share it: waiting for what workers reply, and
//! seeing to it that there are workers.
//!
//! Whoever waits for a task listens to the workers itself, so that a reply wakes the thread that wants
//! it and no other: the *listener*. Others that wait meanwhile are its *followers*, and one of them
//! listens next. When nobody waits, the pool's own thread is told of replies by its bell; it is also the
//! one that hears of a worker's end, starts others in their place, and runs callbacks.

use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::arena::Arena;
use super::batch::Ending;
use super::board::Board;
use super::crew::{Crew, Member};
use super::dispatch::{BatchId, Desks, FOREIGN, Limits, Phase, State};
use super::error::PoolError;
use super::stats::Records;
use super::timeline::What;
use super::worker::{Call, Rules, Worker};
use crate::error::{Error, Result};
use crate::launch::StartMethod;
use crate::process::Builder;
use crate::shm::object::Object;
use crate::sync::spin::Spin;
use crate::sys::fd::{self, above_stdio};
use crate::sys::poll::Wait;
use crate::sys::{clock, copies, event, socket};
use crate::wire::Fd;
use crate::wire::endpoint::Endpoint;

/// What is the same for the whole life of a pool.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) builder: Builder,
    /// Workers are forked, as far as that is possible.
    pub(super) forks: bool,
    pub(super) rules: Rules,
    pub(super) initializer: Option<Call>,
    pub(super) finalizer: Option<Call>,
    pub(super) limits: Limits,
    pub(super) retries: u32,
    pub(super) timeline: Option<std::path::PathBuf>,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) settings: Settings,
    board: Object<Board, ()>,
    state: Mutex<State>,
    /// Rung by workers when nobody listens, and by whoever wants the pool's thread to look.
    bell: Endpoint,
    /// The bell, and each worker's end.
    events: Epoll,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The pool's own thread.
    keeper: OnceLock<ThreadId>,
    /// Which copy of the process it belongs to.
    copy: u32,
}

/// The bell among the events; the others are desks.
const BELL: u64 = u64::MAX;
/// While somebody attends to a map, and takes the replies whenever it hands over tasks or fetches values,
/// the pool's thread looks only after this whether that still goes on; if not, its bell is rung for them.
const DOZE: Duration = Duration::from_millis(1);
/// When a worker could not be started, it is tried again after this.
const TRY_AGAIN: Duration = Duration::from_millis(100);

impl Core {
    pub(super) fn start(
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
            keeper: OnceLock::new(),
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
            .spawn(move || own.look_after())
            .map_err(|error| {
                core.lock().crew.kill_all();
                Error::os("start the thread of a pool", error)
            })?;
        *core.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(core)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_foreign() {
            state.disown();
        }
        state
    }

    pub(super) fn desks<'a>(&'a self, state: &'a mut State) -> Desks<'a> {
        Desks { state, board: &self.board, foreign: self.is_foreign() }
    }

    pub(super) fn board(&self) -> &Board {
        self.board.state()
    }

    /// Whether this process is a copy of the one whose pool this is.
    pub(super) fn is_foreign(&self) -> bool {
        self.copy != copies::count()
    }

    /// Can be read when the pool's thread is to look.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Whether it is the pool's own thread that asks.
    fn is_keeper(&self) -> bool {
        self.keeper.get() == Some(&thread::current().id())
    }

    /// Has the pool's thread look.
    pub(super) fn ring(&self) {
        let _ = event::ring(&self.bell);
    }

    /// Waits until `look` has found what it looks for, which is about one batch if `of` names it.
    /// `None` when the time is up.
    pub(super) fn wait_for<R>(
        &self,
        wait: Wait,
        of: Option<BatchId>,
        look: impl FnMut(&mut Desks<'_>) -> Option<R>,
    ) -> Option<R> {
        self.wait_in(self.lock(), wait, of, look)
    }

    /// Has `begin` put up tasks, and waits for what comes of them: who listens already when they are
    /// put up is the one who is told.
    pub(super) fn begin_and_wait<R>(
        &self,
        begin: impl FnOnce(&mut Desks<'_>) -> BatchId,
        mut look: impl FnMut(&mut Desks<'_>, BatchId) -> Option<R>,
    ) -> Option<R> {
        let mut state = self.lock();
        if !state.listening && !self.is_foreign() {
            self.board().begin_listening();
        }
        let id = begin(&mut self.desks(&mut state));
        self.wait_in(state, Wait::Forever, Some(id), |desks| look(desks, id))
    }

    fn wait_in<'a, R>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        wait: Wait,
        of: Option<BatchId>,
        mut look: impl FnMut(&mut Desks<'_>) -> Option<R>,
    ) -> Option<R> {
        let mut spin = None;
        let found = loop {
            let mut desks = self.desks(&mut state);
            desks.take_replies();
            if let Some(found) = look(&mut desks) {
                break Some(found);
            }
            if wait == Wait::Never || wait.is_over() || self.is_foreign() {
                break None;
            }
            if self.is_keeper_needed(&state) {
                self.ring();
            }
            let board = self.board();
            if !state.listening {
                // This one listens.
                state.listening = true;
                board.begin_listening();
                if self.desks(&mut state).any_replies() {
                    state.listening = false;
                    continue;
                }
                drop(state);
                let spin = spin.get_or_insert_with(Spin::long);
                while !board.was_called() && spin.pause() {}
                if board.was_called() {
                    spin.paid();
                } else {
                    board.listen(wait);
                }
                state = self.lock();
                state.listening = false;
                board.end_listening();
            } else {
                state.followers.push((thread::current(), of));
                drop(state);
                match wait {
                    Wait::Until(deadline) => {
                        thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
                    }
                    _ => thread::park(),
                }
                state = self.lock();
                let own = thread::current().id();
                if let Some(at) = state.followers.iter().position(|(thread, _)| thread.id() == own)
                {
                    state.followers.swap_remove(at);
                }
            }
        };
        if !state.listening && !self.is_foreign() {
            self.board().end_listening();
        }
        self.hand_over(&mut state);
        found
    }

    /// Whether there is work for the pool's own thread that it may not know of.
    fn is_keeper_needed(&self, state: &State) -> bool {
        let watch = state.has_limits() && !state.watched && state.backlog() > 0;
        let hire = self.settings.rules.idle_timeout.is_some() && !self.to_hire(state).is_empty();
        !state.callbacks.is_empty() || watch || hire
    }

    /// Somebody is to listen from now on: another that waits, or the pool's thread.
    pub(super) fn hand_over(&self, state: &mut State) {
        if self.is_foreign() {
            return;
        }
        let elsewhere = !self.is_keeper();
        if elsewhere && (state.phase != Phase::Open || self.is_keeper_needed(state)) {
            self.ring();
        }
        let told = std::mem::take(&mut state.told);
        if state.listening {
            if told {
                self.board().call_listener();
            }
            return;
        }
        match state.followers.first() {
            Some((next, _)) => next.unpark(),
            None if state.dozing => {}
            None => {
                self.board().want_bell(true);
                // (The pool's own thread looks itself.)
                if elsewhere && self.desks(state).any_replies() {
                    self.ring();
                }
            }
        }
    }

    /// Ends a batch, and the workers that run tasks of it. False if it was done already.
    pub(super) fn cancel(&self, id: BatchId) -> bool {
        let mut state = self.lock();
        let mut desks = self.desks(&mut state);
        desks.take_replies();
        let running = !desks.state.is_done(id);
        desks.cancel(id, true);
        self.hand_over(&mut state);
        running
    }

    /// Starts a worker at this desk.
    fn hire(&self, worker: usize) -> Result<()> {
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
                builder.start_method(StartMethod::Forkserver);
            }
            builder.spawn(work)
        };
        let child = start();
        let mut state = self.lock();
        state.crew.starting -= 1;
        let child = child?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, worker as u64);
        let watched = self.events.add(&child, event).map_err(failed);
        let member = Member::new(child, Endpoint::new(ours), began);
        if let Err(error) = watched {
            let _ = member.child.kill();
            return Err(error);
        }
        if matches!(state.phase, Phase::Ending | Phase::Failed(_)) {
            let _ = member.child.kill();
        }
        state.records.happened(worker, clock::now(), || What::Started {
            name: member.child.name().into(),
            pid: member.child.pid(),
        });
        state.crew.insert(worker, member);
        // It may have replied already, when nobody looked at its desk.
        self.desks(&mut state).take_replies();
        self.hand_over(&mut state);
        Ok(())
    }

    /// What the pool's own thread does, until all is over.
    fn look_after(&self) {
        let _ = self.keeper.set(thread::current().id());
        let mut broken: Vec<usize> = Vec::new();
        loop {
            let mut state = self.lock();
            let mut desks = self.desks(&mut state);
            desks.take_replies();
            for worker in broken.drain(..) {
                self.bury(&mut desks, worker);
            }
            let now = clock::now();
            let look_again = desks.end_overdue(now);
            state.watched = look_again.is_some();
            let callbacks = std::mem::take(&mut state.callbacks);
            let over = state.phase != Phase::Open && state.crew.len() == 0 && state.is_idle();
            if over && callbacks.is_empty() {
                state.over = true;
                state.tell(None);
                self.hand_over(&mut state);
                break;
            }
            let vacancies = self.to_hire(&state);
            self.hand_over(&mut state);
            drop(state);
            let mut wait = look_again.map(|then| Duration::from_nanos(then.saturating_sub(now)));
            for worker in vacancies {
                if let Err(error) = self.hire(worker) {
                    self.could_not_hire(&error);
                    wait = Some(wait.map_or(TRY_AGAIN, |wait| wait.min(TRY_AGAIN)));
                    break;
                }
            }
            let idle = callbacks.is_empty();
            callbacks.into_iter().for_each(|callback| {
                // A panic in one is printed, and is nothing to the others.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(callback));
            });
            if idle {
                let mut state = self.lock();
                state.dozing = std::mem::take(&mut state.attended) && state.attendants > 0;
                if state.dozing {
                    self.board().want_bell(false);
                    wait = Some(wait.map_or(DOZE, |wait| wait.min(DOZE)));
                } else if !state.listening && state.followers.is_empty() {
                    self.board().want_bell(true);
                    if self.desks(&mut state).any_replies() {
                        continue;
                    }
                }
                drop(state);
                broken = self.sleep(wait);
            }
        }
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

    /// The desks that are to have a worker and have none.
    fn to_hire(&self, state: &State) -> Vec<usize> {
        let mut vacancies = match state.phase {
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
        if state.crew.len() == 0 {
            self.fail(&mut state, format!("no worker could be started: {error}"));
        }
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
    pub(super) fn close(&self) {
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
    pub(super) fn terminate(&self) {
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
    pub(super) fn await_end(&self) -> Result<(), PoolError> {
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
    pub(super) fn resize(&self, change: impl FnOnce(usize) -> usize) -> Result<usize> {
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
        if target < before {
            self.board().dismiss((before - target) as u32);
        }
        drop(state);
        self.ring();
        Ok(target)
    }
}
