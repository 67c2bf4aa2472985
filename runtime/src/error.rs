//! What can fail in starting and watching processes, and in making what they share: pipes, memory,
//! locks.

use std::borrow::Cow;
use std::io;
use std::process::ExitStatus;

use serde::{Deserialize, Serialize};

use crate::wire::{EncodeError, foreign};

/// The result of starting or watching a process, or of making a pipe, shared memory or a lock.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a process could not be started, signalled or waited for, or why a pipe, shared memory or a lock
/// could not be made.
///
/// Unless a variant says otherwise, nothing was started or made, and trying again is safe.
/// What became of work that did start is told by [`JoinError`](crate::JoinError); why a lock was not
/// taken, by the errors of [`sync`](crate::sync). In Python, `OSError`, `PicklingError` or
/// `RuntimeError`.
///
/// It becomes an [`io::Error`] by `?`, as std's own errors of starting do, and it serialises, so that a
/// child can return it. Its text is whole, the system's answer included, as that of every error of this
/// crate; so [`source`](std::error::Error::source) does not say that again.
///
/// ```
/// use offspring::{Error, shm::SharedMut};
///
/// match SharedMut::<u8>::zeroed(1 << 60) {
///     Err(Error::SharedMemory { len, .. } | Error::TooLarge { len, .. }) => {
///         println!("{len} bytes are too many: in pieces, then");
///     }
///     other => panic!("{other:?}"),
/// }
/// ```
// (To `thiserror`, a field `r#source` is none that `source()` gives: the text has told it.)
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Error {
    /// The arguments could not be encoded. Nothing was started.
    #[error("process '{process}' was not started: {source}")]
    #[non_exhaustive]
    Encode {
        /// The name the process would have had.
        process: String,
        /// What was wrong with which type.
        r#source: EncodeError,
    },

    /// The system refused something.
    #[error("could not {action}: {source}")]
    #[non_exhaustive]
    Os {
        /// What was tried, in words that follow "could not".
        action: String,
        /// The system's answer.
        #[serde(with = "foreign::io_error")]
        r#source: io::Error,
    },

    /// The new process ended before it answered: something killed it, or an initialiser of the
    /// program (code that runs before `main`) ended it.
    #[error(
        "process '{process}' (pid {pid}) ended before it began its work ({}): was it killed, \
         or does something that runs before `main` end the program?",
        describe(*.status)
    )]
    #[non_exhaustive]
    DiedAtStart {
        /// The name it would have had; `fork server`, if it was that.
        process: String,
        /// Its process number.
        pid: u32,
        /// How it ended, where that is known.
        #[serde(with = "foreign::optional_exit_status")]
        status: Option<ExitStatus>,
    },

    /// The program that was executed is another build than this one: its file was replaced, and
    /// without `/proc` the running one cannot be found. Restart the program.
    #[error(
        "the program's file holds another build than the one that is running, and without /proc \
         the running one cannot be executed again: restart the program"
    )]
    OtherBuild,

    /// Two processes of the program have one name and stand in one place (a macro has written both),
    /// so that neither can be told from the other.
    #[error("two processes are named `{name}`, at {first} and at {second}: rename one")]
    #[non_exhaustive]
    Duplicate {
        /// The name, with its module path.
        name: Cow<'static, str>,
        /// Where the one was declared.
        first: String,
        /// Where the other was declared.
        second: String,
    },

    /// This crate is part of a shared object (a plugin, an extension module), so executing the
    /// program again would run a program that knows nothing of it.
    ///
    /// So it is with a program that was started through the loader (`ld.so ./program`).
    ///
    /// A static program that is not position-independent says the same, since its initialisers
    /// cannot be found: build it without `-C relocation-model=static`, or with the feature
    /// `manual-init`.
    #[error(
        "processes can be started only by a program that offspring is linked into, \
         not by a shared object that another program has loaded"
    )]
    NotTheProgram,

    /// A process was to be started before `main`, by an initialiser or a constructor; in a child
    /// that would start another, and so on without end. Start it from `main`.
    #[error("no process can be started before `main`: move this call there")]
    BeforeMain,

    /// The program was built so that nothing runs before `main`, and has not called
    /// [`init`](crate::init).
    #[error("call `offspring::init()` at the start of `main`: this build runs nothing before it")]
    NotInitialized,

    /// The program runs with more rights than the user who started it (set-user-ID, file
    /// capabilities), and such a program must not be executed again on somebody's request.
    #[error(
        "a program that runs with raised privileges (set-user-ID or file capabilities) \
         cannot start processes by executing itself: use `StartMethod::Fork`"
    )]
    RaisedPrivileges,

    /// [`StartMethod::Fork`](crate::StartMethod::Fork) was asked for while this process has other
    /// threads: what they hold locked would stay locked in the child for ever.
    #[error(
        "this process has other threads, so a fork of it could deadlock: \
         use `StartMethod::ForkServer` or `StartMethod::Spawn`"
    )]
    Multithreaded,

    /// Something that runs before `main` starts a thread, so that no fork server can be had.
    #[error(
        "something in this program starts a thread before `main`, so its fork server could \
         deadlock: use `StartMethod::Spawn`"
    )]
    ServerMultithreaded,

    /// A name, a variable or a path that the system cannot take, because it holds a zero byte or
    /// (a variable's name) is empty or holds a `=`.
    #[error("{what} cannot be passed to a process: {text:?}")]
    #[non_exhaustive]
    Unusable {
        /// What it is.
        what: Cow<'static, str>,
        /// The text itself.
        text: String,
    },

    /// There is no room for so much shared memory: the machine, the cgroup or the limit of file
    /// sizes (`ulimit -f`) has less left. Nothing was allocated.
    #[error(
        "could not make {len} bytes of shared memory: {source}: ask for less, or raise what the \
         machine, the cgroup or `ulimit -f` allows"
    )]
    #[non_exhaustive]
    SharedMemory {
        /// How many bytes were asked for.
        len: usize,
        /// The system's answer.
        #[serde(with = "foreign::io_error")]
        r#source: io::Error,
    },

    /// So many elements are more than any memory holds, or more than this kind of object can have.
    #[error("{len} are too many for {what}: the most is {max}")]
    #[non_exhaustive]
    TooLarge {
        /// What was to be made.
        what: Cow<'static, str>,
        /// How many were asked for.
        len: usize,
        /// How many it can have.
        max: usize,
    },

    /// This kernel or C library does not keep track of the locks that a thread holds (robust
    /// futexes), so nobody could be told of a holder's death.
    #[error(
        "this system keeps no lists of held locks (`get_robust_list`), so a lock whose holder dies \
         would be held for ever: offspring's locks cannot be used on it"
    )]
    NoRobustLocks,

    /// The process has ended, but another part of this program has collected its exit status (by
    /// `waitpid(-1)`, or by ignoring SIGCHLD), and this kernel keeps no copy.
    #[error(
        "process '{process}' (pid {pid}) has ended, but something else in this program took its \
         exit status: look for `waitpid(-1)` or an ignored SIGCHLD"
    )]
    #[non_exhaustive]
    StatusLost {
        /// The process's name.
        process: String,
        /// Its process number.
        pid: u32,
    },
}

impl Error {
    /// The system refused to `action` (words that follow "could not").
    pub(crate) fn os(action: impl Into<String>, error: impl Into<io::Error>) -> Self {
        Self::Os { action: action.into(), source: error.into() }
    }

    /// The system refused so much shared memory.
    pub(crate) fn shared_memory(len: usize, error: nix::Error) -> Self {
        match error {
            nix::Error::ENOMEM | nix::Error::ENOSPC | nix::Error::EFBIG => {
                Self::SharedMemory { len, source: error.into() }
            }
            other => Self::os("make shared memory", other),
        }
    }

    /// The system's error code, if it was the system that refused.
    ///
    /// Of use for telling what may pass (`EAGAIN`, `EMFILE`, `ENOMEM`) from what will not.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Os { source, .. } | Self::SharedMemory { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// The error stays what it is, within: [`io::Error::get_ref`] gives it.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Os { source, .. } | Error::SharedMemory { source, .. } => source.kind(),
            Error::Encode { .. } | Error::Unusable { .. } | Error::TooLarge { .. } => {
                io::ErrorKind::InvalidInput
            }
            Error::RaisedPrivileges => io::ErrorKind::PermissionDenied,
            Error::NotTheProgram | Error::NoRobustLocks => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "how is not known".into(), |status| status.to_string())
}

/// What can go wrong with an operation that waits, can go wrong with its sisters, too: so its error becomes
/// theirs by `?`.
macro_rules! also {
    ($from:ident $of:tt $variants:tt: $($to:ident)*) => {
        $($crate::error::also!(@ $from $of $variants $to);)*
    };
    (@ $from:ident [$($value:ident)?] { $($variant:ident $(($($part:ident),+))?),* } $to:ident) => {
        impl<$($value)?> From<$from<$($value)?>> for $to<$($value)?> {
            fn from(error: $from<$($value)?>) -> Self {
                match error {
                    $($from::$variant $(($($part),+))? => Self::$variant $(($($part),+))?,)*
                }
            }
        }
    };
}
pub(crate) use also;

/// What is asked of an error where it is a normal thing: whether it is this variant.
macro_rules! asks {
    ($($method:ident: $variant:ident;)*) => {$(
        #[doc = concat!("Whether it is [`", stringify!($variant), "`](Self::", stringify!($variant), ").")]
        pub fn $method(&self) -> bool {
            matches!(self, Self::$variant { .. })
        }
    )*};
}
pub(crate) use asks;
