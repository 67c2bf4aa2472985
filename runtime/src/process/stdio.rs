//! A child's standard streams.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Stderr, Stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::sys::fd;

/// What one of a child's standard streams leads to: for [`Builder`](crate::Builder).
///
/// As `std::process::Stdio`, which cannot be used here because it does not tell what it holds.
/// It can be made from what std's can: a `File`, one end of a [`std::io::pipe`], another child's stream,
/// any [`OwnedFd`]; and from [`Stdout`] and [`Stderr`], for a child whose one goes where this process's
/// other one does. Unlike std's it can be used for any number of processes.
///
/// ```
/// use offspring::{Builder, Stdio, process};
/// use std::io::{Read, Seek, SeekFrom};
///
/// #[process]
/// fn report() {
///     println!("all is well");
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::temp_dir().join(format!("offspring-{}", std::process::id()));
/// let log = std::fs::File::options().read(true).write(true).create_new(true).open(&path)?;
/// # std::fs::remove_file(&path)?;
/// Builder::new().stdout(log.try_clone()?).spawn(report())?.join()?;
///
/// let mut text = String::new();
/// (&log).seek(SeekFrom::Start(0))?;
/// (&log).read_to_string(&mut text)?;
/// assert_eq!(text, "all is well\n");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Stdio(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Inherit,
    /// What this process has as its stream of that number.
    Standard(i32),
    Null,
    Piped,
    Given(Arc<OwnedFd>),
}

impl Stdio {
    /// What this process has: the default. If it has none, it is [`null`](Self::null).
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// Nothing to read, and nowhere to write: `/dev/null`.
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// A pipe, the other end of which is in the [`Child`](crate::Child).
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }
}

impl Default for Stdio {
    fn default() -> Self {
        Self::inherit()
    }
}

// Each by itself, as std has them: what owned a descriptor in general would leave no room for others.
macro_rules! from_owners {
    ($($owner:ty),*) => {$(
        impl From<$owner> for Stdio {
            fn from(owner: $owner) -> Self {
                Self(Kind::Given(Arc::new(owner.into())))
            }
        }
    )*};
}

from_owners!(OwnedFd, File, PipeReader, PipeWriter, ChildStdin, ChildStdout, ChildStderr);

/// Where this process's standard output goes at the time of the start: for a child's standard error, as
/// the shell's `2>&1`.
impl From<Stdout> for Stdio {
    fn from(_: Stdout) -> Self {
        Self(Kind::Standard(1))
    }
}

/// Where this process's standard error goes at the time of the start.
impl From<Stderr> for Stdio {
    fn from(_: Stderr) -> Self {
        Self(Kind::Standard(2))
    }
}

/// Which way data flows in a stream of the child's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    In,
    Out,
}

/// The two ends of a stream.
#[derive(Debug)]
pub(super) struct Stream {
    childs: Option<ChildsEnd>,
    /// This process's end, of a piped stream.
    pub(super) ours: Option<OwnedFd>,
}

#[derive(Debug)]
enum ChildsEnd {
    Inherited(BorrowedFd<'static>),
    Given(Arc<OwnedFd>),
    Made(OwnedFd),
}

impl Stream {
    /// Opens stream `number` of a new child.
    pub(super) fn open(stdio: &Stdio, number: i32) -> Result<Self> {
        let flow = if number == 0 { Flow::In } else { Flow::Out };
        let (childs, ours) = match &stdio.0 {
            Kind::Inherit => (fd::standard(number).map(ChildsEnd::Inherited), None),
            Kind::Standard(other) => (fd::standard(*other).map(ChildsEnd::Inherited), None),
            Kind::Null => (None, None), // the child opens it
            Kind::Given(fd) => (Some(ChildsEnd::Given(Arc::clone(fd))), None),
            Kind::Piped => {
                let failed = |error| Error::os("make a pipe for a standard stream", error);
                let (reader, writer) = std::io::pipe().map_err(failed)?;
                let lift = |end| fd::above_stdio(end).map_err(|error| failed(error.into()));
                let (reader, writer) = (lift(reader.into())?, lift(writer.into())?);
                let (childs, ours) =
                    if flow == Flow::In { (reader, writer) } else { (writer, reader) };
                (Some(ChildsEnd::Made(childs)), Some(ours))
            }
        };
        Ok(Self { childs, ours })
    }

    /// The descriptors that were made for this stream: no other process may hold them.
    pub(super) fn made(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let childs = match &self.childs {
            Some(ChildsEnd::Made(fd)) => Some(fd),
            _ => None,
        };
        childs.into_iter().chain(&self.ours).map(AsFd::as_fd)
    }

    pub(super) fn childs(&self) -> Option<BorrowedFd<'_>> {
        self.childs.as_ref().map(|end| match end {
            ChildsEnd::Inherited(fd) => *fd,
            ChildsEnd::Given(fd) => fd.as_fd(),
            ChildsEnd::Made(fd) => fd.as_fd(),
        })
    }
}
