//! Thread-local values of the model's threads, in the place of std's.

use std::cell::Cell;

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
