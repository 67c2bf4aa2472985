//! Structs of all kinds, in programs that forbid `unsafe` and every warning, and that know the runtime
//! by another name.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unused_qualifications, single_use_lifetimes, clippy::all)]
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::num::Wrapping;
use std::sync::atomic::AtomicU64;

use offspring::shm::{ArrayString, ArrayVec, Shareable, Zeroable};

/// Documented.
#[derive(Debug, Shareable, Zeroable)]
pub struct Named<T, const N: usize> {
    /// Documented.
    pub name: ArrayString<32>,
    /// Documented.
    pub list: ArrayVec<T, N>,
    /// Documented.
    pub hits: [AtomicU64; N],
    /// Documented.
    #[deprecated = "only its users are told"]
    pub old: bool,
}

/// Documented.
#[derive(Debug, Clone, Copy, Shareable, Zeroable)]
#[repr(C, packed)]
pub struct Packed(pub u8, pub u64);

/// Documented.
#[derive(Debug, Clone, Copy, Shareable, Zeroable)]
pub struct Unit;

/// Documented.
#[derive(Debug, Shareable, Zeroable)]
pub struct Bounded<I: Iterator>(pub I::Item, pub PhantomData<I>)
where
    I: Send + 'static,
    I::Item: Zeroable;

/// Documented.
pub mod vendor {
    pub use offspring as processes;
}

/// Documented.
#[derive(Debug, Shareable, Zeroable)]
#[shareable(crate = vendor::processes)]
pub struct Elsewhere<T>(pub T);

fn main() {
    fn assert<T: Zeroable>() {}
    assert::<(Named<u8, 3>, Packed, Unit, Elsewhere<[Unit; 2]>, ())>();
    assert::<(u8, i16, f32, bool, Wrapping<u8>, Cell<u8>, UnsafeCell<u8>, ManuallyDrop<u8>)>();
    // Zeros are fine for what may be anything.
    #[derive(Clone, Copy, Shareable)]
    enum Level {
        _Low,
        _High,
    }
    assert::<(MaybeUninit<Level>, PhantomData<String>)>();
}
