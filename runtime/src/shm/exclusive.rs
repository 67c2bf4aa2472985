//! Values that one process at a time can write, in parts.
//!
//! A part is in one process only. Sending it takes it from the sender ([`wire::serialize_move`]),
//! and whoever has a part holds the writing end of a pipe, its *lease*. When all writing ends are
//! closed, by dropping the parts or by the death of who had them, nobody can have a part any more,
//! and who has split the whole can have it back.
//!
//! Reading a part needs `&mut`, too: while a reference into it lives, it can then not be sent.

#![allow(unsafe_code)]

use std::fmt;
use std::iter;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::object::{Kind, Object};
use super::shareable::{Shareable, Zeroable};
use super::slice::SharedSlice;
use crate::error::{Error, Result};
use crate::sys::poll::{self, Wait};
use crate::sys::{copies, lifeline};
use crate::wire::endpoint::Endpoint;
use crate::wire::{self, Handle};

/// A part of at least so many bytes has its pages mapped all at once, when it is first used.
const POPULATED: usize = 256 << 10;

/// There is nothing beside the values.
#[derive(Debug)]
pub(super) struct Exclusive;

impl Kind for Exclusive {
    const NAME: &'static str = "SharedMut";
    type Tail = ();
}

/// The writing end of a pipe that is open for as long as somebody has a part.
#[derive(Debug, Clone)]
struct Lease(Arc<Endpoint>);

/// Values in shared memory that are written in place, without a lock: by one process, or by several,
/// each of which has its own part.
///
/// It is exclusive, like a `Box<[T]>`: it cannot be cloned, and sending it to another process moves
/// it there. [`split`](Self::split) and [`chunks`](Self::chunks) make parts of it, which are moved
/// into children, and [`Split::join`] makes the parts one again. In Python, `SharedMemory` with an
/// array on it, or `RawArray`, where nobody sees to it that the parts do not overlap.
///
/// # When a process dies
/// What it has written is there, as far as it has come. Its part is free again, and
/// [`Split::join`] does not wait for it any longer. Whether it has done its work tells its
/// [`join`](crate::Child::join).
///
/// ```
/// use offspring::{process, shm::SharedMut};
///
/// #[process]
/// fn square(mut numbers: SharedMut<u64>) {
///     for number in numbers.as_mut_slice() {
///         *number *= *number;
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (parts, whole) = SharedMut::from_iter(0..1000)?.split(2)?;
/// let children: Vec<_> =
///     parts.into_iter().map(|part| square(part).spawn()).collect::<Result<_, _>>()?;
/// for child in children {
///     child.join()?;
/// }
/// let mut squares = whole.join();
/// assert_eq!(squares.as_mut_slice()[999], 998_001);
/// # Ok(())
/// # }
/// ```
pub struct SharedMut<T> {
    object: Object<Exclusive, [T]>,
    range: Range<usize>,
    leases: Vec<Lease>,
    /// It was sent away.
    gone: Arc<AtomicBool>,
    /// Which copy of the process it belongs to.
    copy: u32,
    populated: bool,
}

// SAFETY: it is the only way to its values, as a `Box` is; shared, it gives out nothing.
unsafe impl<T: Send> Send for SharedMut<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<T> {}

impl<T: Shareable> SharedMut<T> {
    /// So many zeros.
    ///
    /// # Errors
    /// [`Error::Os`] if there is no descriptor left, [`Error::SharedMemory`] if there is no memory,
    /// [`Error::TooLarge`] for more than any memory holds.
    ///
    /// ```
    /// use offspring::shm::SharedMut;
    ///
    /// let mut totals = SharedMut::<f64>::zeroed(3)?;
    /// totals.as_mut_slice()[1] = 2.5;
    /// assert_eq!(totals.as_mut_slice(), [0.0, 2.5, 0.0]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn zeroed(len: usize) -> Result<Self>
    where
        T: Zeroable,
    {
        Object::zeroed(Exclusive, len, Location::caller()).map(Self::whole)
    }

    /// A copy of `values`.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    #[track_caller]
    pub fn from_slice(values: &[T]) -> Result<Self>
    where
        T: Copy,
    {
        Object::from_slice(Exclusive, values, Location::caller()).map(Self::whole)
    }

    /// `len` values: `element(0)`, `element(1)` and so on.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    ///
    /// ```
    /// use offspring::shm::SharedMut;
    ///
    /// let mut squares = SharedMut::from_fn(4, |index| index * index)?;
    /// assert_eq!(squares.as_mut_slice(), [0, 1, 4, 9]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn from_fn(len: usize, element: impl FnMut(usize) -> T) -> Result<Self> {
        Object::from_fn(Exclusive, len, Location::caller(), element).map(Self::whole)
    }

    /// All that the iterator gives. It is gathered in a `Vec` first, as the memory is made in one piece.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    ///
    /// ```
    /// use offspring::shm::SharedMut;
    ///
    /// let mut squares = SharedMut::from_iter((0..4u32).map(|n| n * n))?;
    /// assert_eq!(squares.as_mut_slice(), [0, 1, 4, 9]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    #[allow(clippy::should_implement_trait)] // which cannot fail
    pub fn from_iter(values: impl IntoIterator<Item = T>) -> Result<Self> {
        // How much memory it needs must be known first.
        let mut values: Vec<Option<T>> = values.into_iter().map(Some).collect();
        let len = values.len();
        let take = |index: usize| values[index].take().expect("each is asked for once");
        Object::from_fn(Exclusive, len, Location::caller(), take).map(Self::whole)
    }

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
    /// let (parts, whole) = SharedMut::from_iter(0..10)?.split(3)?;
    /// assert_eq!(parts.iter().map(SharedMut::len).collect::<Vec<_>>(), [4, 3, 3]);
    /// drop(parts);
    /// assert_eq!(whole.join().len(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// let (mut parts, whole) = SharedMut::from_iter(0..10)?.chunks(4)?;
    /// assert_eq!(parts.len(), 3);
    /// assert_eq!(parts[2].as_mut_slice(), [8, 9]);
    /// drop(parts);
    /// assert_eq!(whole.join().len(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    fn part(self, ranges: Vec<Range<usize>>) -> Result<(Vec<Self>, Split<T>), SplitError<T>> {
        self.check();
        let (lease, returned) = match lifeline::pair() {
            Ok(pair) => pair,
            Err(error) => {
                let source = Error::os("make a pipe for the parts of an array", error);
                return Err(SplitError { array: Box::new(self), source });
            }
        };
        let lease = Lease(Arc::new(Endpoint::new(lease)));
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

impl<T: Shareable + Sync + Copy> SharedMut<T> {
    /// Makes it a [`SharedSlice`], without a copy, which any number of processes can read and none
    /// can write.
    ///
    /// # Errors
    /// [`FreezeError`], with the array, if this is a part, or if another process still has it mapped:
    /// one that had a part, and lives.
    ///
    /// # Panics
    /// As [`as_mut_slice`](Self::as_mut_slice).
    ///
    /// ```
    /// use offspring::shm::SharedMut;
    ///
    /// let mut table = SharedMut::<u32>::zeroed(3)?;
    /// table.as_mut_slice()[0] = 7;
    /// let table = table.freeze()?;
    /// assert_eq!(*table, [7, 0, 0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn freeze(self) -> Result<SharedSlice<T>, FreezeError<T>> {
        self.check();
        if self.len() < self.object.segment().len() || !self.leases.is_empty() {
            return Err(FreezeError { array: Some(Box::new(self)), reason: NotFrozen::Part });
        }
        let Self { object, range, leases, gone, copy, populated } = self;
        match Object::freeze(object) {
            Ok(object) => Ok(SharedSlice::of(object)),
            Err((object, source)) => {
                if let Some(object) = &object {
                    object.segment().leave_out_of_forks(true);
                }
                let array =
                    object.map(|object| Self { object, range, leases, gone, copy, populated });
                Err(FreezeError { array: array.map(Box::new), reason: NotFrozen::Refused(source) })
            }
        }
    }
}

impl<T> SharedMut<T> {
    fn whole(object: Object<Exclusive, [T]>) -> Self {
        copies::watch();
        let range = 0..object.segment().len();
        Self::of(object, range, Vec::new())
    }

    fn of(object: Object<Exclusive, [T]>, range: Range<usize>, leases: Vec<Lease>) -> Self {
        // What was borrowed of it before a fork must not be used in the copy.
        object.segment().leave_out_of_forks(true);
        let copy = copies::count();
        Self { object, range, leases, gone: Arc::default(), copy, populated: false }
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Where its first value is in the array that was split, and the last, as a range.
    ///
    /// ```
    /// use offspring::shm::SharedMut;
    ///
    /// let (parts, _) = SharedMut::<u8>::zeroed(10)?.chunks(4)?;
    /// assert_eq!(parts[2].range(), 8..10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The values. This takes `&mut` for reading as well, so that it cannot be sent away meanwhile.
    ///
    /// # Panics
    /// If it was sent to another process. (That takes a type that serialises it and keeps it.) In a
    /// forked copy of the process that has it.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self.check();
        let start = self.range.start * size_of::<T>();
        let bytes = self.range.len() * size_of::<T>();
        if !self.populated && bytes >= POPULATED {
            let offset = self.object.content().as_ptr() as *mut u8 as usize
                - self.object.segment().start().as_ptr() as usize;
            self.object.segment().mapping().populate(offset + start, bytes);
        }
        self.populated = true;
        // SAFETY: the range is within the content, whose values are initialised; the segment is
        // mapped for as long as this lives. Nobody else has these values: every part is made of one
        // that is given up until all parts are gone, and one that was sent, or copied by a fork, is
        // refused by `check`.
        unsafe {
            let start: NonNull<T> = self.object.content().cast();
            NonNull::slice_from_raw_parts(start.add(self.range.start), self.range.len()).as_mut()
        }
    }

    fn check(&self) {
        assert!(
            !self.gone.load(Ordering::SeqCst),
            "this part of an array was sent to another process"
        );
        assert!(
            self.copy == copies::count(),
            "this part of an array belongs to the process that this one is a copy of"
        );
    }
}

impl<T> fmt::Debug for SharedMut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMut")
            .field("range", &self.range)
            .field("made_at", &self.object.place())
            .finish()
    }
}

/// Moves it: if it is sent, it is not here any more.
impl<T: Shareable> Serialize for SharedMut<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.copy != copies::count() {
            return Err(serde::ser::Error::custom(
                "this SharedMut belongs to the process that this one is a copy of",
            ));
        }
        wire::serialize_move::<S>(&self.gone, Exclusive::NAME)?;
        let leases = self.leases.iter().map(|lease| lease.0.as_fd());
        let fds = iter::once(self.object.segment().as_fd()).chain(leases);
        let range = [self.range.start as u64, self.range.end as u64];
        wire::serialize_handle(Exclusive::NAME, fds, range, serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for SharedMut<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        copies::watch();
        let Handle { fds, numbers, .. } = wire::deserialize_handle(Exclusive::NAME, deserializer)?;
        let [from, to] = numbers.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        let mut fds = fds.into_iter();
        let file = fds.next().expect("a handle has a descriptor");
        let object = Object::<Exclusive, [T]>::adopt(file).map_err(D::Error::custom)?;
        if from > to || to > object.segment().len() {
            return Err(D::Error::custom("a part of an array that is not within it"));
        }
        let leases = fds.map(|lease| Lease(Arc::new(Endpoint::new(lease)))).collect();
        Ok(Self::of(object, from..to, leases))
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
    pub fn join_timeout(self, timeout: Duration) -> Result<SharedMut<T>, Self> {
        self.wait(Wait::at_most(timeout))
    }

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
    source: Error,
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

/// An array could not be made read-only, as somebody can still write to it, or to a part of it.
///
/// Python has none.
///
/// ```
/// use offspring::shm::SharedMut;
///
/// let (mut parts, whole) = SharedMut::<u8>::zeroed(10)?.split(2)?;
/// match parts.remove(0).freeze() {
///     Ok(_) => unreachable!("it is a part"),
///     Err(error) => assert_eq!(error.into_inner().map(|part| part.len()), Some(5)),
/// }
/// drop(parts);
/// assert!(whole.join().freeze().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FreezeError<T> {
    array: Option<Box<SharedMut<T>>>,
    reason: NotFrozen,
}

/// Why an array was not made read-only.
enum NotFrozen {
    Part,
    Refused(Error),
}

impl<T> fmt::Display for FreezeError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            NotFrozen::Part => f.write_str(
                "a part of an array cannot be made read-only: get the whole back by `Split::join`, \
                 and freeze that",
            ),
            NotFrozen::Refused(error) if error.raw_os_error() == Some(libc::EBUSY) => write!(
                f,
                "{error}: some process still has the array mapped, because it had a part of it: has \
                 it ended, or dropped it?"
            ),
            NotFrozen::Refused(error) => error.fmt(f),
        }
    }
}

impl<T> std::error::Error for FreezeError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            NotFrozen::Part => None,
            NotFrozen::Refused(error) => Some(error),
        }
    }
}

impl<T> FreezeError<T> {
    /// The array; `None` if the system had no room left for mapping it again.
    pub fn into_inner(self) -> Option<SharedMut<T>> {
        self.array.map(|array| *array)
    }
}

impl<T> fmt::Debug for FreezeError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FreezeError({self})")
    }
}
