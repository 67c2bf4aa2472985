//! Why a lock was not taken, or was taken from somebody who left it in disorder.

use std::fmt;

use super::holder::Holder;

/// How the holder of a poisoned lock lost it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
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
pub struct PoisonError<G> {
    guard: G,
    // Boxed, as a result that is nearly always good should not be large.
    holder: Box<Holder>,
    cause: Cause,
}

impl<G> PoisonError<G> {
    pub(super) fn new(guard: G, (holder, cause): (Holder, Cause)) -> Self {
        Self { guard, holder: Box::new(holder), cause }
    }

    pub(super) fn map<H>(self, map: impl FnOnce(G) -> H) -> PoisonError<H> {
        PoisonError { guard: map(self.guard), holder: self.holder, cause: self.cause }
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

    /// Who held the lock.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// How it lost the lock.
    pub fn cause(&self) -> Cause {
        self.cause
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
            Cause::Panicked => "panicked",
            Cause::Died => "was killed, or exited,",
        };
        write!(
            f,
            "poisoned lock: {} {how} while it held the lock, so what the lock protects may be half \
             changed: put it right through `into_inner()`, then call `clear_poison()`",
            self.holder
        )
    }
}

impl<G> std::error::Error for PoisonError<G> {}

/// Waiting for a lock would have been waiting for ever. Nothing was locked.
///
/// Without [detection](crate::sync::DeadlockDetector) this is told of a thread that already holds
/// the lock it wants; with it, of circles of any length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlock {
    circle: Vec<Waiting>,
}

/// One member of a circle: a thread that holds what the one before it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) who: Holder,
    /// The lock it waits for: its type, and where it was made.
    pub(crate) lock: String,
    /// Where in the program it waits.
    pub(crate) at: String,
}

impl Deadlock {
    pub(super) fn new(circle: Vec<Waiting>) -> Self {
        Self { circle }
    }

    /// Everybody in the circle, beginning with the caller. Each waits for the next, the last for
    /// the caller.
    pub fn circle(&self) -> impl Iterator<Item = &Holder> {
        self.circle.iter().map(|waiting| &waiting.who)
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadlock: ")?;
        for (index, waiting) in self.circle.iter().enumerate() {
            let (tie, verb) = match index {
                0 => ("", "wants"),
                _ => (", which is held by ", "which waits for"),
            };
            write!(f, "{tie}{}, {verb} the {} at {}", waiting.who, waiting.lock, waiting.at)?;
        }
        f.write_str(match self.circle.len() {
            1 => ", which it holds already: use a `ReentrantLock`, or drop the guard first",
            _ => ", which the first of them holds: take these locks in one order, or by `lock_all`",
        })
    }
}

impl std::error::Error for Deadlock {}

/// A thread holds so many locks already that the kernel would lose track of another: 2,000.
pub(super) const TOO_MANY: &str = "this thread holds 2,000 locks, permits and places already, and the kernel \
                        keeps track of no more: drop some guards first";

/// Why [`lock`](crate::sync::Mutex::lock) and its like give no guard at once.
#[non_exhaustive]
pub enum LockError<G> {
    /// It is held now, but who held it before left it in disorder.
    Poisoned(PoisonError<G>),
    /// Waiting for it would have been waiting for ever.
    Deadlock(Deadlock),
    /// This thread holds 2,000 locks already, and the kernel keeps track of no more.
    TooMany,
}

/// Why [`try_lock`](crate::sync::Mutex::try_lock) and its like give no guard.
#[non_exhaustive]
pub enum TryLockError<G> {
    /// It is held now, but who held it before left it in disorder.
    Poisoned(PoisonError<G>),
    /// Somebody holds it.
    WouldBlock,
    /// This thread holds 2,000 locks already, and the kernel keeps track of no more.
    TooMany,
}

/// Why [`lock_timeout`](crate::sync::Mutex::lock_timeout) and its like give no guard.
#[non_exhaustive]
pub enum LockTimeoutError<G> {
    /// It is held now, but who held it before left it in disorder.
    Poisoned(PoisonError<G>),
    /// Somebody held it for the whole time.
    TimedOut,
    /// This thread holds it already.
    Deadlock(Deadlock),
    /// This thread holds 2,000 locks already, and the kernel keeps track of no more.
    TooMany,
}

macro_rules! lock_error {
    ($name:ident { $($variant:pat => $text:expr),* $(,)? }) => {
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

            /// What poisoned the lock, with the guard; `None` if the lock was not taken.
            pub fn poisoned(self) -> Option<PoisonError<G>> {
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
                    $($variant => $text.fmt(f),)*
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
    Self::Deadlock(deadlock) => deadlock,
    Self::TooMany => TOO_MANY,
});
lock_error!(TryLockError {
    Self::WouldBlock => "somebody holds the lock",
    Self::TooMany => TOO_MANY,
});
lock_error!(LockTimeoutError {
    Self::TimedOut => "somebody held the lock for the whole time",
    Self::Deadlock(deadlock) => deadlock,
    Self::TooMany => TOO_MANY,
});

/// Why a lock was not taken, whatever the operation.
#[derive(Debug)]
pub(crate) enum NotLocked {
    TimedOut,
    Deadlock(Deadlock),
    TooMany,
}

impl<G> From<NotLocked> for LockError<G> {
    fn from(reason: NotLocked) -> Self {
        match reason {
            NotLocked::TimedOut => unreachable!("it waits for as long as it takes"),
            NotLocked::Deadlock(deadlock) => Self::Deadlock(deadlock),
            NotLocked::TooMany => Self::TooMany,
        }
    }
}

impl<G> From<NotLocked> for TryLockError<G> {
    fn from(reason: NotLocked) -> Self {
        match reason {
            // Held, if only by the caller.
            NotLocked::TimedOut | NotLocked::Deadlock(_) => Self::WouldBlock,
            NotLocked::TooMany => Self::TooMany,
        }
    }
}

impl<G> From<NotLocked> for LockTimeoutError<G> {
    fn from(reason: NotLocked) -> Self {
        match reason {
            NotLocked::TimedOut => Self::TimedOut,
            NotLocked::Deadlock(deadlock) => Self::Deadlock(deadlock),
            NotLocked::TooMany => Self::TooMany,
        }
    }
}
