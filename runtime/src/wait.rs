//! Waiting for the first of several things.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use crate::error::{Error, Result};
use crate::pipe::{Duplex, Receiver};
use crate::process::{Child, ChildHandle};
use crate::queue::{LOOK_AGAIN, Queue};
use crate::shm::Split;
use crate::sys::poll::{self, Wait};
use crate::wire::Fd;

pub(crate) mod sealed {
    #[allow(unreachable_pub)] // named in the bounds of a public trait
    pub trait Sealed {}
}

/// What [`wait`] can wait for: a child's end, something to receive or to get, or a descriptor of your
/// own that can be read; also behind a reference, a `Box` or an `Arc`.
pub trait Waitable: sealed::Sealed {
    /// The descriptor that is readable when there is nothing more to wait for, or when it is time to
    /// [look](Self::look).
    #[doc(hidden)]
    fn readiness(&self) -> BorrowedFd<'_>;

    /// Whether there is nothing more to wait for, where the descriptor alone does not tell; if not, it
    /// will be readable at a time to look again.
    #[doc(hidden)]
    fn look(&self) -> Option<bool> {
        None
    }

    /// Whether it may become ready without the descriptor's being readable.
    #[doc(hidden)]
    fn is_silent(&self) -> bool {
        false
    }
}

impl<T> sealed::Sealed for Queue<T> {}
impl<T> Waitable for Queue<T> {
    fn readiness(&self) -> BorrowedFd<'_> {
        self.bell()
    }

    fn look(&self) -> Option<bool> {
        Some(self.listen())
    }

    /// That nobody else has it any more is told by nobody.
    fn is_silent(&self) -> bool {
        true
    }
}

impl<T> sealed::Sealed for Receiver<T> {}
impl<T> Waitable for Receiver<T> {
    fn readiness(&self) -> BorrowedFd<'_> {
        self.socket()
    }

    fn look(&self) -> Option<bool> {
        Some(Receiver::look(self))
    }
}

impl<S, R> sealed::Sealed for Duplex<S, R> {}
impl<S, R> Waitable for Duplex<S, R> {
    fn readiness(&self) -> BorrowedFd<'_> {
        self.socket()
    }

    fn look(&self) -> Option<bool> {
        Some(Duplex::look(self))
    }
}

impl<T: AsFd> sealed::Sealed for Fd<T> {}
impl<T: AsFd> Waitable for Fd<T> {
    fn readiness(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

macro_rules! waitable_through {
    ($($pointer:ty;)*) => {$(
        impl<W: Waitable + ?Sized> sealed::Sealed for $pointer {}
        impl<W: Waitable + ?Sized> Waitable for $pointer {
            fn readiness(&self) -> BorrowedFd<'_> {
                W::readiness(self)
            }

            fn look(&self) -> Option<bool> {
                W::look(self)
            }

            fn is_silent(&self) -> bool {
                W::is_silent(self)
            }
        }
    )*};
}

waitable_through! {
    &W;
    Box<W>;
    Arc<W>;
}

macro_rules! waitable {
    ($(<$($generic:ident),*> $type:ty;)*) => {$(
        impl<$($generic),*> sealed::Sealed for $type {}
        impl<$($generic),*> Waitable for $type {
            fn readiness(&self) -> BorrowedFd<'_> {
                self.as_fd()
            }
        }
    )*};
}

waitable! {
    <T> Child<T>;
    <> ChildHandle;
    <T> Split<T>;
    <> BorrowedFd<'_>;
    <> OwnedFd;
    <> std::fs::File;
    <> std::io::PipeReader;
    <> std::net::TcpListener;
    <> std::net::TcpStream;
    <> std::net::UdpSocket;
    <> std::os::unix::net::UnixDatagram;
    <> std::os::unix::net::UnixListener;
    <> std::os::unix::net::UnixStream;
    <> std::process::ChildStdout;
    <> std::process::ChildStderr;
}

/// Waits until at least one of `sources` is ready, and gives the places of those that are, in
/// order. (Of none at all it waits for ever.)
///
/// A child is ready when it has ended; a receiver when there is something to receive, or no sender
/// is left; a [`Job`](crate::Job) when it is done; a [`Queue`] when there is something to get, or it is closed, or nobody else has it. With
/// several that wait for one, another may be quicker to get it. Python's `connection.wait` without a timeout,
/// and `sentinel`.
///
/// # Errors
/// [`Error::Os`] if there are more sources than this process may have descriptors.
///
/// ```
/// use offspring::{Sender, process};
/// use std::time::Duration;
///
/// #[process]
/// fn answer(after_millis: u64, to: Sender<u64>) {
///     std::thread::sleep(Duration::from_millis(after_millis));
///     to.send(after_millis).unwrap();
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (slow, from_slow) = offspring::pipe()?;
/// let (quick, from_quick) = offspring::pipe()?;
/// let child = answer(600_000, slow).spawn()?;
/// answer(1, quick).spawn()?;
///
/// assert_eq!(offspring::wait(&[&child, &from_slow, &from_quick])?, [2]);
/// child.kill()?;
/// assert_eq!(offspring::wait(&[&child])?, [0]);
/// # Ok(())
/// # }
/// ```
///
/// How many there are may turn out as the program runs:
///
/// ```
/// # #[offspring::process]
/// # fn square(x: u64) -> u64 { x * x }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use offspring::Waitable;
///
/// let mut children = (1..=3).map(|n| square(n).spawn()).collect::<Result<Vec<_>, _>>()?;
/// let mut sum = 0;
/// while !children.is_empty() {
///     let sources: Vec<&dyn Waitable> = children.iter().map(|child| child as _).collect();
///     for index in offspring::wait(&sources)?.into_iter().rev() {
///         sum += children.remove(index).join()?;
///     }
/// }
/// assert_eq!(sum, 14);
/// # Ok(())
/// # }
/// ```
pub fn wait(sources: &[&dyn Waitable]) -> Result<Vec<usize>> {
    wait_for(sources, Wait::Forever)
}

/// As [`wait`], for at most `timeout`, by the monotonic clock: gives no place if none is ready then.
/// With [`Duration::ZERO`] it tells which are ready now. Python's `connection.wait(.., timeout)`.
///
/// # Errors
/// As [`wait`].
///
/// ```
/// use std::time::Duration;
///
/// let (to, from) = offspring::pipe()?;
/// assert_eq!(offspring::wait_timeout(&[&from], Duration::from_millis(5))?, []);
/// to.send(1)?;
/// assert_eq!(offspring::wait_timeout(&[&from], Duration::from_secs(60))?, [0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait_timeout(sources: &[&dyn Waitable], timeout: Duration) -> Result<Vec<usize>> {
    wait_for(sources, Wait::at_most(timeout))
}

fn wait_for(sources: &[&dyn Waitable], wait: Wait) -> Result<Vec<usize>> {
    loop {
        let look = || -> Vec<_> { sources.iter().map(|source| source.look()).collect() };
        let before = look();
        let before_any = before.contains(&Some(true));
        let (now, early) = match before_any {
            // The others may be ready as well: all are told.
            true => (Wait::Never, false),
            false if sources.iter().any(|source| source.is_silent()) => {
                wait.no_longer_than(LOOK_AGAIN)
            }
            false => (wait, false),
        };
        let fds = sources.iter().map(|source| source.readiness());
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        poll::poll(&mut fds, now)
            .map_err(|error| Error::os(format!("wait for {} sources", sources.len()), error))?;
        let after = if before.contains(&Some(false)) { look() } else { before };
        let ready: Vec<_> = fds
            .iter()
            .zip(after)
            .enumerate()
            .filter(|(_, (fd, look))| look.unwrap_or_else(|| fd.any().unwrap_or(true)))
            .map(|(index, _)| index)
            .collect();
        // What is readable, and yet not ready, was a bell for others; and where something was there
        // before, another was quicker.
        let rung = fds.iter().any(|fd| fd.any().unwrap_or(true));
        let missed = (early || rung || before_any) && !wait.is_over();
        if !ready.is_empty() || !missed {
            return Ok(ready);
        }
    }
}
