//! Every form a shareable type can have.
#![deny(warnings)]
#![allow(dead_code)]
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::num::Wrapping;
use std::sync::atomic::{AtomicBool, AtomicU64};

use offspring::shm::{ArrayString, ArrayVec, Shareable};

fn assert<T: Shareable + ?Sized>() {}

#[derive(Shareable)]
struct Named {
    number: u64,
    pair: (i8, f32),
    list: [[Wrapping<u16>; 2]; 3],
    r#type: bool,
}

#[derive(Shareable)]
struct Tuple(AtomicU64, (), Cell<u8>, UnsafeCell<AtomicBool>);

#[derive(Shareable)]
struct Unit;

#[derive(Shareable)]
struct Empty {}

#[derive(Shareable)]
struct Nested {
    named: Named,
    tuples: [Tuple; 4],
    level: Level,
    name: ArrayString<16>,
    levels: ArrayVec<Level, 8>,
    spare: (MaybeUninit<Named>, ManuallyDrop<Unit>),
}

#[derive(Shareable, Clone, Copy, Default)]
enum Level {
    #[default]
    Low,
    High = 200,
}

#[derive(Shareable)]
enum Only {
    One,
}

#[derive(Shareable)]
#[repr(u8)]
enum Byte {
    None(),
    Empty {},
    Last = 255,
}

#[derive(Shareable)]
#[repr(i8)]
enum Signed<const N: usize> {
    Below = -128,
    Above = 127,
}

#[derive(Shareable)]
struct Generic<T, U: Copy = u8, const N: usize = 4>
where
    U: PartialEq,
{
    one: T,
    many: [U; N],
    both: (Cell<T>, ArrayVec<U, N>),
}

#[derive(Shareable)]
struct Associated<I: Iterator>
where
    I::Item: Shareable,
{
    last: I::Item,
    of: PhantomData<I>,
}

#[derive(Shareable)]
struct Tail<T: ?Sized> {
    len: u32,
    tail: T,
}

#[derive(Shareable)]
struct Slice {
    len: u32,
    tail: [Named],
}

#[derive(Shareable)]
#[repr(C, packed)]
struct Packed<T> {
    byte: u8,
    word: T,
}

#[derive(Shareable)]
#[repr(C, align(64))]
struct Line(AtomicU64);

#[derive(Shareable)]
#[repr(transparent)]
struct Typed<T>(u32, PhantomData<fn() -> Box<T>>);

#[derive(Shareable)]
struct Marked(PhantomData<String>, PhantomData<Vec<Box<str>>>);

#[derive(Shareable)]
struct OfItself {
    bytes: [u8; std::mem::size_of::<&Self>()],
    of: PhantomData<Self>,
    none: [PhantomData<Box<Self>>; 0],
}

// A type of the program's own, that has the name of one of `std`'s.
#[derive(Shareable, Clone, Copy, Default)]
struct File(u32);
mod own {
    #[derive(super::Shareable)]
    pub(crate) struct Option<T>(bool, T);
}
#[derive(Shareable)]
struct Qualified(self::File, own::Option<crate::File>, ArrayVec<crate::File, 2>);

macro_rules! declare {
    ($name:ident { $($field:ident: $ty:ty),* } $($variant:ident)*) => {
        #[derive(Shareable)]
        struct $name { $($field: $ty,)* file: $crate::File }

        #[derive(Shareable)]
        enum Declared { $($variant),* }
    };
}
declare!(Macro { x: u8, y: (u8, [Named; 2]) } A B C);

#[derive(Shareable)]
struct Configured {
    #[cfg(any())]
    text: String,
    #[cfg(all())]
    number: u8,
}

fn main() {
    assert::<Named>();
    assert::<Tuple>();
    assert::<(Unit, Empty)>();
    assert::<Nested>();
    assert::<(Level, Only, Byte, Signed<3>)>();
    assert::<Generic<Named>>();
    assert::<Generic<Generic<u8, i8, 1>, f64, 0>>();
    assert::<Tail<[u8]>>();
    assert::<Slice>();
    assert::<Packed<u64>>();
    assert::<Line>();
    assert::<Typed<u8>>();
    assert::<(Marked, OfItself, Qualified, Macro, Declared, Configured)>();

    #[derive(Shareable)]
    struct Local(Named);
    assert::<Local>();
}
