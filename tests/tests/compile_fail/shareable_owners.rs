use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use offspring::shm::Shareable;

#[derive(Shareable)]
struct Owners {
    boxed: Box<u64>,
    slice: Box<[u64]>,
    text: Box<str>,
    object: Box<dyn Fn()>,
    rc: Rc<Vec<u8>>,
    arc: (u8, Arc<str>),
    weak: std::sync::Weak<u8>,
    cow: Cow<'static, str>,
}

fn main() {}
