//! Whatever a function can be written with: patterns, `mut`, `?`, `return`, recursion, attributes.
#![deny(warnings)]
use std::num::ParseIntError;

use offspring::process;
use serde::{Deserialize, Serialize};

#[process]
fn nothing() {}

#[process]
fn unit() -> () {
    return;
}

#[derive(Serialize, Deserialize)]
struct Point {
    x: i32,
    y: i32,
}

#[process]
fn patterns(
    (a, b): (u32, u32),
    [first, .., last]: [u32; 4],
    Point { x, y: _ }: Point,
    _: String,
    whole @ (_, _): (u8, u8),
    arg0: u32,
) -> u32 {
    a + b + first + last + x as u32 + u32::from(whole.0) + arg0
}

#[process]
fn mutable(mut text: String, mut numbers: Vec<u32>) -> (String, Vec<u32>) {
    text.push('!');
    numbers.sort_unstable();
    (text, numbers)
}

#[process]
fn question_mark(text: String) -> Result<i64, String> {
    fn parse(text: &str) -> Result<i64, ParseIntError> {
        text.parse()
    }
    let number = parse(&text).map_err(|error| error.to_string())?;
    Ok(number + 1)
}

#[process]
fn early_return(x: Option<u32>) -> u32 {
    let Some(x) = x else { return 0 };
    for n in 0.. {
        if n * n >= x {
            return n;
        }
    }
    unreachable!()
}

#[process]
fn recursive(n: u64) -> u64 {
    if n < 2 { n } else { recursive(n - 1).run() + recursive(n - 2).run() }
}

#[process]
#[inline(never)]
#[allow(clippy::needless_range_loop)]
#[track_caller]
fn attributes(xs: Vec<u32>) -> u32 {
    #![allow(unused_variables)]
    let unused = 1;
    let mut sum = 0;
    for i in 0..xs.len() {
        sum += xs[i];
    }
    sum
}

#[process]
#[expect(unused_variables, unused_mut, reason = "counts as `allow`")]
fn expectations(mut x: u8) {}

#[process]
fn linted_argument(#[allow(unused_variables)] x: u8, #[expect(unused_variables)] y: u8) {}

#[process]
fn eight(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) -> [u8; 7] {
    [a, b, c, d, e, f, g]
}

#[process]
fn static_text(text: std::borrow::Cow<'static, str>) -> std::borrow::Cow<'static, str> {
    text
}

fn main() {
    nothing().run();
    unit().run();
    let point = Point { x: 1, y: 2 };
    assert_eq!(patterns((1, 2), [3, 4, 5, 6], point, String::new(), (7, 8), 9).run(), 29);
    assert_eq!(mutable("hi".into(), vec![2, 1]).run(), ("hi!".into(), vec![1, 2]));
    assert_eq!(question_mark("41".into()).run(), Ok(42));
    assert!(question_mark("x".into()).run().is_err());
    assert_eq!(early_return(Some(10)).run(), 4);
    assert_eq!(recursive(10).run(), 55);
    assert_eq!(attributes(vec![1, 2]).run(), 3);
    expectations(0).run();
    linted_argument(0, 0).run();
    assert_eq!(eight(1, 2, 3, 4, 5, 6, 7).run()[6], 7);
    assert_eq!(static_text("text".into()).run(), "text");
    assert_eq!(format!("{:?}", nothing()), "nothing { .. }");
}
