//! The barrier: a number of threads that wait for each other.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::barrier_state::{ABORTED, RESET, State, UNDECIDED};
use super::kernel::Wait;
use crate::error::{Error, Result, asks};
use crate::shm::object::{Kind, Object};

/// A number of threads, of whatever processes, that wait for each other. Python's `Barrier`.
///
/// When the last of them has arrived, all go on, and the barrier can be used again.
///
/// This is a handle: a clone is another handle to the same barrier, and so is what arrives when a
/// handle is sent to another process.
///
/// # When a process dies
/// If one is killed while it waits, the others would wait for ever. So it breaks the barrier: they,
/// and all who come after them, get [`BarrierError::WaiterDied`] at once, until somebody
/// [resets](Self::reset) it. One that is killed before it comes to the barrier is not missed: where
/// that may happen, wait with a timeout. (On kernels before 5.16, "at once" is a tenth of a second.)
///
/// ```
/// use offspring::{process, sync::Barrier};
///
/// #[process]
/// fn party(barrier: Barrier) -> bool {
///     barrier.wait().unwrap().is_leader()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let barrier = Barrier::new(3)?;
/// let children = [party(barrier.clone()).spawn()?, party(barrier.clone()).spawn()?];
/// let mut leaders = u32::from(barrier.wait()?.is_leader());
/// for child in children {
///     leaders += u32::from(child.join()?);
/// }
/// assert_eq!(leaders, 1);
/// # Ok(())
/// # }
/// ```
pub struct Barrier {
    pub(super) object: Object<State, ()>,
}

super::handle!(Barrier);

/// What a [`Barrier`] is made of beside its number of parties: see [`Barrier::builder`]. In Python,
/// the arguments of the constructor.
#[derive(Debug, Clone)]
#[must_use = "it makes nothing until `build` is called"]
pub struct BarrierBuilder {
    parties: usize,
    timeout: Option<Duration>,
}

impl BarrierBuilder {
    /// How long [`Barrier::wait`] waits at most. Python's `timeout` in the constructor.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes the barrier.
    ///
    /// # Errors
    /// As [`Barrier::new`].
    #[track_caller]
    pub fn build(&self) -> Result<Barrier> {
        let nanoseconds =
            |timeout: Duration| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1);
        let (parties, max) = (self.parties, State::TAIL_MAX / 2);
        if parties > max {
            return Err(Error::TooLarge { what: "parties of a Barrier".into(), len: parties, max });
        }
        let state = State::new(parties as u32, self.timeout.map_or(0, nanoseconds));
        Ok(Barrier { object: Object::new(state, (), Location::caller())? })
    }
}

/// Which of the parties this one was: as `std::sync::BarrierWaitResult`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierWaitResult {
    pub(super) index: usize,
}

impl BarrierWaitResult {
    /// Whether this is the one among the parties that was last to come.
    pub fn is_leader(&self) -> bool {
        self.index == 0
    }

    /// A number below that of the parties, another for each. Python's return value of `wait`.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// Why the parties of a [`Barrier`] did not come together. All of them are told.
///
/// In Python, `BrokenBarrierError`, which does not say why.
///
/// ```
/// use std::time::Duration;
/// use offspring::sync::{Barrier, BarrierError};
///
/// let barrier = Barrier::new(2)?;
/// match barrier.wait_timeout(Duration::from_millis(10)) {
///     Ok(place) => println!("number {}", place.index()),
///     Err(BarrierError::WaiterDied) => println!("go on with one less"),
///     Err(BarrierError::Timeout) => barrier.reset(),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BarrierError {
    /// One of them did not wait any longer. The barrier is broken.
    #[error(
        "the barrier is broken, as one of its parties did not wait any longer: `reset()` mends it"
    )]
    Timeout,
    /// Somebody called [`abort`](Barrier::abort). The barrier is broken.
    #[error("the barrier is broken, as it was aborted: `reset()` mends it")]
    Aborted,
    /// One of them was killed, or its thread or process ended otherwise, while it waited. The
    /// barrier is broken.
    #[error(
        "the barrier is broken, as one of its parties died while it waited: `reset()` mends it"
    )]
    WaiterDied,
    /// The [action](Barrier::wait_with) panicked. The barrier is broken.
    #[error("the barrier is broken, as the action panicked: `reset()` mends it")]
    ActionFailed,
    /// Somebody called [`reset`](Barrier::reset) while some had come and others had not. The barrier
    /// is not broken.
    #[error("the barrier was reset while this thread waited")]
    Reset,
    /// There is no memory for so many threads. The barrier is as before.
    #[error("there is no memory for so many threads at the barrier")]
    NoRoom,
    /// This thread holds 2,000 permits and locks already, and the kernel keeps track of no more. The
    /// barrier is as before.
    #[error("{}", super::errors::TOO_MANY)]
    TooMany,
}

impl BarrierError {
    asks! {
        is_timeout: Timeout;
    }
}

impl Barrier {
    /// A barrier for so many parties. With 0 it is as with 1: nobody waits.
    ///
    /// # Errors
    /// As [`Mutex::new`](crate::sync::Mutex::new), and [`Error::TooLarge`] for more than 8,192.
    #[track_caller]
    pub fn new(parties: usize) -> Result<Self> {
        Self::builder(parties).build()
    }

    /// A barrier for so many parties, with more to be said about it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::{Barrier, BarrierError};
    ///
    /// let barrier = Barrier::builder(2).timeout(Duration::from_millis(10)).build()?;
    /// assert_eq!(barrier.wait(), Err(BarrierError::Timeout)); // the other does not come
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn builder(parties: usize) -> BarrierBuilder {
        BarrierBuilder { parties, timeout: None }
    }

    /// Waits until all parties have come, for no longer than the barrier was
    /// [made](BarrierBuilder::timeout) to.
    ///
    /// # Errors
    /// [`BarrierError`] if they do not come together; from then on also at once, until the barrier
    /// is [reset](Self::reset). (Not so after [`Reset`](BarrierError::Reset) and
    /// [`NoRoom`](BarrierError::NoRoom) and [`TooMany`](BarrierError::TooMany), which do not break it.)
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_with(|| {})
    }

    /// As [`wait`](Self::wait), for at most `timeout`, by the monotonic clock: then it breaks the
    /// barrier, for all. Python's `wait(timeout)`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::{Barrier, BarrierError};
    ///
    /// let barrier = Barrier::new(2)?;
    /// let late = barrier.wait_timeout(Duration::from_millis(10));
    /// assert_eq!(late, Err(BarrierError::Timeout));
    /// assert!(barrier.is_broken());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.come(Wait::at_most(timeout), || {})
    }

    /// As [`wait`](Self::wait). The last to come calls its `action`, before anybody goes on, be it
    /// that their time is up: while it runs, the others, [`abort`](Self::abort) and
    /// [`reset`](Self::reset) wait for its end.
    ///
    /// Python's `action` in the constructor: there all parties have the same.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// If the action does: then the barrier is broken, and the others get
    /// [`BarrierError::ActionFailed`].
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use offspring::sync::Barrier;
    ///
    /// let (barrier, rounds) = (Barrier::new(2)?, AtomicU32::new(0));
    /// let count = || drop(rounds.fetch_add(1, Ordering::Relaxed));
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| barrier.wait_with(count).unwrap());
    ///     scope.spawn(|| barrier.wait_with(count).unwrap());
    /// });
    /// assert_eq!(rounds.into_inner(), 1);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<BarrierWaitResult, BarrierError> {
        let wait = match self.object.state().timeout {
            0 => Wait::Forever,
            nanoseconds => Wait::at_most(Duration::from_nanos(nanoseconds)),
        };
        self.come(wait, action)
    }

    /// Breaks the barrier: all who wait, and all who come, get [`BarrierError::Aborted`].
    ///
    /// ```
    /// use offspring::sync::{Barrier, BarrierError};
    ///
    /// let barrier = Barrier::new(2)?;
    /// barrier.abort();
    /// assert_eq!(barrier.wait(), Err(BarrierError::Aborted));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn abort(&self) {
        let _inside = self.enter();
        self.break_with(ABORTED);
    }

    /// Mends the barrier. Who waits just now gets [`BarrierError::Reset`].
    ///
    /// ```
    /// use offspring::sync::Barrier;
    ///
    /// let barrier = Barrier::new(1)?;
    /// barrier.abort();
    /// assert!(barrier.wait().is_err());
    /// barrier.reset();
    /// assert!(barrier.wait().is_ok());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn reset(&self) {
        let _inside = self.enter();
        self.object.state().broken.store(UNDECIDED, Ordering::SeqCst);
        if self.waiting() > 0 {
            self.decide(RESET);
        }
    }

    /// How many must come.
    pub fn parties(&self) -> usize {
        self.object.state().parties as usize
    }

    /// How many have come, and wait. Python's `n_waiting`.
    pub fn waiting(&self) -> usize {
        self.of_this_round().count()
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.object.state().broken.load(Ordering::SeqCst) != UNDECIDED || self.has_lost_one()
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("waiting", &self.waiting())
            .field("broken", &self.is_broken())
            .field("made_at", &self.object.place())
            .finish()
    }
}
