//! Waiting for what workers reply: one listens, others follow.

use std::sync::MutexGuard;
use std::thread;
use std::time::Instant;

use super::Core;
use crate::pool::dispatch::{BatchId, Desks, Phase, State};
use crate::sync::spin::Spin;
use crate::sys::poll::Wait;

impl Core {
    /// Waits until `look` has found what it looks for, which is about one batch if `of` names it.
    /// `None` when the time is up.
    pub(in crate::pool) fn wait_for<R>(
        &self,
        wait: Wait,
        of: Option<BatchId>,
        look: impl FnMut(&mut Desks<'_>) -> Option<R>,
    ) -> Option<R> {
        self.wait_in(self.lock(), wait, of, look)
    }

    /// Has `begin` put up tasks, and waits for what comes of them: who listens already when they are
    /// put up is the one who is told.
    pub(in crate::pool) fn begin_and_wait<R>(
        &self,
        begin: impl FnOnce(&mut Desks<'_>) -> BatchId,
        mut look: impl FnMut(&mut Desks<'_>, BatchId) -> Option<R>,
    ) -> Option<R> {
        let mut state = self.lock();
        if !state.listening && !self.is_foreign() && !self.is_keeper() {
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
        if self.is_keeper() {
            drop(state);
            return self.wait_in_callback(wait, look);
        }
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

    /// Somebody is to listen from now on: another that waits, or the pool's thread.
    pub(in crate::pool) fn hand_over(&self, state: &mut State) {
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
}
