//! Every form a type can have.
#![deny(warnings)]
use offspring::{Process, process};
use serde::{Deserialize, Serialize};

#[process]
struct Named {
    x: u32,
}

#[process]
struct Tuple(u32, String);

#[process]
#[derive(Debug, Clone, Copy, PartialEq)]
struct Unit;

#[process]
enum Either {
    Number(u32),
    Text { text: String },
    Neither,
}

#[derive(Serialize, Deserialize, Process)]
struct Derived {
    x: u32,
}

macro_rules! output {
    ($($ty:ty = |$this:ident| $run:expr;)*) => {
        $(impl Process for $ty {
            type Output = u32;

            fn run(self) -> u32 {
                let $this = self;
                $run
            }
        })*
    };
}
output! {
    Named = |this| this.x;
    Tuple = |this| this.0 + this.1.len() as u32;
    Unit = |_this| 5;
    Either = |this| match this {
        Either::Number(x) => x,
        Either::Text { text } => text.len() as u32,
        Either::Neither => 0,
    };
    Derived = |this| this.x;
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(Named { x: 1 }.spawn()?.join()?, 1);
    assert_eq!(Tuple(1, "ab".into()).spawn()?.join()?, 3);
    assert_eq!(Unit.spawn()?.join()?, 5);
    assert_eq!(Either::Number(1).spawn()?.join()?, 1);
    assert_eq!(Either::Text { text: "ab".into() }.spawn()?.join()?, 2);
    assert_eq!(Either::Neither.run(), 0);
    assert_eq!(Derived { x: 1 }.spawn()?.join()?, 1);
    Ok(())
}
