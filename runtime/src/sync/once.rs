//! What is done once, by whichever process comes first.

#![allow(unsafe_code)]

use std::fmt;
use std::mem::MaybeUninit;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::thread;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::errors::{Deadlock, NotLocked, PoisonCause, PoisonError};
use super::kernel::{AtomicU32, Wait};
use super::lock::{Lock, Subject};
use crate::error::Result;
use crate::shm::Shareable;
use crate::shm::object::{Kind, Object};
use crate::shm::segment::Segment;

/// What it consists of in shared memory.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State<const VALUE: bool> {
    lock: Lock,
    done: AtomicU32,
}

impl<const VALUE: bool> Kind for State<VALUE> {
    const NAME: &'static str = if VALUE { "OnceLock" } else { "Once" };
    type Tail = ();

    fn check() -> Result<()> {
        super::check()
    }

    fn is_owned_here(&self, _tail: &[()]) -> bool {
        self.lock.is_owned_here()
    }
}

impl<const VALUE: bool> State<VALUE> {
    const fn new() -> Self {
        Self { lock: Lock::new(), done: AtomicU32::new(0) }
    }

    #[inline]
    fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire) != 0
    }

    /// Has `work` done by one thread of all. With `force` also if it failed before.
    ///
    /// # Safety
    /// The state must stay where it is until the thread has ended, or has returned from this.
    unsafe fn do_once(
        &self,
        segment: &Segment,
        at: &'static Location<'static>,
        force: bool,
        work: impl FnOnce(),
    ) -> Result<(), OnceError> {
        /// Gives the lock back, poisoned if the work panics.
        struct Release<'a>(&'a Lock, bool);
        impl Drop for Release<'_> {
            fn drop(&mut self) {
                self.0.release(self.1, None);
            }
        }
        if self.is_done() {
            return Ok(());
        }
        let subject = Subject { what: Self::NAME, segment, detector: None };
        // SAFETY: the caller's promise.
        match unsafe { self.lock.acquire(Wait::Forever, at, subject, || true) } {
            Ok(()) => {}
            Err(NotLocked::Deadlock(deadlock)) => return Err(OnceError::Deadlock(deadlock)),
            Err(_) => return Err(OnceError::TooMany),
        }
        let release = Release(&self.lock, thread::panicking());
        if self.is_done() {
            return Ok(());
        }
        if let Some(how) = self.lock.poisoned(subject)
            && !force
        {
            return Err(OnceError::Poisoned(PoisonError::new((), how)));
        }
        work();
        self.lock.heal();
        // Published last: whoever is killed before this has done nothing that anybody sees.
        self.done.store(1, Ordering::Release);
        drop(release);
        Ok(())
    }
}

/// Why [`Once::call_once`] has not seen to it that the work is done.
///
/// ```
/// use offspring::sync::{Once, OnceError};
///
/// let prepared = Once::new()?;
/// match prepared.call_once(|| println!("preparing")) {
///     Ok(()) => {}
///     Err(OnceError::Poisoned(poisoned)) => println!("{} left it half done", poisoned.holder()),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnceError {
    /// Who did the work before panicked or died in the middle of it. See
    /// [`call_once_force`](Once::call_once_force).
    #[error(
        "the work of the {} was begun and not finished, as {} {}: look what is there, then call \
         `call_once_force`",
        .0.lock(),
        .0.holder(),
        if .0.cause() == PoisonCause::Panicked { "panicked" } else { "died" }
    )]
    Poisoned(PoisonError<()>),
    /// The work itself asked for the work to be done.
    #[error("the work waits for itself: {0}")]
    Deadlock(Deadlock),
    /// This thread holds 2,000 locks already, and the kernel keeps track of no more.
    #[error("{}", super::errors::TOO_MANY)]
    TooMany,
}

/// Work that is done once, by whichever thread of whichever process comes first; the others wait
/// until it is done. As `std::sync::Once`. Python has none.
///
/// This is a handle: a clone is another handle to the same, and so is what arrives when a handle is
/// sent to another process.
///
/// # When a process dies
/// If the one that does the work panics or is killed, the others are told, by
/// [`OnceError::Poisoned`]: the work may be half done. [`call_once_force`](Self::call_once_force)
/// does it all the same.
///
/// ```
/// use offspring::{process, sync::{Once, Semaphore}};
///
/// #[process]
/// fn prepare(prepared: Once, count: Semaphore) {
///     prepared.call_once(|| count.release(1).unwrap()).unwrap();
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (prepared, count) = (Once::new()?, Semaphore::new(0)?);
/// let first = prepare(prepared.clone(), count.clone()).spawn()?;
/// let second = prepare(prepared.clone(), count.clone()).spawn()?;
/// first.join()?;
/// second.join()?;
/// assert_eq!(count.available(), 1);
/// # Ok(())
/// # }
/// ```
pub struct Once {
    object: Object<State<false>, ()>,
}

super::handle!(Once);

impl Once {
    /// Work that was not done yet.
    ///
    /// # Errors
    /// As [`Mutex::new`](crate::sync::Mutex::new).
    #[track_caller]
    pub fn new() -> Result<Self> {
        Ok(Self { object: Object::new(State::new(), (), Location::caller())? })
    }

    /// Does the work, if nobody has; returns when it is done.
    ///
    /// # Errors
    /// [`OnceError`]: above all [`Poisoned`](OnceError::Poisoned), if it was begun and not finished.
    ///
    /// # Panics
    /// If `work` does.
    #[track_caller]
    pub fn call_once(&self, work: impl FnOnce()) -> Result<(), OnceError> {
        self.call(false, work)
    }

    /// As [`call_once`](Self::call_once), also if the work was begun by others who did not finish it.
    ///
    /// # Errors
    /// [`OnceError`], but not [`Poisoned`](OnceError::Poisoned).
    ///
    /// # Panics
    /// If `work` does.
    ///
    /// ```
    /// use offspring::sync::Once;
    ///
    /// let once = Once::new()?;
    /// std::thread::scope(|scope| {
    ///     let _ = scope.spawn(|| once.call_once(|| panic!())).join();
    /// });
    /// assert!(once.call_once(|| {}).is_err());
    /// once.call_once_force(|| {})?;
    /// assert!(once.is_completed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn call_once_force(&self, work: impl FnOnce()) -> Result<(), OnceError> {
        self.call(true, work)
    }

    #[track_caller]
    fn call(&self, force: bool, work: impl FnOnce()) -> Result<(), OnceError> {
        // SAFETY: the segment stays mapped for as long as a handle lives, which this borrows.
        unsafe {
            self.object.state().do_once(self.object.segment(), Location::caller(), force, work)
        }
    }

    /// Whether the work is done.
    pub fn is_completed(&self) -> bool {
        self.object.state().is_done()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("completed", &self.is_completed())
            .field("made_at", &self.object.place())
            .finish()
    }
}

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
    /// If this thread is just making the value, or holds 2,000 locks.
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
        self.init(|| value.take().expect("it is called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value, which `make` makes if there is none yet. The others wait for it meanwhile. If
    /// `make` panics, the next who comes makes it.
    ///
    /// # Panics
    /// If `make` does, or asks for the value in its turn; if this thread holds 2,000 locks.
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
        self.init(make);
        self.get().expect("it was set")
    }

    #[track_caller]
    fn init(&self, make: impl FnOnce() -> T) {
        let content = self.object.content();
        let set = || {
            let value = make();
            // SAFETY: one thread at a time does this, before anybody may read it.
            unsafe { content.cast::<T>().write(value) };
        };
        // SAFETY: the segment stays mapped for as long as a handle lives, which this borrows.
        let done = unsafe {
            self.object.state().do_once(self.object.segment(), Location::caller(), true, set)
        };
        if let Err(error) = done {
            panic!("{error}");
        }
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
