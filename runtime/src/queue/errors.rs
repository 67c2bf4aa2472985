//! What can go wrong with each operation on a queue. An error gives back what was to be put.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use super::core::{GetProblem, PutProblem};
use crate::error::{Error, also, asks};
use crate::wire::{DecodeError, EncodeError, foreign};

const CLOSED: &str = "the queue is closed";
const NOBODY: &str = "nobody else has the queue any more, or all who have it wait as well: the processes \
                      that had it have dropped it or ended";
const NO_DESCRIPTORS: &str = "an item is lost, because this process has no room for its descriptors: \
                              raise the limit of open files (`ulimit -n`)";

/// Why something was not put, before the value is put to it.
pub(super) enum Problem {
    Encode(EncodeError),
    Put(PutProblem),
}

macro_rules! put_error {
    (
        $(#[$doc:meta])* $name:ident,
        $($(#[$late_doc:meta])* $late:ident, $is_late:ident: $late_text:literal,)?
    ) => {
        $(#[$doc])*
        #[derive(Serialize, Deserialize)]
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
            /// The system refused: there is no memory for it, or no descriptors are left.
            Os(T, Error),
        }

        impl<T> $name<T> {
            asks! {
                $($is_late: $late;)?
                is_closed: Closed;
                is_disconnected: Disconnected;
            }

            /// What was to be put.
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$late(value) |)?
                    Self::Closed(value)
                    | Self::Disconnected(value)
                    | Self::Encode(value, _)
                    | Self::Os(value, _) => value,
                }
            }

            pub(super) fn new(value: T, problem: Problem) -> Self {
                match problem {
                    Problem::Encode(error) => Self::Encode(value, error),
                    Problem::Put(PutProblem::Closed) => Self::Closed(value),
                    Problem::Put(PutProblem::Disconnected) => Self::Disconnected(value),
                    Problem::Put(PutProblem::Os(error)) => Self::Os(value, error),
                    #[allow(unreachable_code, reason = "not for each of these errors")]
                    Problem::Put(PutProblem::TimedOut) => {
                        $(return Self::$late(value);)?
                        let deadlock = io::Error::from(io::ErrorKind::Deadlock);
                        Self::Os(value, Error::os("put something into a queue", deadlock))
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
                    Self::Os(_, error) => write!(f, "not put: {error}"),
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
                    Self::Os(_, error) => write!(f, "Os(.., {error:?})"),
                }
            }
        }

        impl<T> std::error::Error for $name<T> {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                match self {
                    Self::Encode(_, error) => error.source(),
                    Self::Os(_, error) => error.source(),
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
    Full, is_full: "the queue is full",
}
put_error! {
    /// Why [`Queue::put_timeout`](crate::Queue::put_timeout) did not put, with what it was to put.
    PutTimeoutError,
    /// The queue was full all the time. Python's `queue.Full`.
    Timeout, is_timeout: "the queue was full until the time was up",
}

macro_rules! get_error {
    (
        $(#[$doc:meta])* $name:ident, at the deadline: $timed_out:expr;
        $($(#[$more_doc:meta])* $more:ident, $is_more:ident: $text:literal,)?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$more_doc])* $more,)?
            /// The queue was [closed](crate::Queue::close), and nothing is left in it.
            Closed,
            /// Nothing is left in the queue, and nobody who could put something into it: others have
            /// dropped it or ended, or wait as well.
            Disconnected,
            /// An item came that is not what was expected. It is gone; the next may be got.
            Decode(DecodeError),
            /// An item came, but this process has no room for the descriptors in it, so the item is
            /// lost. An item of more than a MiB has one.
            DescriptorsLost,
            /// What is in the queue's memory is not what this library puts there. Nothing can be got
            /// out of it any more.
            Corrupt,
            /// The system refused. If it had no room for a large item, that item is gone.
            Os(#[serde(with = "foreign::io_error")] io::Error),
        }

        impl $name {
            asks! {
                $($is_more: $more;)?
                is_closed: Closed;
                is_disconnected: Disconnected;
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$more => f.write_str($text),)?
                    Self::Closed => write!(f, "{CLOSED}, and nothing is left in it"),
                    Self::Disconnected => write!(f, "nothing is left in the queue, and {NOBODY}"),
                    Self::Decode(error) => error.fmt(f),
                    Self::DescriptorsLost => f.write_str(NO_DESCRIPTORS),
                    Self::Corrupt => {
                        f.write_str("the memory of the queue is damaged: somebody has written to it")
                    }
                    Self::Os(error) => write!(f, "nothing was got: {error}"),
                }
            }
        }

        impl std::error::Error for $name {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                match self {
                    Self::Decode(error) => error.source(),
                    Self::Os(error) => error.source(),
                    _ => None,
                }
            }
        }

        impl From<GetProblem> for $name {
            fn from(problem: GetProblem) -> Self {
                match problem {
                    GetProblem::TimedOut => $timed_out,
                    GetProblem::Closed => Self::Closed,
                    GetProblem::Disconnected => Self::Disconnected,
                    GetProblem::Decode(error) => Self::Decode(error),
                    GetProblem::DescriptorsLost => Self::DescriptorsLost,
                    GetProblem::Corrupt => Self::Corrupt,
                    GetProblem::Os(error) => Self::Os(error),
                }
            }
        }
    };
}

get_error! {
    /// Why [`Queue::get`](crate::Queue::get) got nothing.
    GetError, at the deadline: Self::Os(io::ErrorKind::Deadlock.into());
}
get_error! {
    /// Why [`Queue::try_get`](crate::Queue::try_get) got nothing.
    TryGetError, at the deadline: Self::Empty;
    /// Nothing is in the queue now. Python's `queue.Empty`.
    Empty, is_empty: "the queue is empty",
}
get_error! {
    /// Why [`Queue::get_timeout`](crate::Queue::get_timeout) got nothing.
    GetTimeoutError, at the deadline: Self::Timeout;
    /// Nothing came in time. Python's `queue.Empty`.
    Timeout, is_timeout: "nothing was put until the time was up",
}

also! {
    PutError[T] { Closed(value), Disconnected(value), Encode(value, error), Os(value, error) }:
        TryPutError PutTimeoutError
}
also! {
    GetError[] { Closed, Disconnected, Decode(error), DescriptorsLost, Corrupt, Os(error) }:
        TryGetError GetTimeoutError
}

/// [`Queue::task_done`](crate::Queue::task_done) was called once more than there were items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("`task_done` was called more often than items were put into the queue")]
pub struct TooManyDone;

/// Why [`Queue::join`](crate::Queue::join) did not see all items done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum QueueJoinError {
    /// Not in time.
    #[error("not all items of the queue were done until the time was up")]
    Timeout,
    /// Some items are not done, and nobody is left who could do them.
    #[error("not all items of the queue are done, and {NOBODY}")]
    Disconnected,
}

impl QueueJoinError {
    asks! {
        is_timeout: Timeout;
        is_disconnected: Disconnected;
    }
}
