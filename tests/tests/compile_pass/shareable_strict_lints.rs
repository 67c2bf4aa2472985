//! A program's own rules are not broken by what the derive writes for it, not even by the `unsafe`
//! in it: rustc does not look for that in code that a derive has written.
#![forbid(unsafe_code)]
#![deny(
    warnings,
    deprecated,
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
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    elided_lifetimes_in_paths,
    clippy::all
)]
use offspring::shm::Shareable;

/// Documented.
#[derive(Debug, Shareable, Clone, Copy)]
pub struct Public<T, const N: usize> {
    /// Documented.
    pub field: [T; N],
    private: u8,
}

/// Documented.
#[derive(Debug, Shareable, Clone, Copy)]
pub enum Level {
    /// Documented.
    Low,
    /// Documented.
    High,
}

/// Documented.
#[derive(Debug, Shareable, Clone, Copy)]
#[deprecated = "only its users are told"]
pub struct Old {
    /// Documented.
    pub x: u8,
}

/// Documented.
#[derive(Debug, Shareable, Clone, Copy)]
#[expect(non_snake_case)]
pub struct Partly {
    /// Documented.
    #[deprecated = "only its users are told"]
    pub old: u8,
    /// Documented.
    pub notSnake: u8,
}

/// Documented.
#[derive(Debug, Shareable, Clone, Copy)]
pub enum PartlyEnum {
    /// Documented.
    #[deprecated = "only its users are told"]
    Old,
    /// Documented.
    New,
}

/// Documented.
#[derive(Debug, Shareable, Clone, Copy)]
#[expect(non_camel_case_types)]
pub struct not_camel(pub u8);

/// Documented.
pub mod module {
    use crate::Shareable;

    #[derive(Debug, Shareable, Clone, Copy)]
    pub(super) struct Parent(pub(super) u8);
}

fn main() {
    fn assert<T: Shareable>(_: T) {}
    assert(Public { field: [Level::Low, Level::High], private: 1 }.private);
    assert(module::Parent(1).0);

    #[derive(Debug, Shareable, Clone, Copy)]
    struct Local(u8);
    assert(Local(1).0);
}
