//! Values that any number of processes read, and nobody writes.

#![allow(unsafe_code)]

use std::fmt;
use std::mem;
use std::ops::Deref;
use std::panic::Location;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::object::{Kind, Object};
use super::segment::Access;
use super::shareable::{Shareable, Zeroable};
use crate::error::{Error, Result};
use crate::sys::memfd;

/// There is nothing beside the values.
#[derive(Debug, Default)]
pub(super) struct Sealed;

impl Kind for Sealed {
    const NAME: &'static str = "SharedSlice";
    const ACCESS: Access = Access::ReadOnly;
    type Tail = ();
}

/// A slice that any number of processes read without a copy, and that nobody can change. In Python,
/// `SharedMemory` with an array on it, which everybody can change.
///
/// It is sealed by the kernel when it is made: no process, whatever it does, can write to it, or
/// cut it off. Handing it to a process takes some microseconds, however long it is.
///
/// This is a handle, like an `Arc<[T]>`: a clone is another handle to the same values, and so is what
/// arrives when a handle is sent to another process.
///
/// # When a process dies
/// Nothing happens to the values. They are there until the last handle is gone, and then nothing is
/// left of them, whoever was killed.
///
/// ```
/// use offspring::{process, shm::SharedSlice};
///
/// #[process]
/// fn sum(numbers: SharedSlice<u64>, of: std::ops::Range<usize>) -> u64 {
///     numbers[of].iter().sum()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let numbers = SharedSlice::try_from_iter(0..1000)?;
/// let low = sum(numbers.clone(), 0..500).spawn()?;
/// let high = sum(numbers.clone(), 500..1000).spawn()?;
/// assert_eq!(low.join()? + high.join()?, 499_500);
/// # Ok(())
/// # }
/// ```
pub struct SharedSlice<T> {
    object: Object<Sealed, [T]>,
}

// SAFETY: it gives out `&[T]`, as an `Arc` does.
unsafe impl<T: Send + Sync> Send for SharedSlice<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for SharedSlice<T> {}

// `Copy`, so that `T` has no interior mutability: a write to sealed memory would be a fault.
impl<T: Shareable + Sync + Copy> SharedSlice<T> {
    /// Copies `values` into shared memory.
    ///
    /// # Errors
    /// [`Error::Os`] if there is no descriptor left, [`Error::SharedMemory`] if there is no memory.
    ///
    /// ```
    /// use offspring::shm::SharedSlice;
    ///
    /// let primes = SharedSlice::from_slice(&[2, 3, 5])?;
    /// assert_eq!(*primes, [2, 3, 5]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn from_slice(values: &[T]) -> Result<Self> {
        let size = size_of_val(values);
        memfd::fits(size).map_err(|error| Error::shared_memory(size, error))?;
        Self::made(Object::read_only(Location::caller(), |writer| writer.write(values)), size)
    }

    /// Puts all that the iterator gives into shared memory.
    ///
    /// # Errors
    /// As [`from_slice`](Self::from_slice).
    ///
    /// ```
    /// use offspring::shm::SharedSlice;
    ///
    /// let squares = SharedSlice::try_from_iter((0..4u32).map(|n| n * n))?;
    /// assert_eq!(*squares, [0, 1, 4, 9]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn try_from_iter(values: impl IntoIterator<Item = T>) -> Result<Self> {
        let mut values = values.into_iter();
        let expected = values.size_hint().0.saturating_mul(size_of::<T>());
        memfd::fits(expected).map_err(|error| Error::shared_memory(expected, error))?;
        let mut size = 0;
        let write = |writer: &mut super::object::Writer<'_, T>| {
            values.try_for_each(|value| {
                size += size_of::<T>();
                writer.push(value)
            })
        };
        let object = Object::read_only(Location::caller(), write);
        Self::made(object, size.max(expected))
    }

    /// Puts `len` values into shared memory: `element(0)`, `element(1)` and so on.
    ///
    /// # Errors
    /// As [`from_slice`](Self::from_slice).
    ///
    /// ```
    /// use offspring::shm::SharedSlice;
    ///
    /// let squares = SharedSlice::from_fn(4, |index| index * index)?;
    /// assert_eq!(*squares, [0, 1, 4, 9]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn from_fn(len: usize, element: impl FnMut(usize) -> T) -> Result<Self> {
        Self::try_from_iter((0..len).map(element))
    }

    /// So many zeros. To fill them in first, make a [`SharedMut`](crate::shm::SharedMut) and
    /// [freeze](crate::shm::SharedMut::freeze) it.
    ///
    /// # Errors
    /// As [`from_slice`](Self::from_slice).
    ///
    /// ```
    /// use offspring::shm::SharedSlice;
    ///
    /// let offsets = SharedSlice::<u32>::zeroed(3)?;
    /// assert_eq!(*offsets, [0, 0, 0]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn zeroed(len: usize) -> Result<Self>
    where
        T: Zeroable,
    {
        // SAFETY: all-zero bytes are a value of it.
        Self::from_fn(len, |_| unsafe { mem::zeroed() })
    }

    fn made(object: Result<Object<Sealed, [T]>>, size: usize) -> Result<Self> {
        match object {
            Ok(object) => Ok(Self { object }),
            Err(error) => Err(match error.raw_os_error().map(nix::Error::from_raw) {
                Some(errno) => Error::shared_memory(size, errno),
                None => error,
            }),
        }
    }
}

impl<T> SharedSlice<T> {
    pub(super) fn of(object: Object<Sealed, [T]>) -> Self {
        Self { object }
    }
}

impl<T> Clone for SharedSlice<T> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone() }
    }
}

impl<T> Deref for SharedSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: so many values were written when the memory was made, or before it was frozen; it
        // is sealed against writing and shrinking, and mapped for as long as this handle lives.
        unsafe { self.object.content().as_ref() }
    }
}

impl<T> AsRef<[T]> for SharedSlice<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<'a, T> IntoIterator for &'a SharedSlice<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for SharedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Shareable + Sync + Copy> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

impl<'de, T: Shareable + Sync + Copy> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { object: Object::deserialize(deserializer)? })
    }
}
