//! A program's own rules are not broken by what the attribute writes for it.
#![forbid(unsafe_code)]
#![deny(
    warnings,
    missing_docs,
    missing_debug_implementations,
    missing_copy_implementations,
    unreachable_pub,
    unused_qualifications,
    unused_results,
    unused_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    non_local_definitions,
    elided_lifetimes_in_paths,
    clippy::all
)]
use offspring::{Process, process};
use serde::{Deserialize, Serialize};

/// Documented.
#[process]
pub fn documented(
    /// So is the argument.
    x: u64,
) -> u64 {
    x
}

/// Documented.
#[process]
#[must_use]
pub fn result(x: u64) -> Option<u64> {
    Some(x)
}

#[process]
fn private() {}

#[process]
pub(crate) fn crate_wide(big: Box<[u64; 32]>) -> u64 {
    big[0]
}

/// Documented.
pub mod module {
    #[super::process]
    pub(super) fn parent() {}

    /// Documented.
    #[super::process]
    pub fn public() {}
}

/// Documented.
#[process]
#[derive(Debug, Clone)]
pub struct Looper {
    /// Documented.
    pub x: String,
}

impl Process for Looper {
    type Output = String;

    fn run(self) -> String {
        self.x
    }
}

/// Documented.
#[derive(Serialize, Deserialize, Process, Debug, Clone)]
pub struct Derived(String);

impl Process for Derived {
    type Output = ();

    fn run(self) {
        #[process]
        fn within(x: String) -> String {
            x
        }
        let _: String = within(self.0).run();
    }
}

/// Documented.
#[process]
#[deprecated = "only its users are told"]
pub fn old() {}

#[process]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn many(
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
    f: u8,
    g: u8,
    h: Result<Vec<Option<(u8, u8, Vec<u8>)>>, Vec<Result<Option<u8>, Option<Vec<(u8, u8)>>>>>,
) -> u8 {
    drop(h);
    a + b + c + d + e + f + g
}

fn main() {
    private().run();
    module::parent().run();
    module::public().run();
    let _: u64 = crate_wide(Box::new([0; 32])).run() + documented(1).run();
    let _: Option<u64> = result(1).run();
    let _: u8 = many(1, 2, 3, 4, 5, 6, 7, Ok(Vec::new())).run();
    let _: String = Looper { x: String::new() }.run();
    Derived(String::new()).run();
}
