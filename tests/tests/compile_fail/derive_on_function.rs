use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct NotClone;

#[offspring::process]
#[derive(Clone)]
fn takes_what_cannot_be_cloned(value: NotClone) {
    drop(value);
}

#[offspring::process]
#[derive(Clone, Serialize, serde::Deserialize, offspring::Process)]
fn derives_what_it_has(x: u32) -> u32 {
    x
}

#[derive(Clone)]
#[offspring::process]
fn derives_above(x: u32) -> u32 {
    x
}

fn main() {
    takes_what_cannot_be_cloned(NotClone).run();
    let _: u32 = derives_what_it_has(1).run();
    let _: u32 = derives_above(1).run();
}
