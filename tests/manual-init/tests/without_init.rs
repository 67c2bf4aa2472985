//! A program that forgets `init` is told so, and nothing is started.

use offspring::{Error, process};

#[process]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    assert!(matches!(square(3).spawn(), Err(Error::NotInitialized)));
    println!("without_init: passed");
}
