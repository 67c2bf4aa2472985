//! What is derived below `#[process]` is derived by the type that holds a function's arguments.
#![deny(warnings, missing_debug_implementations)]
use std::collections::HashSet;

use offspring::{Pool, process};

#[process]
#[derive(Clone)]
fn join(words: Vec<String>, with: String) -> String {
    words.join(&with)
}

/// With its arguments, which it otherwise is silent about.
#[process]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[must_use]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

/// Several, and by a path.
#[process]
#[derive(::core::clone::Clone)]
#[inline(never)]
#[derive(std::fmt::Debug)]
fn nothing() {}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let work = join(vec!["a".into(), "b".into()], "-".into());
    assert_eq!(work.clone().spawn()?.join()?, "a-b");
    let pool = Pool::new(1)?;
    assert_eq!(pool.apply(work.clone())?, "a-b");
    assert_eq!(work.run(), "a-b");

    let work = add(1, 2);
    assert_eq!((work.run(), work.spawn()?.join()?), (3, 3));
    assert_eq!(format!("{work:?}"), "add { a: 1, b: 2 }");
    assert_eq!(HashSet::from([work, add(1, 2), add::default()]).len(), 2);

    assert_eq!(format!("{:?}", nothing().clone()), "nothing");
    Ok(())
}
