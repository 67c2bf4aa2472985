//! Why a lock was not taken, or was taken from somebody who left it in disorder.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::holder::Holder;
use crate::error::{Error, asks};

/// How the holder of a poisoned lock lost it: see [`PoisonError::cause`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PoisonCause {
    /// It panicked.
    Panicked,
    /// It was killed, or its process or thread ended otherwise, while it held the lock.
    Died,
}

/// The lock was held by somebody who panicked, exited or was killed, so what it protects may be
/// half changed. The lock is now held: the guard is inside.
///
/// As `std::sync::PoisonError`; in addition it tells who it was. The lock stays poisoned until
/// `clear_poison` is called.
///
/// Python has none: there, a lock whose holder was killed stays locked.
///
/// ```
/// use offspring::sync::{LockError, Mutex, PoisonCause};
///
/// let level = Mutex::new(7)?;
/// std::thread::scope(|scope| {
///     let _ = scope.spawn(|| { let _held = level.lock(); panic!() }).join();
/// });
/// match level.lock() {
///     Err(LockError::Poisoned(mut poisoned)) => {
///         assert_eq!(poisoned.cause(), PoisonCause::Panicked);
///         println!("{} left it in disorder", poisoned.holder());
///         **poisoned.get_mut() = 0; // which puts it right
///         level.clear_poison();
///     }
///     other => panic!("{other:?}"),
/// }
/// assert_eq!(*level.lock().unwrap(), 0);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
pub struct PoisonError<G> {
    guard: G,
    lock: String,
    // Boxed, as a result that is nearly always good should not be large.
    holder: Box<Holder>,
    cause: PoisonCause,
    #[serde(with = "flat")]
    others: Box<[PoisonError<()>]>,
}

/// The others have no others. So it does not say that they might, or what another process sends could be as
/// deep as it likes, and decoding it would overflow the stack.
mod flat {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Holder, PoisonCause, PoisonError, Poisoning};

    pub(super) fn serialize<S: Serializer>(
        others: &[PoisonError<()>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(others.iter().map(|other| (&other.lock, &other.holder, other.cause)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Box<[PoisonError<()>]>, D::Error> {
        let others = Vec::<(String, Holder, PoisonCause)>::deserialize(deserializer)?;
        let others = others.into_iter();
        Ok(others
            .map(|(lock, holder, cause)| PoisonError::new((), Poisoning { lock, holder, cause }))
            .collect())
    }
}

/// Who poisoned which lock, and how.
pub(crate) struct Poisoning {
    pub(crate) lock: String,
    pub(crate) holder: Holder,
    pub(crate) cause: PoisonCause,
}

impl<G> PoisonError<G> {
    pub(super) fn new(guard: G, Poisoning { lock, holder, cause }: Poisoning) -> Self {
        Self { guard, lock, holder: Box::new(holder), cause, others: Box::default() }
    }

    /// With the other locks that were found poisoned at once.
    pub(super) fn with_others(mut self, others: impl Iterator<Item = Poisoning>) -> Self {
        self.others = others.map(|how| PoisonError::new((), how)).collect();
        self
    }

    pub(super) fn map<H>(self, map: impl FnOnce(G) -> H) -> PoisonError<H> {
        PoisonError {
            guard: map(self.guard),
            lock: self.lock,
            holder: self.holder,
            cause: self.cause,
            others: self.others,
        }
    }

    /// The guard, for whoever can put right what the lock protects, or does not mind.
    pub fn into_inner(self) -> G {
        self.guard
    }

    /// The guard, borrowed.
    pub fn get_ref(&self) -> &G {
        &self.guard
    }

    /// The guard, borrowed for changes.
    pub fn get_mut(&mut self) -> &mut G {
        &mut self.guard
    }

    /// The error without the guard, which can be passed on, also to another process: see
    /// [`LockError::without_guard`].
    pub fn without_guard(self) -> PoisonError<()> {
        self.map(drop)
    }

    /// Which lock it is: `Mutex #17 of process 4711, made at src/main.rs:12:5`.
    pub fn lock_name(&self) -> &str {
        &self.lock
    }

    /// Who held the lock.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// How it lost the lock.
    pub fn cause(&self) -> PoisonCause {
        self.cause
    }

    /// The other mutexes that are poisoned of those that [`lock_all`](crate::sync::lock_all) has taken, in
    /// their order. None, if it is about a lock that was taken alone.
    ///
    /// ```
    /// use offspring::sync::{LockAllError, Mutex, lock_all};
    ///
    /// let mutexes = [Mutex::new(1)?, Mutex::new(2)?, Mutex::new(3)?];
    /// std::thread::scope(|scope| {
    ///     let _ = scope.spawn(|| { let _held = lock_all(&mutexes[1..]); panic!() }).join();
    /// });
    /// match lock_all(&mutexes) {
    ///     Err(LockAllError::Poisoned(poisoned)) => assert_eq!(poisoned.others().len(), 1),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn others(&self) -> &[PoisonError<()>] {
        &self.others
    }
}

impl<G> fmt::Debug for PoisonError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoisonError")
            .field("holder", &self.holder)
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl<G> fmt::Display for PoisonError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.cause {
            PoisonCause::Panicked => "panicked",
            PoisonCause::Died => "was killed, or exited,",
        };
        write!(
            f,
            "poisoned: {} {how} while it held the {}, so what that protects may be half changed: put it \
             right through `into_inner()`, then call `clear_poison()`",
            self.holder, self.lock
        )
    }
}

impl<G> std::error::Error for PoisonError<G> {}

/// Waiting for a lock would have been waiting for ever. Nothing was locked.
///
/// Without [detection](crate::sync::DeadlockDetector) this is told of a thread that already holds
/// the lock it wants; with it, of cycles of any length.
///
/// Python has none: such a thread waits for ever.
///
/// ```
/// use offspring::sync::{LockError, Mutex};
///
/// let mutex = Mutex::new(7)?;
/// let _held = mutex.lock().unwrap();
/// match mutex.lock() {
///     Err(LockError::Deadlock(deadlock)) => assert_eq!(deadlock.members().count(), 1), // itself
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlock {
    cycle: Vec<Waiting>,
    advice: Cow<'static, str>,
}

/// One member of a cycle: a thread that holds what the one before it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) who: Holder,
    /// The lock it waits for: its type, and where it was made.
    pub(crate) lock: String,
    /// Where in the program it waits.
    pub(crate) at: String,
}

impl Deadlock {
    /// Of several threads.
    pub(super) fn new(cycle: Vec<Waiting>) -> Self {
        Self { cycle, advice: "take these locks in one order, or by `lock_all`".into() }
    }

    /// Of a thread that has what it wants.
    pub(super) fn of_one(waiting: Waiting, advice: &'static str) -> Self {
        Self { cycle: vec![waiting], advice: advice.into() }
    }

    /// Everybody in the cycle, beginning with the caller. Each waits for the next, the last for
    /// the caller.
    pub fn members(&self) -> impl Iterator<Item = &Holder> {
        self.cycle.iter().map(|waiting| &waiting.who)
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadlock: ")?;
        for (index, waiting) in self.cycle.iter().enumerate() {
            let held_by = if index == 0 { "" } else { ", which is held by " };
            write!(f, "{held_by}{} at {} waits for the {}", waiting.who, waiting.at, waiting.lock)?;
        }
        let by = if self.cycle.len() == 1 { "itself" } else { "the first of them" };
        write!(f, ", which is held by {by}: {}", self.advice)
    }
}

impl std::error::Error for Deadlock {}

/// A thread holds so many locks already that the kernel would lose track of another: 2,000.
pub(super) const TOO_MANY: &str = "this thread holds 2,000 locks, permits and places already, and the kernel \
                        keeps track of no more: drop some guards first";

/// Why [`lock`](crate::sync::Mutex::lock) and its like give no guard at once.
///
/// What is written `unwrap_or_else(PoisonError::into_inner)` with std's locks is
/// `unwrap_or_else(LockError::into_inner)` here. As with std's, `?` does not get it out of a function
/// that owns the lock, because the guard in it borrows that; then it is
/// `.map_err(LockError::without_guard)?`.
///
/// ```
/// use offspring::sync::{LockError, Mutex};
///
/// fn increment(mutex: &Mutex<u32>) -> Result<u32, LockError<()>> {
///     let mut guard = mutex.lock().map_err(LockError::without_guard)?;
///     *guard += 1;
///     Ok(*guard)
/// }
///
/// assert_eq!(increment(&Mutex::new(1)?)?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To tell the reasons apart (Python has none of them: its `acquire` waits):
///
/// ```
/// use offspring::sync::{LockError, Mutex};
///
/// let mutex = Mutex::new(7)?;
/// let guard = match mutex.lock() {
///     Ok(guard) => guard,
///     Err(LockError::Poisoned(poisoned)) => {
///         println!("{poisoned}");
///         poisoned.into_inner()
///     }
///     Err(error) => return Err(error.without_guard().into()),
/// };
/// assert_eq!(*guard, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Serialize, Deserialize)]
#[non_exhaustive]
pub enum LockError<G> {
    /// It is held now, but who held it before left it in disorder.
    Poisoned(PoisonError<G>),
    /// Waiting for it would have been waiting for ever.
    Deadlock(Deadlock),
    /// This thread holds 2,000 locks already, and the kernel keeps track of no more.
    TooMany,
    /// There is no memory for another who takes part, or the most that can are there.
    NoRoom(Error),
}

/// Why [`try_lock`](crate::sync::Mutex::try_lock) and its like give no guard.
///
/// In Python, the `False` of `acquire(block=False)`.
///
/// ```
/// use offspring::sync::{Mutex, TryLockError};
///
/// let mutex = Mutex::new(7)?;
/// match mutex.try_lock() {
///     Ok(guard) => assert_eq!(*guard, 7),
///     Err(TryLockError::WouldBlock) => println!("later, then"),
///     Err(error) => return Err(error.without_guard().into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Serialize, Deserialize)]
#[non_exhaustive]
pub enum TryLockError<G> {
    /// It is held now, but who held it before left it in disorder.
    Poisoned(PoisonError<G>),
    /// Somebody holds it.
    WouldBlock,
    /// This thread holds 2,000 locks already, and the kernel keeps track of no more.
    TooMany,
    /// There is no memory for another who takes part, or the most that can are there.
    NoRoom(Error),
}

/// Why [`lock_timeout`](crate::sync::Mutex::lock_timeout) and its like give no guard.
///
/// In Python, the `False` of `acquire(timeout=...)`.
///
/// ```
/// use std::time::Duration;
/// use offspring::sync::{LockTimeoutError, Mutex};
///
/// let mutex = Mutex::new(7)?;
/// match mutex.lock_timeout(Duration::from_millis(10)) {
///     Ok(guard) => assert_eq!(*guard, 7),
///     Err(LockTimeoutError::Timeout { holder: Some(holder), .. }) => println!("{holder} has it"),
///     Err(error) => return Err(error.without_guard().into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Serialize, Deserialize)]
#[non_exhaustive]
pub enum LockTimeoutError<G> {
    /// It is held now, but who held it before left it in disorder.
    Poisoned(PoisonError<G>),
    /// Somebody held it for the whole time.
    #[non_exhaustive]
    Timeout {
        /// Who held it in the end, as far as could be told.
        holder: Option<Box<Holder>>,
    },
    /// This thread holds it already.
    Deadlock(Deadlock),
    /// This thread holds 2,000 locks already, and the kernel keeps track of no more.
    TooMany,
    /// There is no memory for another who takes part, or the most that can are there.
    NoRoom(Error),
}

macro_rules! lock_error {
    ($name:ident { $($same:ident $(($value:ident))? $({ $field:ident })? => $text:expr),* $(,)? }) => {
        impl<G> $name<G> {
            /// The guard of a poisoned lock, for whoever can put right what it protects, or does
            /// not mind.
            ///
            /// # Panics
            /// If the lock was not taken, so that there is no guard: with the error's text.
            #[track_caller]
            pub fn into_inner(self) -> G {
                match self {
                    Self::Poisoned(poisoned) => poisoned.into_inner(),
                    other => panic!("{other}"),
                }
            }

            /// The same error without the guard, so that it can be passed on: it borrows nothing, can be
            /// sent to another thread, and serialises, so that a child can return it. The lock, if it was
            /// taken, is given back.
            pub fn without_guard(self) -> $name<()> {
                match self {
                    Self::Poisoned(poisoned) => $name::Poisoned(poisoned.without_guard()),
                    $(Self::$same $(($value))? $({ $field })? => {
                        $name::$same $(($value))? $({ $field })?
                    })*
                }
            }

            /// What poisoned the lock, with the guard; `None` if the lock was not taken.
            pub fn into_poisoned(self) -> Option<PoisonError<G>> {
                match self {
                    Self::Poisoned(poisoned) => Some(poisoned),
                    _ => None,
                }
            }
        }

        impl<G> fmt::Display for $name<G> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Poisoned(poisoned) => poisoned.fmt(f),
                    $(Self::$same $(($value))? $({ $field })? => $text.fmt(f),)*
                }
            }
        }

        impl<G> fmt::Debug for $name<G> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // What `unwrap` shows: the text says more than the names of the parts.
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl<G> std::error::Error for $name<G> {}

        impl<G> From<PoisonError<G>> for $name<G> {
            fn from(poisoned: PoisonError<G>) -> Self {
                Self::Poisoned(poisoned)
            }
        }
    };
}

lock_error!(LockError {
    Deadlock(deadlock) => deadlock,
    TooMany => TOO_MANY,
    NoRoom(error) => error,
});
lock_error!(TryLockError {
    WouldBlock => "somebody holds the lock: its `Debug` form shows who",
    TooMany => TOO_MANY,
    NoRoom(error) => error,
});
lock_error!(LockTimeoutError {
    Timeout { holder } => Held(holder.as_deref()),
    Deadlock(deadlock) => deadlock,
    TooMany => TOO_MANY,
    NoRoom(error) => error,
});

impl<G> LockTimeoutError<G> {
    asks! {
        is_timeout: Timeout;
    }
}

/// What [`lock`](crate::sync::Mutex::lock) and its like give: as `std::sync::LockResult`.
pub type LockResult<G> = Result<G, LockError<G>>;
/// What [`try_lock`](crate::sync::Mutex::try_lock) and its like give: as `std::sync::TryLockResult`.
pub type TryLockResult<G> = Result<G, TryLockError<G>>;
/// What [`lock_timeout`](crate::sync::Mutex::lock_timeout) and its like give.
pub type LockTimeoutResult<G> = Result<G, LockTimeoutError<G>>;

/// Who has held a lock for all of the time.
struct Held<'a>(Option<&'a Holder>);

impl fmt::Display for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(holder) => {
                write!(f, "the lock was held for the whole time, in the end by {holder}")
            }
            None => f.write_str("the lock was held for the whole time"),
        }
    }
}

/// Why a lock was not taken, whatever the operation.
#[derive(Debug)]
pub(crate) enum NotLocked {
    TimedOut(Option<Holder>),
    Deadlock(Deadlock),
    TooMany,
    NoRoom(Error),
}

impl<G> From<NotLocked> for LockError<G> {
    fn from(reason: NotLocked) -> Self {
        match reason {
            NotLocked::TimedOut(_) => unreachable!("it waits for as long as it takes"),
            NotLocked::Deadlock(deadlock) => Self::Deadlock(deadlock),
            NotLocked::TooMany => Self::TooMany,
            NotLocked::NoRoom(error) => Self::NoRoom(error),
        }
    }
}

impl<G> From<NotLocked> for TryLockError<G> {
    fn from(reason: NotLocked) -> Self {
        match reason {
            // Held, if only by the caller.
            NotLocked::TimedOut(_) | NotLocked::Deadlock(_) => Self::WouldBlock,
            NotLocked::TooMany => Self::TooMany,
            NotLocked::NoRoom(error) => Self::NoRoom(error),
        }
    }
}

impl<G> From<NotLocked> for LockTimeoutError<G> {
    fn from(reason: NotLocked) -> Self {
        match reason {
            NotLocked::TimedOut(holder) => Self::Timeout { holder: holder.map(Box::new) },
            NotLocked::Deadlock(deadlock) => Self::Deadlock(deadlock),
            NotLocked::TooMany => Self::TooMany,
            NotLocked::NoRoom(error) => Self::NoRoom(error),
        }
    }
}
