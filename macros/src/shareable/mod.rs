//! `#[derive(Shareable)]`: the same four stages as `#[process]`, and what stands in for a type with
//! errors, in `expand`. `zeroable` is `#[derive(Zeroable)]`, which asks another trait of the same fields.

mod check;
mod expand;
mod instead;
mod model;
mod parse;
#[cfg(test)]
mod tests;
mod zeroable;

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

pub(crate) use self::zeroable::derive as derive_zeroable;

use self::model::{Model, Trait};

pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let (krate, option_errors) = parse::helper_options(&input.attrs);
    let model = Model::new(krate, Trait::Shareable, input);
    let errors = check::model(&model);
    let code = match errors.is_empty() {
        true => expand::model(&model),
        false => expand::fallback(&model),
    };
    quote!(#option_errors #errors #code)
}
