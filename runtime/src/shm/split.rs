//! Splitting an array in parts, and getting the whole back.

use std::fmt;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::exclusive::{Lease, SharedMut};
use super::shareable::Shareable;
use crate::error::{Error, Result};
use crate::sys::lifeline;
use crate::sys::poll::{self, Wait};
use crate::wire::endpoint::Endpoint;

impl<T: Shareable> SharedMut<T> {
    /// Makes `n` parts, in order, of which none has more than one element more than another; so
    /// some may be empty. The second value is for getting the whole back.
    ///
    /// # Errors
    /// [`SplitError`], with the array, if there is no descriptor left: a split needs two.
    ///
    /// # Panics
    /// If `n` is 0; otherwise as [`as_mut_slice`](Self::as_mut_slice).
    ///
    /// ```
    /// use offspring::shm::SharedMut;
    ///
    /// let (parts, whole) = SharedMut::try_from_iter(0..10)?.split(3)?;
    /// assert_eq!(parts.iter().map(SharedMut::len).collect::<Vec<_>>(), [4, 3, 3]);
    /// drop(parts);
    /// assert_eq!(whole.join().len(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn split(self, n: usize) -> Result<(Vec<Self>, Split<T>), SplitError<T>> {
        assert!(n > 0, "an array cannot be split into 0 parts");
        let (each, more) = (self.len() / n, self.len() % n);
        let mut from = self.range.start;
        let ranges = (0..n).map(|index| {
            let range = from..from + each + usize::from(index < more);
            from = range.end;
            range
        });
        let ranges = ranges.collect();
        self.part(ranges)
    }

    /// Makes parts of `len` elements, in order; the last has what is left. The second value is for
    /// getting the whole back.
    ///
    /// # Errors
    /// As [`split`](Self::split).
    ///
    /// # Panics
    /// If `len` is 0; otherwise as [`as_mut_slice`](Self::as_mut_slice).
    ///
    /// ```
    /// use offspring::shm::SharedMut;
    ///
    /// let (mut parts, whole) = SharedMut::try_from_iter(0..10)?.chunks(4)?;
    /// assert_eq!(parts.len(), 3);
    /// assert_eq!(parts[2].as_mut_slice(), [8, 9]);
    /// drop(parts);
    /// assert_eq!(whole.join().len(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn chunks(self, len: usize) -> Result<(Vec<Self>, Split<T>), SplitError<T>> {
        assert!(len > 0, "an array cannot be split into parts of 0 elements");
        let end = self.range.end;
        let ranges = self
            .range
            .clone()
            .step_by(len)
            .map(|from| from..from.saturating_add(len).min(end))
            .collect();
        self.part(ranges)
    }

    #[track_caller]
    fn part(self, ranges: Vec<Range<usize>>) -> Result<(Vec<Self>, Split<T>), SplitError<T>> {
        self.check();
        let (lease, returned) = match lifeline::pair() {
            Ok(pair) => pair,
            Err(error) => {
                let source = Error::os("make a pipe for the parts of an array", error);
                return Err(SplitError { array: Box::new(self), source });
            }
        };
        let lease = Lease::new(lease);
        let parts = ranges.into_iter().map(|range| Self {
            object: self.object.clone(),
            range,
            leases: self.leases.iter().chain([&lease]).cloned().collect(),
            gone: Arc::default(),
            copy: self.copy,
            populated: self.populated,
        });
        let parts = parts.collect();
        Ok((parts, Split { whole: self, returned: Endpoint::new(returned) }))
    }
}

/// An array that was split: see [`SharedMut::split`]. Python has none.
///
/// Dropped, it gives up the array; the parts live on.
#[must_use = "the array is lost without it"]
pub struct Split<T> {
    whole: SharedMut<T>,
    returned: Endpoint,
}

impl<T> Split<T> {
    /// Waits until nobody has a part any more, and gives the whole back.
    ///
    /// A part is given back by being dropped, wherever it is: in the process that has finished its
    /// work with it, or in this one if it came back as a result. So drop what this process has of
    /// them first, [join](crate::Child::join) the children that return theirs, and receive or drop what
    /// is in a pipe, or this waits for ever. Processes that have died have none.
    ///
    /// # Panics
    /// If the system cannot wait, for want of memory. In a forked copy of the process that has it.
    #[track_caller]
    pub fn join(self) -> SharedMut<T> {
        match self.wait(Wait::Forever) {
            Ok(whole) => whole,
            Err(_) => unreachable!("it waits for as long as it takes"),
        }
    }

    /// As [`join`](Self::join), for at most `timeout`, by the monotonic clock.
    ///
    /// # Errors
    /// This value again, if somebody has a part still.
    ///
    /// # Panics
    /// As [`join`](Self::join).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::shm::SharedMut;
    ///
    /// let (parts, whole) = SharedMut::<u8>::zeroed(10)?.split(2)?;
    /// let whole = whole.join_timeout(Duration::from_millis(10)).unwrap_err();
    /// drop(parts);
    /// assert_eq!(whole.join().len(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn join_timeout(self, timeout: Duration) -> Result<SharedMut<T>, Self> {
        self.wait(Wait::at_most(timeout))
    }

    #[track_caller]
    fn wait(self, wait: Wait) -> Result<SharedMut<T>, Self> {
        self.whole.check();
        // A pipe that nobody can write to any more can be read: there is the end.
        let free = poll::readable(self.returned.as_fd(), wait).expect("the system can wait");
        if free { Ok(self.whole) } else { Err(self) }
    }
}

/// Readable when nobody has a part any more.
impl<T> AsFd for Split<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.returned.as_fd()
    }
}

impl<T> fmt::Debug for Split<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Split").field("whole", &self.whole).finish_non_exhaustive()
    }
}

/// An array could not be split. It is in here.
///
/// Python has none.
///
/// ```
/// use offspring::shm::SharedMut;
///
/// fn in_two(array: SharedMut<u8>) -> Vec<SharedMut<u8>> {
///     match array.split(2) {
///         Ok((parts, _)) => parts,
///         Err(error) => vec![error.into_inner()], // in one, then
///     }
/// }
///
/// assert_eq!(in_two(SharedMut::zeroed(10)?).len(), 2);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(thiserror::Error)]
#[error("the array could not be split: {source}")]
pub struct SplitError<T> {
    array: Box<SharedMut<T>>,
    r#source: Error,
}

impl<T> SplitError<T> {
    /// The array.
    pub fn into_inner(self) -> SharedMut<T> {
        *self.array
    }
}

impl<T> fmt::Debug for SplitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SplitError({self})")
    }
}
