use std::borrow::Cow;
use std::marker::PhantomData;

use offspring::shm::Shareable;

#[derive(Shareable)]
struct View<'a, 'b, T> {
    id: T,
    of: PhantomData<(&'a u8, Cow<'b, str>)>,
}

fn main() {}
