//! What can go wrong with each operation on a queue. An error gives back what was to be put.

use std::{fmt, io};

use super::core::{GetProblem, PutProblem};
use crate::error::Error;
use crate::wire::{DecodeError, EncodeError};

const CLOSED: &str = "the queue is closed";
const NOBODY: &str = "nobody else has the queue any more, or all who have it wait as well: the processes \
                      that had it have dropped it or ended";

/// Why something was not put, before the value is put to it.
pub(super) enum Problem {
    Encode(EncodeError),
    Put(PutProblem),
}

macro_rules! put_error {
    (
        $(#[$doc:meta])* $name:ident,
        $($(#[$late_doc:meta])* $late:ident: $late_text:literal,)?
    ) => {
        $(#[$doc])*
        #[non_exhaustive]
        pub enum $name<T> {
            $($(#[$late_doc])* $late(T),)?
            /// The queue was [closed](crate::Queue::close). Python's `ShutDown`, or its `ValueError`.
            Closed(T),
            /// The queue is full, and nobody is left who could get something out of it: others have
            /// dropped it or ended, or wait as well.
            Disconnected(T),
            /// The value could not be encoded. The queue is as it was.
            Encode(T, EncodeError),
            /// There is no memory for it, or the system is out of descriptors.
            Refused(T, Error),
        }

        impl<T> $name<T> {
            /// What was to be put.
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$late(value) |)?
                    Self::Closed(value)
                    | Self::Disconnected(value)
                    | Self::Encode(value, _)
                    | Self::Refused(value, _) => value,
                }
            }

            pub(super) fn new(value: T, problem: Problem) -> Self {
                match problem {
                    Problem::Encode(error) => Self::Encode(value, error),
                    Problem::Put(PutProblem::Closed) => Self::Closed(value),
                    Problem::Put(PutProblem::Disconnected) => Self::Disconnected(value),
                    Problem::Put(PutProblem::Refused(error)) => Self::Refused(value, error),
                    #[allow(unreachable_code, reason = "not for each of these errors")]
                    Problem::Put(PutProblem::TimedOut) => {
                        $(return Self::$late(value);)?
                        let deadlock = io::Error::from(io::ErrorKind::Deadlock);
                        Self::Refused(value, Error::os("put something into a queue", deadlock))
                    }
                }
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$late(_) => write!(f, "not put: {}", $late_text),)?
                    Self::Closed(_) => write!(f, "not put: {CLOSED}"),
                    Self::Disconnected(_) => write!(f, "not put: the queue is full, and {NOBODY}"),
                    Self::Encode(_, error) => write!(f, "not put: {error}"),
                    Self::Refused(_, error) => write!(f, "not put: {error}"),
                }
            }
        }

        /// Without the value, which need not be `Debug`.
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$late(_) => f.write_str(concat!(stringify!($late), "(..)")),)?
                    Self::Closed(_) => f.write_str("Closed(..)"),
                    Self::Disconnected(_) => f.write_str("Disconnected(..)"),
                    Self::Encode(_, error) => write!(f, "Encode(.., {error:?})"),
                    Self::Refused(_, error) => write!(f, "Refused(.., {error:?})"),
                }
            }
        }

        impl<T> std::error::Error for $name<T> {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                match self {
                    Self::Encode(_, error) => Some(error),
                    Self::Refused(_, error) => Some(error),
                    _ => None,
                }
            }
        }
    };
}

put_error! {
    /// Why [`Queue::put`](crate::Queue::put) did not put, with what it was to put.
    PutError,
}
put_error! {
    /// Why [`Queue::try_put`](crate::Queue::try_put) did not put, with what it was to put.
    TryPutError,
    /// The queue is full. Python's `queue.Full`.
    Full: "the queue is full",
}
put_error! {
    /// Why [`Queue::put_timeout`](crate::Queue::put_timeout) did not put, with what it was to put.
    PutTimeoutError,
    /// The queue was full all the time. Python's `queue.Full`.
    Timeout: "the queue was full until the time was up",
}

macro_rules! get_error {
    (
        $(#[$doc:meta])* $name:ident, at the deadline: $timed_out:expr;
        $($(#[$more_doc:meta])* $more:ident: $text:literal,)?
    ) => {
        $(#[$doc])*
        #[derive(Debug, thiserror::Error)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$more_doc])* #[error($text)] $more,)?
            /// The queue was [closed](crate::Queue::close), and nothing is left in it.
            #[error("{CLOSED}, and nothing is left in it")]
            Closed,
            /// Nothing is left in the queue, and nobody who could put something into it: others have
            /// dropped it or ended, or wait as well.
            #[error("nothing is left in the queue, and {NOBODY}")]
            Disconnected,
            /// An item came that is not what was expected. It is gone; the next may be got.
            #[error("{0}")]
            Decode(#[source] DecodeError),
            /// An item came, but this process has no room for the descriptors in it, so the item is
            /// lost. An item of more than a MiB has one.
            #[error(
                "an item is lost, because this process has no room for its descriptors: raise the \
                 limit of open files (`ulimit -n`)"
            )]
            DescriptorsLost,
            /// What is in the queue's memory is not what this library puts there. Nothing can be got
            /// out of it any more.
            #[error("the memory of the queue is damaged: somebody has written to it")]
            Corrupt,
            /// The system refused. If it had no room for a large item, that item is gone.
            #[error("nothing was got: {0}")]
            Os(#[source] io::Error),
        }

        impl From<GetProblem> for $name {
            fn from(problem: GetProblem) -> Self {
                match problem {
                    GetProblem::TimedOut => $timed_out,
                    GetProblem::Closed => Self::Closed,
                    GetProblem::Disconnected => Self::Disconnected,
                    GetProblem::DescriptorsLost => Self::DescriptorsLost,
                    GetProblem::Corrupt => Self::Corrupt,
                    GetProblem::Os(error) => Self::Os(error),
                }
            }
        }

        impl From<DecodeError> for $name {
            fn from(error: DecodeError) -> Self {
                Self::Decode(error)
            }
        }
    };
}

impl From<TryGetError> for GetError {
    fn from(error: TryGetError) -> Self {
        match error {
            TryGetError::Empty => Self::Os(io::ErrorKind::WouldBlock.into()),
            TryGetError::Closed => Self::Closed,
            TryGetError::Disconnected => Self::Disconnected,
            TryGetError::Decode(error) => Self::Decode(error),
            TryGetError::DescriptorsLost => Self::DescriptorsLost,
            TryGetError::Corrupt => Self::Corrupt,
            TryGetError::Os(error) => Self::Os(error),
        }
    }
}

get_error! {
    /// Why [`Queue::get`](crate::Queue::get) got nothing.
    GetError, at the deadline: Self::Os(io::ErrorKind::Deadlock.into());
}
get_error! {
    /// Why [`Queue::try_get`](crate::Queue::try_get) got nothing.
    TryGetError, at the deadline: Self::Empty;
    /// Nothing is in the queue now. Python's `queue.Empty`.
    Empty: "the queue is empty",
}
get_error! {
    /// Why [`Queue::get_timeout`](crate::Queue::get_timeout) got nothing.
    GetTimeoutError, at the deadline: Self::Timeout;
    /// Nothing came in time. Python's `queue.Empty`.
    Timeout: "nothing was put until the time was up",
}

/// Why [`Queue::put_many`](crate::Queue::put_many) did not put all, with what it did not put.
pub struct PutManyError<T> {
    put: usize,
    error: Box<PutError<T>>,
    rest: Vec<T>,
}

impl<T> PutManyError<T> {
    pub(super) fn new(put: usize, error: PutError<T>, rest: Vec<T>) -> Self {
        Self { put, error: Box::new(error), rest }
    }

    /// How many are in the queue.
    pub fn put(&self) -> usize {
        self.put
    }

    /// Why the first of the rest is not.
    pub fn error(&self) -> &PutError<T> {
        &self.error
    }

    /// What was taken and is not in the queue, in order, beginning with the one that failed.
    pub fn into_inner(self) -> Vec<T> {
        let mut rest = self.rest;
        rest.insert(0, self.error.into_inner());
        rest
    }
}

impl<T> fmt::Display for PutManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { put, error, rest } = self;
        write!(f, "{put} items put, and {} {error}", 1 + rest.len())
    }
}

impl<T> fmt::Debug for PutManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutManyError({self})")
    }
}

impl<T> std::error::Error for PutManyError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Why [`Queue::get_many`](crate::Queue::get_many) failed, with what it got before.
///
/// With another `E` it is that of [`try_get_many`](crate::Queue::try_get_many) and
/// [`get_many_timeout`](crate::Queue::get_many_timeout).
#[derive(thiserror::Error)]
#[error("{error}, after {} items", .items.len())]
pub struct GetManyError<T, E = GetError> {
    items: Vec<T>,
    #[source]
    error: E,
}

impl<T, E> GetManyError<T, E> {
    pub(super) fn new(items: Vec<T>, error: E) -> Self {
        Self { items, error }
    }

    /// What went wrong.
    pub fn error(&self) -> &E {
        &self.error
    }

    /// What was got before that.
    pub fn into_inner(self) -> Vec<T> {
        self.items
    }
}

impl<T, E: fmt::Display> fmt::Debug for GetManyError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GetManyError({self})")
    }
}

/// [`Queue::task_done`](crate::Queue::task_done) was called once more than there were items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`task_done` was called more often than items were put into the queue")]
pub struct TooManyDone;

/// Why [`Queue::join`](crate::Queue::join) did not see all items done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueJoinError {
    /// Not in time.
    #[error("not all items of the queue were done until the time was up")]
    Timeout,
    /// Some items are not done, and nobody is left who could do them.
    #[error("not all items of the queue are done, and {NOBODY}")]
    Disconnected,
}
