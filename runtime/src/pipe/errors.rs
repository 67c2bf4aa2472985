//! What can go wrong with each operation on a pipe. An error gives back what was to be sent.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::error::{also, asks};
use crate::wire::{DecodeError, EncodeError, SendFailure, foreign};

/// Why something was not sent, before the value is put to it.
#[derive(Debug)]
pub(super) enum SendProblem {
    Disconnected,
    TimedOut,
    Encode(EncodeError),
    Os(io::Error),
}

impl From<SendFailure> for SendProblem {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::Disconnected => Self::Disconnected,
            SendFailure::TimedOut => Self::TimedOut,
            SendFailure::Os(error) => Self::Os(error),
        }
    }
}

/// Why nothing was received.
#[derive(Debug)]
pub(super) enum RecvProblem {
    Disconnected,
    TimedOut,
    Decode(DecodeError),
    DescriptorsLost,
    Os(io::Error),
}

const NO_RECEIVER: &str =
    "no receiver is left: the processes that held one have dropped it or ended";
const NO_SENDER: &str = "no sender is left: the processes that held one have dropped it or ended";
const NO_DESCRIPTORS: &str = "a message is lost, because this process has no room for its descriptors: \
                              raise the limit of open files (`ulimit -n`)";

macro_rules! send_error {
    (
        $(#[$doc:meta])* $name:ident,
        $($(#[$late_doc:meta])* $late:ident, $is_late:ident: $late_text:literal,)?
    ) => {
        $(#[$doc])*
        #[derive(Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $name<T> {
            $($(#[$late_doc])* $late(T),)?
            /// No receiver is left, in any process.
            Disconnected(T),
            /// The value could not be encoded. The pipe is as it was.
            Encode(T, EncodeError),
            /// The system refused, most likely because it is out of descriptors or of memory.
            Os(T, #[serde(with = "foreign::io_error")] io::Error),
        }

        impl<T> $name<T> {
            asks! {
                $($is_late: $late;)?
                is_disconnected: Disconnected;
            }

            /// What was to be sent.
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$late(value) |)?
                    Self::Disconnected(value) | Self::Encode(value, _) | Self::Os(value, _) => value,
                }
            }

            pub(super) fn new(value: T, problem: SendProblem) -> Self {
                match problem {
                    SendProblem::Disconnected => Self::Disconnected(value),
                    SendProblem::Encode(error) => Self::Encode(value, error),
                    SendProblem::Os(error) => Self::Os(value, error),
                    #[allow(unreachable_code, reason = "not for each of these errors")]
                    SendProblem::TimedOut => {
                        $(return Self::$late(value);)?
                        Self::Os(value, io::ErrorKind::TimedOut.into())
                    }
                }
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$late(_) => write!(f, "not sent: {}", $late_text),)?
                    Self::Disconnected(_) => write!(f, "not sent: {NO_RECEIVER}"),
                    Self::Encode(_, error) => write!(f, "not sent: {error}"),
                    Self::Os(_, error) => write!(f, "not sent: {error}"),
                }
            }
        }

        /// Without the value, which need not be `Debug`.
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$late(_) => f.write_str(concat!(stringify!($late), "(..)")),)?
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

send_error! {
    /// Why [`Sender::send`](crate::Sender::send) did not send, with what it was to send.
    SendError,
}
send_error! {
    /// Why [`Sender::try_send`](crate::Sender::try_send) did not send, with what it was to send.
    TrySendError,
    /// The pipe is full.
    Full, is_full: "the pipe is full",
}
send_error! {
    /// Why [`Sender::send_timeout`](crate::Sender::send_timeout) did not send, with what it was to
    /// send.
    SendTimeoutError,
    /// The pipe was full all the time.
    Timeout, is_timeout: "the pipe was full until the time was up",
}

macro_rules! recv_error {
    (
        $(#[$doc:meta])* $name:ident, at the deadline: $timed_out:expr;
        $($(#[$more_doc:meta])* $more:ident $(($of:ty))?, $is_more:ident: $text:literal,)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$more_doc])* $more $(($of))?,)*
            /// Nothing is left to receive, and no sender is left, in any process: the end of the
            /// stream.
            Disconnected,
            /// Something came that is not what was expected. It is gone; the next may be received.
            Decode(DecodeError),
            /// A message came, but this process has no room for the descriptors in it, so the
            /// message is lost. A message of more than 64 KiB has one.
            DescriptorsLost,
            /// The system refused.
            Os(#[serde(with = "foreign::io_error")] io::Error),
        }

        impl $name {
            asks! {
                $($is_more: $more;)*
                is_disconnected: Disconnected;
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$more { .. } => f.write_str($text),)*
                    Self::Disconnected => f.write_str(NO_SENDER),
                    Self::Decode(error) => error.fmt(f),
                    Self::DescriptorsLost => f.write_str(NO_DESCRIPTORS),
                    Self::Os(error) => write!(f, "nothing was received: {error}"),
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

        impl From<RecvProblem> for $name {
            fn from(problem: RecvProblem) -> Self {
                match problem {
                    RecvProblem::Disconnected => Self::Disconnected,
                    RecvProblem::TimedOut => $timed_out,
                    RecvProblem::Decode(error) => Self::Decode(error),
                    RecvProblem::DescriptorsLost => Self::DescriptorsLost,
                    RecvProblem::Os(error) => Self::Os(error),
                }
            }
        }
    };
}

recv_error! {
    /// Why [`Receiver::recv`](crate::Receiver::recv) received nothing.
    RecvError, at the deadline: Self::Os(io::ErrorKind::TimedOut.into());
}
recv_error! {
    /// Why [`Receiver::try_recv`](crate::Receiver::try_recv) received nothing.
    TryRecvError, at the deadline: Self::Empty;
    /// Nothing is there to receive now.
    Empty, is_empty: "the pipe is empty",
}
recv_error! {
    /// Why [`Receiver::recv_timeout`](crate::Receiver::recv_timeout) received nothing.
    RecvTimeoutError, at the deadline: Self::Timeout;
    /// Nothing came in time.
    Timeout, is_timeout: "nothing came until the time was up",
}
recv_error! {
    /// Why [`Receiver::recv_bytes_into`](crate::Receiver::recv_bytes_into) did not fill the buffer.
    RecvIntoError, at the deadline: Self::Os(io::ErrorKind::TimedOut.into());
    /// The message is longer than the buffer. Here it is, whole. Python's `BufferTooShort`.
    TooShort(Vec<u8>), is_too_short: "the buffer is too short for the message",
}

also! {
    SendError[T] { Disconnected(value), Encode(value, error), Os(value, error) }:
        TrySendError SendTimeoutError
}
also! {
    RecvError[] { Disconnected, Decode(error), DescriptorsLost, Os(error) }:
        TryRecvError RecvTimeoutError RecvIntoError
}
