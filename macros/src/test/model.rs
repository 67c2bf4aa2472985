//! A test: what of it belongs to the harness, and what to the process.

use proc_macro2::Group;
use syn::{Attribute, Signature, Visibility};

use super::parse::Options;
use crate::parse::ItemFn;

pub(super) struct Model {
    pub(super) options: Options,
    /// All of them stand on the harness's test: `#[ignore]`, docs, and lints, which hold for what
    /// is inside of it, too.
    pub(super) attrs: Vec<Attribute>,
    pub(super) vis: Visibility,
    pub(super) sig: Signature,
    pub(super) body: Group,
}

impl Model {
    pub(super) fn new(options: Options, item: ItemFn) -> Self {
        let ItemFn { attrs, vis, sig, body } = item;
        Self { options, attrs, vis, sig, body }
    }

    pub(super) fn attr(&self, name: &str) -> Option<&Attribute> {
        self.attrs.iter().find(|attr| attr.path().is_ident(name))
    }
}

/// Whether an attribute makes another test of a function: `#[test]`, `#[tokio::test]`.
pub(super) fn makes_a_test(attr: &Attribute) -> bool {
    attr.path().segments.last().is_some_and(|segment| segment.ident == "test")
}

/// Whether an attribute means something on a test only.
pub(super) fn is_of_a_test(attr: &Attribute) -> bool {
    makes_a_test(attr) || attr.path().is_ident("should_panic") || attr.path().is_ident("ignore")
}
