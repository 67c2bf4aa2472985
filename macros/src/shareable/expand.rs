//! Writes the implementation, and beside it what makes it sound:
//!
//! - A struct is its fields and padding, and the compiler is asked whether each field is `Shareable`:
//!   then none holds an address, and any mixture of the bytes of two values is a value.
//! - An enum has no fields and is one byte, which a mixture takes from one value or the other.
//! - A destructor of its own is asserted away; that of a generic type by the trait's constant, where
//!   a value is moved into shared memory.
//!
//! The code has no `#[allow(unsafe_code)]`, which would be an error under the user's
//! `#![forbid(unsafe_code)]`: rustc does not report this lint of code that a derive has written. It
//! tells such code by its spans, so a token that is not the user's own has `Span::call_site()`, if
//! need be `located_at` a token of the user's.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Fields, Generics, Ident, Member, Type, Variant, parse_quote, spanned::Spanned};

use super::model::{Body, Enum, Model};

pub(super) fn model(model: &Model) -> TokenStream {
    let (check, fields, one_byte) = match &model.body {
        Body::Struct(fields) => (every_field(model, fields), &fields[..], None),
        Body::Enum(body) => (every_variant(&body.variants), &[][..], one_byte(model, body)),
        Body::Union(_) => unreachable!("refused by `check`"),
    };
    let implementation = checked(model, check);
    let no_destructor = no_destructor(model, fields);
    quote! {
        const _: () = {
            #implementation
            #no_destructor
            #one_byte
        };
    }
}

/// The implementation, and the `check` of what it vouches for.
pub(super) fn checked(model: &Model, check: TokenStream) -> TokenStream {
    let Model { krate, derived, lints, bounded, .. } = model;
    let implementation = implementation(model, bounded, TokenStream::new());
    let (ident, asked, asks) = (ident(model), derived.path(krate), derived.asks());
    let (generics, args, clause) = bounded.split_for_impl();
    quote! {
        #implementation

        // Not of the tokens that the derive has seen: an attribute below it may have changed the type
        // since. In a trait, because a field's type may speak of `Self`.
        trait __OffspringCheck {
            fn check(&self);
        }

        #(#lints)*
        impl #generics __OffspringCheck for #ident #args #clause {
            fn check(&self) {
                fn #asks<T: ?::core::marker::Sized + #asked>(_: *const T) {}
                #check
            }
        }
    }
}

/// Stands in for the implementation of a type with errors, so that they are the only ones.
pub(super) fn fallback(model: &Model) -> TokenStream {
    let mut generics = model.bounded.clone();
    // `for`, because rustc looks at a bound without parameters at once, and it may not hold.
    generics.make_where_clause().predicates.push(parse_quote! {
        for<'__offspring> Self: ::core::marker::Send + 'static
    });
    implementation(
        model,
        &generics,
        quote!(
            const HAS_NO_DESTRUCTOR: () = ();
        ),
    )
}

pub(super) fn implementation(
    model: &Model,
    generics: &Generics,
    items: TokenStream,
) -> TokenStream {
    let Model { krate, derived, lints, .. } = model;
    let (ident, derived) = (ident(model), derived.path(krate));
    let (generics, args, clause) = generics.split_for_impl();
    quote! {
        #(#lints)*
        unsafe impl #generics #derived for #ident #args #clause { #items }
    }
}

/// By pointers, because the fields of a packed struct cannot be borrowed.
pub(super) fn every_field(model: &Model, fields: &[(Member, Type)]) -> TokenStream {
    let asks = model.derived.asks();
    let names = fields.iter().map(|(name, _)| name);
    let checks = fields.iter().map(|(name, ty)| {
        let at = Span::call_site().located_at(ty.span());
        quote_spanned!(at=> #asks::<#ty>(&raw const self.#name);)
    });
    quote! {
        let Self { #(#names: _),* } = self;
        #(#checks)*
    }
}

fn every_variant(variants: &[Variant]) -> TokenStream {
    let patterns = variants.iter().map(|Variant { ident, fields, .. }| match fields {
        Fields::Unit => quote!(Self::#ident),
        Fields::Unnamed(_) => quote!(Self::#ident()),
        Fields::Named(_) => quote!(Self::#ident {}),
    });
    quote!(match self { #(#patterns => {})* })
}

/// That the type has no destructor of its own. What a field has is told at the field, which is not
/// shareable then. Of a generic type, the trait's `HAS_NO_DESTRUCTOR` asks when it is used.
fn no_destructor(model: &Model, fields: &[(Member, Type)]) -> Option<TokenStream> {
    if !model.generics.params.is_empty() {
        return None;
    }
    let ident = ident(model);
    let types = fields.iter().map(|(_, ty)| ty);
    let lints = &model.lints;
    let message = format!(
        "`{ident}` has a destructor, which nobody would run in shared memory, for no process knows \
         that it is the last: drop its `impl Drop`, and write a function for what it does"
    );
    let assertion = quote_spanned! {ident.span()=>
        const _: () =
            ::core::assert!(!<#ident as __OffspringDestructor>::OF_ITS_OWN, #message);
    };
    Some(quote! {
        trait __OffspringDestructor {
            const OF_ITS_OWN: bool;
        }

        #(#lints)*
        impl __OffspringDestructor for #ident {
            const OF_ITS_OWN: bool = ::core::mem::needs_drop::<Self>()
                #(&& !::core::mem::needs_drop::<#types>())*;
        }

        #assertion
    })
}

/// That an enum whose layout is rustc's choice is the byte it seems to be.
fn one_byte(model: &Model, body: &Enum) -> Option<TokenStream> {
    let ident = ident(model);
    let message = format!(
        "`{ident}` takes more than one byte, and a killed process may leave half of each of two \
         values: write `#[repr(u8)]`, and numbers up to 255"
    );
    (!body.is_a_byte()).then(|| {
        quote_spanned! {ident.span()=>
            const _: () = ::core::assert!(::core::mem::size_of::<#ident>() <= 1, #message);
        }
    })
}

/// The name of the type, of which rustc does not say that it is deprecated.
fn ident(Model { ident, .. }: &Model) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(Span::call_site().located_at(ident.span()));
    ident
}
