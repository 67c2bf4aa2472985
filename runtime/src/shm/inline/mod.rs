//! A list and a text of bounded length, which lie where they are and point nowhere else.
//!
//! A process may be killed in the middle of a write, and nobody repairs what it leaves: so no
//! mixture of the bytes of two values may be trouble. This is had without `unsafe`:
//!
//! - The length is any `u32`, and is cut to the capacity wherever it is read. There is one place for
//!   it, `len`.
//! - Every element is a value of its type from the beginning, those past the length too: an array
//!   of `MaybeUninit` would make of a torn length, or of one that is written before its element, a
//!   read of uninitialised memory. What fills the places is `T::default()`, or a value that the
//!   program gives. (All-zero bytes would do for a `T` that allows them, but whether it does can be
//!   vouched for by an `unsafe` trait only, and enums, whose first variant may be 1, are not among
//!   those that do.) The price is one write of the capacity for each construction.
//! - A text is bytes, and is found to be UTF-8 or not whenever it is read as text.
//!
//! So the worst that a killed process leaves is a wrong length, an element that is old or half old,
//! or a text that [`to_str`](ArrayString::to_str) refuses; that somebody was killed is told by the
//! poisoned lock around it.

mod array_string;
mod array_vec;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;

pub use array_string::ArrayString;
pub use array_vec::ArrayVec;

/// Something does not fit into an [`ArrayVec`] or an [`ArrayString`], which is as it was.
///
/// It gives back what was to be put there, if that was handed over ([`ArrayVec::push`]). In Python,
/// the `ValueError` of a `ShareableList`.
///
/// ```
/// use offspring::shm::ArrayVec;
///
/// let mut list = ArrayVec::<u8, 2>::from([1, 2]);
/// let error = list.push(3).unwrap_err();
///
/// assert_eq!(error.to_string(), "a length of 3 exceeds the capacity of 2");
/// assert_eq!(error.into_inner(), 3);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CapacityError<T = ()> {
    value: T,
    needed: usize,
    capacity: usize,
}

impl<T> CapacityError<T> {
    const fn new(value: T, needed: usize, capacity: usize) -> Self {
        Self { value, needed, capacity }
    }

    /// What was to be put there.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// The length that would have been needed: of elements in a list, of bytes in a text.
    pub const fn needed(&self) -> usize {
        self.needed
    }

    /// The length that there is room for.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }
}

/// Without the value, which need not be `Debug`.
impl<T> fmt::Debug for CapacityError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapacityError")
            .field("needed", &self.needed)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for CapacityError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a length of {} exceeds the capacity of {}", self.needed, self.capacity)
    }
}

impl<T> Error for CapacityError<T> {}

/// How many of `capacity` places are in use by a stored length, which may be anything.
const fn used(stored: u32, capacity: usize) -> usize {
    let stored = stored as usize;
    if stored < capacity { stored } else { capacity }
}

/// A length as it is stored. It fits, because no capacity is greater than a `u32`.
const fn stored(len: usize) -> u32 {
    debug_assert!(len <= u32::MAX as usize);
    len as u32
}
