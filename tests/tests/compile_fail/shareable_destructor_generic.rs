//! A generic type is asked when it is used: here as everywhere that a value is moved to shared memory.
use offspring::shm::Shareable;

#[derive(Shareable)]
struct Guard<T>(T);

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {}
}

const _: () = <Guard<u8> as Shareable>::HAS_NO_DESTRUCTOR;

fn main() {}
