//! Waiting for descriptors to become ready, until a deadline on the monotonic clock.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

/// How long an operation may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all.
    Never,
    /// Until this moment.
    Until(Instant),
    /// For as long as it takes.
    Forever,
}

impl Wait {
    /// At most this long from now; a time too far away to name is for ever.
    pub(crate) fn at_most(timeout: Duration) -> Self {
        if timeout.is_zero() {
            return Self::Never;
        }
        Instant::now().checked_add(timeout).map_or(Self::Forever, Self::Until)
    }

    /// This, but for no longer than so much from now; and whether that is less.
    pub(crate) fn no_longer_than(self, limit: Duration) -> (Self, bool) {
        match (self, Self::at_most(limit)) {
            (Self::Forever, limit) => (limit, true),
            (Self::Until(deadline), Self::Until(limit)) if limit < deadline => {
                (Self::Until(limit), true)
            }
            (wait, _) => (wait, false),
        }
    }

    /// Whether there is no time left.
    pub(crate) fn is_over(self) -> bool {
        self.remaining().is_some_and(|left| left.is_zero())
    }

    fn remaining(self) -> Option<Duration> {
        match self {
            Self::Never => Some(Duration::ZERO),
            Self::Until(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
            Self::Forever => None,
        }
    }
}

/// Waits until one of `fds` is ready, and says how many are; 0 when the time is up.
///
/// Interrupted by a signal it goes on waiting, for what is left of the time.
pub(crate) fn poll(fds: &mut [PollFd<'_>], wait: Wait) -> nix::Result<usize> {
    loop {
        match ppoll(fds, wait.remaining().map(TimeSpec::from_duration), None) {
            Ok(ready) => return Ok(ready.cast_unsigned() as usize),
            Err(Errno::EINTR) => {}
            Err(other) => return Err(other),
        }
    }
}

/// Waits until `fd` can be read, has ended, or has failed. False when the time is up.
pub(crate) fn readable(fd: BorrowedFd<'_>, wait: Wait) -> nix::Result<bool> {
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], wait).map(|ready| ready > 0)
}

/// Waits until `fd` can be written or has failed. False when the time is up.
pub(crate) fn writable(fd: BorrowedFd<'_>, wait: Wait) -> nix::Result<bool> {
    poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], wait).map(|ready| ready > 0)
}
