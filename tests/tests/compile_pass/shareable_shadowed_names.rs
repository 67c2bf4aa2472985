//! The expansion names nothing that a program could have given another meaning, and gives no other
//! meaning to what a field's type may name.
#![deny(warnings)]
#![allow(dead_code, unused_macros)]

mod std {}
mod core {}
mod shm {}
mod shadowed {
    pub(crate) struct Send;
    pub(crate) struct Sized;
    pub(crate) trait Shareable {}
    pub(crate) fn needs_drop() {}
    pub(crate) fn size_of() {}
}
#[allow(unused_imports)]
use shadowed::*;

macro_rules! assert {
    () => {};
}

const fn check() -> usize {
    3
}
const fn shareable() -> usize {
    4
}
const VALUE: usize = 5;

#[derive(offspring::shm::Shareable)]
struct Struct<T, Shareable> {
    check: [T; check()],
    shareable: [Shareable; shareable()],
    value: [u8; VALUE],
}

impl<T, Shareable> Struct<T, Shareable> {
    fn check(&self) {}
}

#[derive(offspring::shm::Shareable)]
enum Enum {
    Some,
    None,
    Ok,
    Err,
}

fn main() {
    fn is<T: offspring::shm::Shareable>() {}
    is::<(Struct<u8, u8>, Enum)>();
}
