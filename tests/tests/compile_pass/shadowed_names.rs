//! The expansion names nothing that a program could have given another meaning.
#![deny(warnings)]
#![allow(dead_code, unused_macros, non_camel_case_types, clippy::upper_case_acronyms)]

mod std {}
mod core {}
mod alloc {}
mod serde {}
mod inventory {}
mod shadowed {
    pub(crate) struct Option;
    pub(crate) struct Result;
    pub(crate) struct Child;
    pub(crate) struct Entry;
    pub(crate) struct Box;
    pub(crate) struct Vec;
    pub(crate) struct String;
    pub(crate) struct ENTRY;
    pub(crate) trait Process {}
    pub(crate) trait Registered {}
    pub(crate) trait Serialize {}
    pub(crate) trait Deserialize {}
    pub(crate) trait Debug {}
    pub(crate) fn spawn() {}
    pub(crate) fn run() {}
    pub(crate) fn drop() {}
    #[expect(non_snake_case)]
    pub(crate) fn Some() {}
    #[expect(non_snake_case)]
    pub(crate) fn Ok() {}
}
#[allow(unused_imports)]
use shadowed::*;

macro_rules! concat {
    () => {};
}
macro_rules! module_path {
    () => {};
}
macro_rules! file {
    () => {};
}
macro_rules! line {
    () => {};
}
macro_rules! column {
    () => {};
}

#[offspring::process]
fn spawned(run: u32, spawn: u32, f: u32, entry: u32) -> (u32, u32) {
    (run + spawn, f + entry)
}

#[offspring::process]
struct Looper {
    x: u32,
}

impl offspring::Process for Looper {
    type Output = u32;

    fn run(self) -> u32 {
        self.x
    }
}

#[offspring::process]
fn spawn_(x: u32) -> u32 {
    x
}

mod called_as_the_runtime {
    #[offspring::process]
    pub(crate) fn run(x: u32) -> u32 {
        x
    }

    #[offspring::process]
    pub(crate) fn spawn(run: u32) -> u32 {
        self::run(run).run()
    }

    #[offspring::process]
    #[allow(non_snake_case)]
    pub(crate) fn ENTRY() {}
}

fn main() {
    assert_eq!(spawned(1, 2, 3, 4).run(), (3, 7));
    assert_eq!(offspring::Process::run(Looper { x: 1 }), 1);
    assert_eq!(spawn_(1).run(), 1);
    assert_eq!(called_as_the_runtime::spawn(1).run(), 1);
    called_as_the_runtime::ENTRY().run();
}
