//! All that is wrong is told in one go, and what uses the type is not blamed.
use std::rc::Rc;

use offspring::shm::Shareable;

#[derive(Shareable)]
#[shareable(packed)]
struct Everything<'a, T> {
    borrowed: &'a T,
    list: [Vec<T>; 2],
    shared: (u8, Rc<T>, Option<T>),
}

#[derive(Shareable)]
#[repr(u32)]
enum Message {
    Text(String),
    Number(u64),
}

#[derive(Shareable)]
struct User {
    message: Message,
    name: String,
}

#[derive(Shareable)]
struct UserOfUser(User);

fn assert<T: Shareable>() {}

fn main() {
    assert::<User>();
    assert::<Message>();
    const { <User as Shareable>::HAS_NO_DESTRUCTOR };
}
