use std::fmt::Display;

use offspring::process;

#[process]
fn show(x: impl Display, more: Vec<impl Display>) -> String {
    let _ = more;
    x.to_string()
}

#[process]
fn numbers() -> impl Iterator<Item = u32> {
    0..3
}

fn main() {
    let _: String = show(1, vec![2]).run();
}
