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
use std::os::fd::{AsFd, OwnedFd};
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::object::{Kind, Object};
use super::shareable::{Shareable, Zeroable};
use crate::error::Result;
use crate::sys::copies;
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
pub(super) struct Lease(Arc<Endpoint>);

impl Lease {
    pub(super) fn new(end: OwnedFd) -> Self {
        Self(Arc::new(Endpoint::new(end)))
    }
}

/// Values in shared memory that are written in place, without a lock: by one process, or by several,
/// each of which has its own part.
///
/// It is exclusive, like a `Box<[T]>`: it cannot be cloned, and sending it to another process moves
/// it there. [`split`](Self::split) and [`chunks`](Self::chunks) make parts of it, which are moved
/// into children, and [`Split::join`](super::Split::join) makes the parts one again. In Python,
/// `SharedMemory` with an array on it, or `RawArray`, where nobody sees to it that the parts do not
/// overlap.
///
/// # When a process dies
/// What it has written is there, as far as it has come. Its part is free again, and
/// [`Split::join`](super::Split::join) does not wait for it any longer. Whether it has done its work
/// tells its [`join`](crate::Child::join).
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
/// let (parts, whole) = SharedMut::try_from_iter(0..1000)?.split(2)?;
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
    pub(super) object: Object<Exclusive, [T]>,
    pub(super) range: Range<usize>,
    pub(super) leases: Vec<Lease>,
    /// It was sent away.
    pub(super) gone: Arc<AtomicBool>,
    /// Which copy of the process it belongs to.
    pub(super) copy: u32,
    pub(super) populated: bool,
}

// SAFETY: it is the only way to its values, as a `Box` is; shared, it gives out nothing.
unsafe impl<T: Send> Send for SharedMut<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<T> {}

impl<T: Shareable> SharedMut<T> {
    /// So many zeros.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) if there is no descriptor left,
    /// [`Error::SharedMemory`](crate::Error::SharedMemory) if there is no memory,
    /// [`Error::TooLarge`](crate::Error::TooLarge) for more than any memory holds.
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
    /// let mut squares = SharedMut::try_from_iter((0..4u32).map(|n| n * n))?;
    /// assert_eq!(squares.as_mut_slice(), [0, 1, 4, 9]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn try_from_iter(values: impl IntoIterator<Item = T>) -> Result<Self> {
        // How much memory it needs must be known first.
        let mut values: Vec<Option<T>> = values.into_iter().map(Some).collect();
        let len = values.len();
        let take = |index: usize| values[index].take().expect("each is asked for once");
        Object::from_fn(Exclusive, len, Location::caller(), take).map(Self::whole)
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
    #[track_caller]
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

    #[track_caller]
    pub(super) fn check(&self) {
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
        let leases = fds.map(Lease::new).collect();
        Ok(Self::of(object, from..to, leases))
    }
}
