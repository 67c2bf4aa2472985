//! Atomic numbers, each operation on which is a step. All threads see one order of all of them.

use std::sync::atomic::{self, Ordering};

use super::{private_step, step, trace};

macro_rules! atomic {
    ($(#[$attr:meta])* $name:ident, $number:ty, $step:ident) => {
        $(#[$attr])*
        #[derive(Debug)]
        #[repr(transparent)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            pub(crate) const fn new(value: $number) -> Self {
                Self(atomic::$name::new(value))
            }

            #[track_caller]
            pub(crate) fn load(&self, _order: Ordering) -> $number {
                $step();
                let value = self.0.load(Ordering::Relaxed);
                trace!("load {self:p}: {value:#x}");
                value
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $number, _order: Ordering) {
                if $step() {
                    trace!("store {self:p}: {value:#x}");
                    self.0.store(value, Ordering::Relaxed);
                }
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                expected: $number,
                value: $number,
                _success: Ordering,
                _failure: Ordering,
            ) -> Result<$number, $number> {
                if !$step() {
                    return Ok(expected);
                }
                let result = self.0.compare_exchange(
                    expected, value, Ordering::Relaxed, Ordering::Relaxed,
                );
                trace!("exchange {self:p}: {expected:#x} by {value:#x}: {result:x?}");
                result
            }

            #[track_caller]
            pub(crate) fn fetch_add(&self, more: $number, _order: Ordering) -> $number {
                if !$step() {
                    return self.0.load(Ordering::Relaxed);
                }
                trace!("add {self:p}: {more:#x}");
                self.0.fetch_add(more, Ordering::Relaxed)
            }

            #[track_caller]
            pub(crate) fn fetch_or(&self, bits: $number, _order: Ordering) -> $number {
                if !$step() {
                    return self.0.load(Ordering::Relaxed);
                }
                let before = self.0.fetch_or(bits, Ordering::Relaxed);
                trace!("or {self:p}: {before:#x} with {bits:#x}");
                before
            }

            #[track_caller]
            pub(crate) fn fetch_max(&self, value: $number, _order: Ordering) -> $number {
                if !$step() {
                    return self.0.load(Ordering::Relaxed);
                }
                trace!("at least {self:p}: {value:#x}");
                self.0.fetch_max(value, Ordering::Relaxed)
            }

            #[track_caller]
            pub(crate) fn swap(&self, value: $number, _order: Ordering) -> $number {
                if !$step() {
                    return self.0.load(Ordering::Relaxed);
                }
                let before = self.0.swap(value, Ordering::Relaxed);
                trace!("swap {self:p}: {before:#x} for {value:#x}");
                before
            }

            #[track_caller]
            pub(crate) fn fetch_update(
                &self,
                _set: Ordering,
                _fetch: Ordering,
                change: impl Fn($number) -> Option<$number>,
            ) -> Result<$number, $number> {
                if !$step() {
                    return Err(self.0.load(Ordering::Relaxed));
                }
                trace!("update {self:p}");
                self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change)
            }

            /// What it is, without a step.
            pub(crate) fn peek(&self) -> $number {
                self.0.load(Ordering::Relaxed)
            }
        }
    };
}

atomic!(AtomicU32, u32, step);
atomic!(
    /// Names and places, which only the holder of a lock writes, and nobody acts upon: nothing
    /// depends on what others do between two of these.
    AtomicU64, u64, private_step
);
atomic!(
    /// The links of a thread's own list.
    AtomicUsize, usize, private_step
);

impl AtomicU32 {
    /// The address, of which the futex operations know it.
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }
}
