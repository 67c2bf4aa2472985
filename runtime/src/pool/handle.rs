//! What a [`Job`](super::Job) and a [`MapJob`](super::MapJob) have in common: a batch on its way, and
//! whether it is done.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use super::core::Core;
use super::dispatch::BatchId;
use crate::sys::event::new_event;
use crate::sys::fd::duplicate;
use crate::sys::poll::Wait;

/// A batch of which its owner may still want to know. Dropped, what comes of it is thrown away.
#[derive(Debug)]
pub(super) struct Handle {
    core: Arc<Core>,
    id: BatchId,
    /// Can be read when it is done: for [`wait`](crate::wait()).
    bell: OnceLock<OwnedFd>,
}

impl Handle {
    pub(super) fn new(core: Arc<Core>, id: BatchId) -> Self {
        Self { core, id, bell: OnceLock::new() }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(super) fn id(&self) -> BatchId {
        self.id
    }

    /// Waits until it is done; says whether it is.
    pub(super) fn wait(&self, wait: Wait) -> bool {
        let done = |desks: &mut super::dispatch::Desks<'_>| desks.state.is_done(self.id);
        self.core.wait_for(wait, Some(self.id), |desks| done(desks).then_some(())).is_some()
    }

    pub(super) fn cancel(&self) -> bool {
        self.core.cancel(self.id)
    }

    /// As [`Waitable`](crate::Waitable) has it.
    pub(super) fn readiness(&self) -> BorrowedFd<'_> {
        match self.bell.get() {
            Some(bell) => bell.as_fd(),
            // It could not be made.
            None => self.core.bell(),
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.bell.get().is_none()
    }

    pub(super) fn look(&self) -> bool {
        let mut state = self.core.lock();
        let mut desks = self.core.desks(&mut state);
        desks.take_replies();
        if self.bell.get().is_none()
            && let Some(batch) = desks.state.batch(self.id)
            && let Ok(bell) = new_event()
            && let Ok(rung) = duplicate(&bell)
        {
            batch.bell = Some(rung);
            let _ = self.bell.set(bell);
        }
        let done = desks.state.is_done(self.id);
        self.core.hand_over(&mut state);
        done
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.core.is_foreign() {
            return;
        }
        let mut state = self.core.lock();
        // (It is not there any more if its owner has taken it out.)
        if let Some(batch) = state.batch(self.id) {
            if batch.is_done() {
                state.remove(self.id);
            } else if batch.on_done.is_none() {
                batch.abandon();
            }
        }
    }
}

/// Implements what two kinds of jobs have in common.
macro_rules! common_to_jobs {
    ($job:ident: $it:literal) => {
        impl<T> $job<T> {
            #[doc = concat!("Whether ", $it, " is done, so that [`wait`](Self::wait) would return at")]
            /// once. Python's `ready()`, and the future's `done()`.
            pub fn is_ready(&self) -> bool {
                self.handle.wait(Wait::Never)
            }

            #[doc = concat!("Waits until ", $it, " is done, but no longer than `timeout`; says whether it is.")]
            /// Python's `wait(timeout)`.
            pub fn wait_timeout(&self, timeout: Duration) -> bool {
                self.handle.wait(Wait::at_most(timeout))
            }
        }

        impl<T> fmt::Debug for $job<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let finished = self.is_ready();
                f.debug_struct(stringify!($job)).field("is_ready", &finished).finish_non_exhaustive()
            }
        }

        impl<T> Sealed for $job<T> {}
        impl<T> Waitable for $job<T> {
            fn readiness(&self) -> BorrowedFd<'_> {
                self.handle.readiness()
            }

            fn look(&self) -> Option<bool> {
                Some(self.handle.look())
            }

            fn is_silent(&self) -> bool {
                self.handle.is_silent()
            }
        }
    };
}

pub(super) use common_to_jobs;
