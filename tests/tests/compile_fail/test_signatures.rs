use offspring::test;

#[test]
async fn waits() {}

#[test]
fn takes(x: u32) {
    let _ = x;
}

#[test]
fn is_generic<T>() {}

#[test]
const fn early() {}

#[test]
unsafe fn dangerous() {}

#[test]
extern "C" fn foreign() {}

#[offspring::test]
#[core::prelude::v1::test]
fn twice() {}

#[test]
#[should_panic]
fn panics_and_returns() -> Result<(), String> {
    Ok(())
}

#[test]
async fn everything<T>(a: T, mut b: u8) {}

fn main() {}
