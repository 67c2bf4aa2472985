//! Making an array read-only.

use std::fmt;

use nix::libc;

use super::exclusive::SharedMut;
use super::object::Object;
use super::shareable::Shareable;
use super::slice::SharedSlice;
use crate::error::{Error, Result};

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
    #[track_caller]
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
            NotFrozen::Refused(error) => error.source(),
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
