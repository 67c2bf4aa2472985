//! The runtime under another name.
#![deny(warnings)]

mod vendor {
    pub(crate) use offspring as processes;
}
use vendor::processes::{self, Process};

#[processes::process(crate = crate::vendor::processes)]
fn square(x: u64) -> u64 {
    x * x
}

mod inner {
    #[crate::processes::process(crate = super::processes,)]
    pub(crate) struct Unit;
}

impl Process for inner::Unit {
    type Output = u64;

    fn run(self) -> u64 {
        1
    }
}

#[derive(serde::Serialize, serde::Deserialize, Process)]
#[process(crate = vendor::processes)]
struct Derived;

impl Process for Derived {
    type Output = u64;

    fn run(self) -> u64 {
        2
    }
}

fn main() {
    assert_eq!(square(3).spawn().unwrap().join().unwrap(), 9);
    assert_eq!(inner::Unit.spawn().unwrap().join().unwrap(), 1);
    assert_eq!(Derived.spawn().unwrap().join().unwrap(), 2);
}
