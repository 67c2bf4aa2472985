//! Thread-local values of the model's threads, and mutexes within one of its processes, in the place
//! of std's.

use std::cell::Cell;
use std::sync::{self, LockResult, MutexGuard, TryLockError};

/// What `thread_local!` makes here.
pub(crate) struct Local<T: 'static>(pub(crate) shuttle::thread::LocalKey<T>);

macro_rules! thread_local {
    ($($(#[$attr:meta])* static $name:ident: $type:ty = const { $init:expr };)*) => {$(
        $(#[$attr])*
        static $name: $crate::local::Local<$type> =
            $crate::local::Local(shuttle::thread::LocalKey {
                init: || $init,
                _p: std::marker::PhantomData,
            });
    )*};
}

impl<T> Local<T> {
    pub(crate) fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.0.with(f)
    }

    pub(crate) fn try_with<R>(
        &'static self,
        f: impl FnOnce(&T) -> R,
    ) -> Result<R, shuttle::thread::AccessError> {
        self.0.try_with(f)
    }
}

impl<T: Copy> Local<Cell<T>> {
    pub(crate) fn get(&'static self) -> T {
        self.0.with(Cell::get)
    }

    pub(crate) fn set(&'static self, value: T) {
        self.0.with(|cell| cell.set(value));
    }
}

/// A mutex of std's, whose owner may be interrupted. It cannot be killed without its process.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        loop {
            match self.0.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => shuttle::thread::yield_now(),
            }
        }
    }
}
