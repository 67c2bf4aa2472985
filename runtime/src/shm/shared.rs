//! A value that several processes see.

#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;
use std::panic::Location;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::object::{Content, Kind, Object};
use super::shareable::{Shareable, Zeroable};
use crate::error::Result;

/// There is nothing beside the value.
#[derive(Debug)]
pub(super) struct Plain;

impl Kind for Plain {
    const NAME: &'static str = "Shared";
    type Tail = ();
}

/// A value in memory that any number of processes see, without a lock: an atomic number, or arrays
/// and structs of them. Python's `RawValue` and `RawArray`.
///
/// It gives shared access only, so what changes are atomics. For anything else, there is
/// [`Mutex`](crate::sync::Mutex).
///
/// This is a handle, like an `Arc`: a clone is another handle to the same value, and so is what
/// arrives when a handle is sent to another process. A process that gets it several times maps it
/// once.
///
/// # When a process dies
/// Nothing happens to the value. It is there until the last handle is gone, and then nothing is left
/// of it, whoever was killed.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use offspring::{process, shm::Shared};
///
/// #[process]
/// fn count(done: Shared<AtomicU64>) {
///     done.fetch_add(1, Ordering::Relaxed);
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let done = Shared::new(AtomicU64::new(0))?;
/// count(done.clone()).spawn()?.join()?;
/// assert_eq!(done.load(Ordering::Relaxed), 1);
///
/// let histogram = Shared::<[AtomicU64]>::from_fn(256, |_| AtomicU64::new(0))?;
/// histogram[b'x' as usize].fetch_add(1, Ordering::Relaxed);
/// # Ok(())
/// # }
/// ```
pub struct Shared<T: ?Sized> {
    object: Object<Plain, T>,
}

// SAFETY: it gives out `&T`, as an `Arc` does.
unsafe impl<T: ?Sized + Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for Shared<T> {}

// What several processes see must be `Sync`, wherever one comes from: here, and in `Deserialize`.
impl<T: Shareable + Sync> Shared<T> {
    /// Moves `value` into shared memory.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) if there is no descriptor left,
    /// [`Error::SharedMemory`](crate::Error::SharedMemory) if there is no memory.
    #[track_caller]
    pub fn new(value: T) -> Result<Self> {
        Ok(Self { object: Object::new(Plain, value, Location::caller())? })
    }
}

impl<T: Shareable + Sync> Shared<[T]> {
    /// Copies `values` into shared memory. What can be copied is no atomic, so nobody changes them: a
    /// [`SharedSlice`](crate::shm::SharedSlice) is sealed in addition.
    ///
    /// # Errors
    /// As [`new`](Shared::new).
    ///
    /// ```
    /// use offspring::shm::Shared;
    ///
    /// let primes = Shared::from_slice(&[2, 3, 5])?;
    /// assert_eq!(*primes, [2, 3, 5]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn from_slice(values: &[T]) -> Result<Self>
    where
        T: Copy,
    {
        Ok(Self { object: Object::from_slice(Plain, values, Location::caller())? })
    }

    /// Puts `len` values into shared memory: `element(0)`, `element(1)` and so on.
    ///
    /// # Errors
    /// As [`new`](Shared::new), and [`Error::TooLarge`](crate::Error::TooLarge) for more than any
    /// memory holds.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use offspring::shm::Shared;
    ///
    /// let done = Shared::<[AtomicBool]>::from_fn(3, |index| AtomicBool::new(index == 0))?;
    /// assert!(done[0].load(Ordering::Relaxed));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn from_fn(len: usize, element: impl FnMut(usize) -> T) -> Result<Self> {
        Ok(Self { object: Object::from_fn(Plain, len, Location::caller(), element)? })
    }

    /// Puts so many zeros into shared memory. Python's `RawArray('d', len)`.
    ///
    /// # Errors
    /// As [`from_fn`](Shared::from_fn).
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use offspring::shm::Shared;
    ///
    /// let histogram = Shared::<[AtomicU64]>::zeroed(256)?;
    /// histogram[7].fetch_add(1, Ordering::Relaxed);
    /// assert_eq!(histogram[7].load(Ordering::Relaxed), 1);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn zeroed(len: usize) -> Result<Self>
    where
        T: Zeroable,
    {
        Ok(Self { object: Object::zeroed(Plain, len, Location::caller())? })
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone() }
    }
}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value was written when the memory was made, and the segment is mapped for as
        // long as this handle lives. `T` is `Sync`, and no process has more than shared access.
        unsafe { self.object.content().as_ref() }
    }
}

impl<T: ?Sized> AsRef<T> for Shared<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + Content + Sync> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

impl<'de, T: ?Sized + Content + Sync> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { object: Object::deserialize(deserializer)? })
    }
}
