//! A value that is set once, by whichever process comes first.

#![allow(unsafe_code)]

use std::fmt;
use std::mem::MaybeUninit;
use std::panic::Location;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::kernel::Wait;
use super::once::{OnceError, State};
use crate::error::Result;
use crate::shm::Shareable;
use crate::shm::object::Object;

/// A value that is set once, by whichever thread of whichever process comes first. As
/// `std::sync::OnceLock`. Python has none.
///
/// This is a handle: a clone is another handle to the same, and so is what arrives when a handle is
/// sent to another process.
///
/// # When a process dies
/// If it is killed before it has set the value, nobody sees anything of it, and the next who comes
/// sets it.
///
/// ```
/// use offspring::{process, sync::OnceLock};
///
/// #[process]
/// fn seed(seed: OnceLock<u64>) -> u64 {
///     *seed.get_or_init(|| std::process::id().into())
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let chosen = OnceLock::new()?;
/// let (first, second) = (seed(chosen.clone()).spawn()?, seed(chosen.clone()).spawn()?);
/// assert_eq!(first.join()?, second.join()?);
/// assert!(chosen.get().is_some());
/// # Ok(())
/// # }
/// ```
pub struct OnceLock<T> {
    object: Object<State<true>, MaybeUninit<T>>,
}

impl<T: Shareable + Sync> OnceLock<T> {
    /// Without a value.
    ///
    /// # Errors
    /// As [`Mutex::new`](crate::sync::Mutex::new).
    #[track_caller]
    pub fn new() -> Result<Self> {
        let () = T::HAS_NO_DESTRUCTOR;
        let object = Object::new(State::new(), MaybeUninit::uninit(), Location::caller())?;
        Ok(Self { object })
    }

    /// The value, if it is set.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: it is set, so it was written before, and nobody writes it again.
        self.object.state().is_done().then(|| unsafe { self.object.content().cast().as_ref() })
    }

    /// Sets the value.
    ///
    /// # Errors
    /// Gives it back if there is one already.
    ///
    /// # Panics
    /// As [`get_or_init`](Self::get_or_init).
    ///
    /// ```
    /// use offspring::sync::OnceLock;
    ///
    /// let lock = OnceLock::new()?;
    /// assert_eq!(lock.set(1), Ok(()));
    /// assert_eq!(lock.set(2), Err(2));
    /// assert_eq!(lock.get(), Some(&1));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("it is called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value, which `make` makes if there is none yet. The others wait for it meanwhile. If
    /// `make` panics, the next who comes makes it.
    ///
    /// # Panics
    /// If `make` does; where [`try_get_or_init`](Self::try_get_or_init) gives an error.
    ///
    /// ```
    /// use offspring::sync::OnceLock;
    ///
    /// let lock = OnceLock::new()?;
    /// assert_eq!(*lock.get_or_init(|| 1), 1);
    /// assert_eq!(*lock.get_or_init(|| unreachable!()), 1);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        self.try_get_or_init(make).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`get_or_init`](Self::get_or_init), with an error where the value cannot be had. (It is not
    /// `make` that may fail.)
    ///
    /// # Errors
    /// [`Deadlock`](OnceError::Deadlock) if this thread is just making the value,
    /// [`TooMany`](OnceError::TooMany) if it holds 2,000 locks.
    ///
    /// # Panics
    /// If `make` does.
    ///
    /// ```
    /// use offspring::sync::OnceLock;
    ///
    /// let lock = OnceLock::new()?;
    /// let value = lock.get_or_init(|| {
    ///     assert!(lock.try_get_or_init(|| 1).is_err()); // the value waits for itself
    ///     2
    /// });
    /// assert_eq!(*value, 2);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn try_get_or_init(&self, make: impl FnOnce() -> T) -> Result<&T, OnceError> {
        let content = self.object.content();
        let set = || {
            let value = make();
            // SAFETY: one thread at a time does this, before anybody may read it.
            unsafe { content.cast::<T>().write(value) };
        };
        // SAFETY: the segment stays mapped for as long as a handle lives, which this borrows.
        unsafe {
            self.object.state().do_once(self.object.segment(), Location::caller(), true, set)?;
        }
        Ok(self.get().expect("it was set"))
    }

    /// Waits until somebody has set the value, and does not make it. If who makes it dies, or panics, this
    /// goes on waiting: the next who comes makes it.
    ///
    /// # Panics
    /// If this thread is just making the value.
    ///
    /// ```
    /// use offspring::{process, sync::OnceLock};
    ///
    /// #[process]
    /// fn choose(port: OnceLock<u16>) {
    ///     port.set(8080).unwrap();
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let port = OnceLock::new()?;
    /// let child = choose(port.clone()).spawn()?;
    /// assert_eq!(*port.wait(), 8080);
    /// # child.join()?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait(&self) -> &T {
        self.wait_until(Wait::Forever).expect("it waits for as long as it takes")
    }

    /// As [`wait`](Self::wait), for at most `timeout`, by the monotonic clock: `None` if nobody has set
    /// the value then.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::OnceLock;
    ///
    /// let lock = OnceLock::new()?;
    /// assert_eq!(lock.wait_timeout(Duration::from_millis(10)), None);
    /// lock.set(1).unwrap();
    /// assert_eq!(lock.wait_timeout(Duration::from_millis(10)), Some(&1));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<&T> {
        self.wait_until(Wait::at_most(timeout))
    }

    #[track_caller]
    fn wait_until(&self, wait: Wait) -> Option<&T> {
        let (state, segment) = (self.object.state(), self.object.segment());
        // SAFETY: as in `try_get_or_init`.
        let done = unsafe { state.wait(segment, Location::caller(), wait) };
        done.unwrap_or_else(|error| panic!("{error}"));
        self.get()
    }
}

impl<T> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone() }
    }
}

impl<T: Shareable + Sync> Serialize for OnceLock<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

impl<'de, T: Shareable + Sync> Deserialize<'de> for OnceLock<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { object: Object::deserialize(deserializer)? })
    }
}

impl<T: Shareable + Sync + fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("OnceLock");
        match self.get() {
            Some(value) => out.field("value", value),
            None => out.field("value", &format_args!("<unset>")),
        };
        out.field("made_at", &self.object.place()).finish()
    }
}
