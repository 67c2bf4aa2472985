//! What the derive cannot know, the compiler finds, at the field.
use std::net::Ipv4Addr;

use offspring::shm::Shareable;

mod own {
    pub(crate) struct Plain;
    pub(crate) struct Vec(pub(crate) std::vec::Vec<u8>);
}

type Name = String;

#[derive(Shareable)]
struct Struct {
    plain: own::Plain,
    number: u8,
    name: Name,
    list: [own::Vec; 2],
    address: Ipv4Addr,
}

#[derive(Shareable)]
struct Tuple<T: Iterator, U>(T::Item, U, [own::Plain; 2]);

macro_rules! declare {
    ($ty:ty) => {
        #[derive(Shareable)]
        struct Declared(u8, $ty);
    };
}
declare!(own::Plain);

fn main() {}
