#![deny(warnings)]
use offspring::process;

#[process]
fn square(x: u64) -> u64 {
    x * x
}

#[process]
#[deprecated = "use `square`"]
fn old() {}

#[process]
fn unused(x: u8, mut y: u8) {
    let z = y;
}

#[process]
#[must_use]
fn result() -> u8 {
    1
}

fn main() {
    square(3);
    let _ = old().run();
    let _ = unused(1, 2).run();
    result().run();
}
