//! The runtime under another name.
#![deny(warnings)]
#![allow(dead_code)]

mod vendor {
    pub(crate) use offspring as processes;
}
use vendor::processes::shm::Shareable;

#[derive(Shareable)]
#[shareable(crate = crate::vendor::processes)]
struct Struct<T>(T);

#[derive(Shareable)]
#[shareable(crate = vendor::processes,)]
enum Enum {
    One,
}

macro_rules! declare {
    ($name:ident) => {
        #[derive(Shareable)]
        #[shareable(crate = $crate::vendor::processes)]
        struct $name(u8);
    };
}
declare!(Declared);

fn main() {
    fn assert<T: Shareable>() {}
    assert::<(Struct<u8>, Enum, Declared)>();
}
