//! What may live in memory that several processes see.

#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit, needs_drop};
use std::num::Wrapping;
use std::sync::atomic::{
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16,
    AtomicU32, AtomicU64, AtomicUsize,
};

/// A type whose values may live in shared memory: numbers, `bool`, atomics, and arrays, tuples and
/// structs of them. In Python, the types of `ctypes`.
///
/// For a type of one's own, [derive](macro@crate::shm::Shareable) it, which is safe: the derive
/// asks it of every field.
///
/// ```
/// use std::sync::atomic::AtomicU64;
/// use offspring::shm::{Shareable, Shared};
///
/// #[derive(Shareable, Default)]
/// struct Counters {
///     hits: AtomicU64,
///     misses: [AtomicU64; 4],
/// }
///
/// # fn main() -> Result<(), offspring::Error> {
/// let counters = Shared::new(Counters::default())?;
/// # Ok(())
/// # }
/// ```
///
/// # What is not
/// - References, pointers, `Box`, `String`, `Vec`, `Rc`, file handles: what they stand for is in one
///   process's memory. Text of a bounded length goes into an
///   [`ArrayString`](crate::shm::ArrayString), a list into an [`ArrayVec`](crate::shm::ArrayVec).
/// - Types with a destructor: nobody would run it, as no process knows that it is the last.
/// - `char`, `NonZero`, `Option`, and enums with fields: a process that is killed in the middle of
///   a write leaves some bytes of the old value and some of the new, and in these types that may be
///   no value at all. Enums without fields are fine, as they are one byte.
///
/// # Safety
/// An implementor vouches that
/// - the type holds no address, and nothing else that means something in one process only;
/// - it has no destructor;
/// - **any mixture of the bytes of two of its values is again a value of it**, as a process may be
///   killed while it writes one over another.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot live in shared memory",
    label = "not `Shareable`",
    note = "shared memory holds numbers, `bool`, atomics, and arrays, tuples and structs of them: derive `Shareable` for your own struct",
    note = "text goes into an `offspring::shm::ArrayString<N>`, a list into an `ArrayVec<T, N>`; what cannot do without `Box`, `String` or `Vec` is sent through a pipe"
)]
pub unsafe trait Shareable: Send + 'static {
    /// Fails to compile for a type with a destructor. Asked wherever a value is moved into shared
    /// memory.
    #[doc(hidden)]
    const HAS_NO_DESTRUCTOR: () =
        assert!(!needs_drop::<Self>(), "a type with a destructor cannot live in shared memory");
}

macro_rules! plain {
    ($($type:ty),* $(,)?) => {$(
        // SAFETY: no address, no destructor, and each byte may be any that it is in some value.
        unsafe impl Shareable for $type {}
    )*};
}

plain!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, bool, ());
plain!(AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize);
plain!(AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicBool);

macro_rules! wrapper {
    ($($wrapper:ident),*) => {$(
        // SAFETY: laid out as what it wraps, for which this holds.
        unsafe impl<T: Shareable> Shareable for $wrapper<T> {}
    )*};
}

wrapper!(Cell, UnsafeCell, Wrapping, ManuallyDrop, MaybeUninit);

// SAFETY: it has no bytes.
unsafe impl<T: Send + 'static> Shareable for PhantomData<T> {}
// SAFETY: each byte belongs to one element, for which this holds.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {}
// SAFETY: as above.
unsafe impl<T: Shareable> Shareable for [T] {}

macro_rules! tuples {
    ($($name:ident)*) => {
        // SAFETY: each byte belongs to one element, for which this holds, or is padding.
        unsafe impl<$($name: Shareable),*> Shareable for ($($name,)*) {}
        // SAFETY: each element is, and what is between them may be anything.
        unsafe impl<$($name: Zeroable),*> Zeroable for ($($name,)*) {}
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

/// A type of which all-zero bytes are a value: numbers, `bool`, atomics, and arrays, tuples and structs of
/// them.
///
/// Shared memory is made of zeros, so these need not be written to be there. (In Python, a `RawArray`
/// of any length is made so.)
///
/// For a struct of one's own, [derive](macro@crate::shm::Zeroable) it, which is safe: the derive asks it
/// of every field.
///
/// ```
/// use offspring::shm::SharedMut;
///
/// let mut table = SharedMut::<[f32; 2]>::zeroed(1000)?;
/// assert_eq!(table.as_mut_slice()[999], [0.0, 0.0]);
/// # Ok::<(), offspring::Error>(())
/// ```
///
/// # Safety
/// An implementor vouches for just that.
#[diagnostic::on_unimplemented(
    message = "all-zero bytes are not known to be a value of `{Self}`",
    label = "not `Zeroable`",
    note = "derive `Zeroable` for your own struct; for another type, make the values by `from_fn` or `from_slice`"
)]
pub unsafe trait Zeroable: Shareable {}

macro_rules! zeroable {
    ($($type:ty),* $(,)?) => {$(
        // SAFETY: 0, 0.0, false.
        unsafe impl Zeroable for $type {}
    )*};
}

zeroable!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, bool, ());
zeroable!(AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize);
zeroable!(AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicBool);

macro_rules! zeroable_wrapper {
    ($($wrapper:ident),*) => {$(
        // SAFETY: laid out as what it wraps, for which this holds.
        unsafe impl<T: Zeroable> Zeroable for $wrapper<T> {}
    )*};
}

zeroable_wrapper!(Cell, UnsafeCell, Wrapping, ManuallyDrop);

// SAFETY: any bytes are a value of it, whatever they are of a `T`.
unsafe impl<T: Shareable> Zeroable for MaybeUninit<T> {}
// SAFETY: it has no bytes.
unsafe impl<T: Send + 'static> Zeroable for PhantomData<T> {}
// SAFETY: each element is.
unsafe impl<T: Zeroable, const N: usize> Zeroable for [T; N] {}
