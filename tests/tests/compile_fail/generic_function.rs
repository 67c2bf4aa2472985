use std::fmt::Display;

use offspring::process;

#[process]
fn show<T: Display>(x: T) -> String {
    x.to_string()
}

#[process]
fn total<const N: usize>(numbers: [u64; N]) -> u64
where
    [u64; N]: Sized,
{
    numbers.iter().sum()
}

#[process]
fn longest<'a>(a: &'a str, b: &'a str) -> usize {
    a.len().max(b.len())
}

fn main() {
    let _: String = show(1).run();
    let _: u64 = total([1, 2]).run();
    let _: usize = longest("a", "b").run();
}
