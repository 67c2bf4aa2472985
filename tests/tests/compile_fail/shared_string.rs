use offspring::shm::{Shared, SharedMut, SharedSlice};
use offspring::sync::Mutex;

// What these hold is in the memory of one process.
fn main() {
    let _made = Shared::new(String::new());
    let _slice = SharedSlice::from_slice(&["text"]);
    let _array = SharedMut::from_fn(1, |_| String::new());
    let _locked = Mutex::new(vec![1]);
}
