use std::{borrow::Cow, ffi::CStr, ffi::OsStr, path::Path};

use offspring::process;

struct Config;
struct View<'a>(&'a str);

#[process]
fn text(name: &str) {}

#[process]
fn standard(numbers: &[u8], path: &Path, os: &OsStr, c: &CStr, nested: Vec<Option<&str>>) {}

#[process]
fn other(config: &mut Config, tuples: &[(u8, Vec<u8>)], array: [&u8; 2]) {}

#[process]
fn forever(name: &'static str) {}

#[process]
fn lifetimes(view: View<'_>, cow: Cow<'_, str>) {}

#[process]
fn trait_object(value: &dyn std::fmt::Debug) {}

#[process]
fn with_attributes(
    #[serde(skip)]
    #[allow(unused)]
    count: u8,
    name: &str,
) {
}

fn main() {
    text("a").spawn().unwrap().join().unwrap();
    standard(&[], Path::new(""), OsStr::new(""), c"", vec![]).run();
    other(&mut Config, &[], [&1, &2]).run();
    forever("").run();
    lifetimes(View(""), Cow::Borrowed("")).run();
    trait_object(&1).run();
    with_attributes(1, "").run();
}
