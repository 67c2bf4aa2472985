//! `#[offspring::test]` in a program that is no test: it is checked, and left out.
#![deny(warnings, missing_docs)]
#![allow(dead_code)]

use std::time::Duration;

extern crate offspring as young;

const LIMIT: Duration = Duration::from_secs(3);

/// Documented.
#[offspring::test(timeout = LIMIT * 2, memory = 1 << 30)]
#[ignore]
#[allow(unused_variables)]
pub fn expressions() -> Result<(), Box<dyn std::error::Error>> {
    let unused = 3;
    Ok(())
}

#[offspring::test(crate = young, timeout = "1_500 ms", memory = "256 MiB",)]
#[should_panic(expected = "r")]
fn r#loop() {
    panic!("r");
}

fn main() {
    assert_eq!(LIMIT.as_secs(), 3);
}
