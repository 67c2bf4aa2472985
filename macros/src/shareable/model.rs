//! A type as something to share: its parameters with their bounds, and what it is made of.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{
    Attribute, Data, DeriveInput, GenericParam, Generics, Ident, Member, Meta, Path, Token, Type,
    Variant, parse_quote, punctuated::Punctuated,
};

use crate::model::{expect_as_allow, is_lint};

/// What is derived, and asked of every field.
#[derive(Clone, Copy)]
pub(super) enum Trait {
    Shareable,
    Zeroable,
}

impl Trait {
    pub(super) fn path(self, krate: &Path) -> TokenStream {
        match self {
            Self::Shareable => quote!(#krate::shm::Shareable),
            Self::Zeroable => quote!(#krate::shm::Zeroable),
        }
    }

    /// The function that asks it of a field: what the compiler names if the answer is no.
    pub(super) fn asks(self) -> Ident {
        let name = match self {
            Self::Shareable => "__offspring_shareable",
            Self::Zeroable => "__offspring_zeroable",
        };
        Ident::new(name, Span::call_site())
    }
}

pub(super) struct Model {
    pub(super) krate: Path,
    pub(super) derived: Trait,
    pub(super) ident: Ident,
    /// What the user says of lints goes to all that repeats tokens of the user's.
    pub(super) lints: Vec<Attribute>,
    /// As they were written.
    pub(super) generics: Generics,
    /// With the trait asked of every type parameter.
    pub(super) bounded: Generics,
    pub(super) body: Body,
}

pub(super) enum Body {
    Struct(Vec<(Member, Type)>),
    Enum(Enum),
    Union(Token![union]),
}

pub(super) struct Enum {
    /// The words within `#[repr(..)]`.
    pub(super) reprs: Vec<Meta>,
    pub(super) variants: Vec<Variant>,
}

impl Enum {
    /// Whether rustc promises that it is one byte.
    pub(super) fn is_a_byte(&self) -> bool {
        self.reprs.iter().any(is_byte)
    }
}

impl Model {
    pub(super) fn new(krate: Path, derived: Trait, input: DeriveInput) -> Self {
        let body = match input.data {
            Data::Struct(data) => Body::Struct(
                data.fields
                    .members()
                    .zip(&data.fields)
                    .map(|(member, field)| (member, field.ty.clone()))
                    .collect(),
            ),
            Data::Enum(data) => Body::Enum(Enum {
                reprs: input.attrs.iter().flat_map(reprs).collect(),
                variants: data.variants.into_iter().collect(),
            }),
            Data::Union(data) => Body::Union(data.union_token),
        };
        let lints = input.attrs.into_iter().filter(is_lint).map(expect_as_allow).collect();
        let bound = derived.path(&krate);
        let mut bounded = input.generics.clone();
        for param in &mut bounded.params {
            if let GenericParam::Type(param) = param {
                param.bounds.push(parse_quote!(#bound));
            }
        }
        Self { krate, derived, ident: input.ident, lints, generics: input.generics, bounded, body }
    }
}

pub(super) fn is_byte(repr: &Meta) -> bool {
    repr.path().is_ident("u8") || repr.path().is_ident("i8")
}

/// The words within `#[repr(..)]`; nothing for another attribute.
fn reprs(attr: &Attribute) -> Vec<Meta> {
    if !attr.path().is_ident("repr") {
        return Vec::new();
    }
    attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        .map(|reprs| reprs.into_iter().collect())
        .unwrap_or_default()
}
