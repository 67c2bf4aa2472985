//! `#[derive(Zeroable)]`: of a struct of which every field is.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, parse_quote};

use super::expand;
use super::model::{Body, Model, Trait};
use super::parse;
use crate::check::Errors;

pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let (krate, option_errors) = parse::helper_options(&input.attrs);
    let model = Model::new(krate, Trait::Zeroable, input);
    let mut errors = Errors::default();
    let code = match &model.body {
        Body::Struct(fields) => {
            let implementation = expand::checked(&model, expand::every_field(&model, fields));
            quote!(const _: () = { #implementation };)
        }
        Body::Enum(_) => {
            errors.at(
                &model.ident,
                "an enum need not have a variant that is 0, and one without is not zeroed: hold a number, \
                 and name its values by constants; or make the values by `from_fn`",
            );
            fallback(&model)
        }
        Body::Union(token) => {
            errors.at(token, "a union does not lie in shared memory: write a struct");
            fallback(&model)
        }
    };
    quote!(#option_errors #errors #code)
}

/// Stands in for the implementation of a type with errors, so that they are the only ones.
fn fallback(model: &Model) -> TokenStream {
    let krate = &model.krate;
    let mut generics = model.bounded.clone();
    // `for`, because rustc looks at a bound without parameters at once, and it may not hold.
    generics.make_where_clause().predicates.push(parse_quote! {
        for<'__offspring> Self: #krate::shm::Shareable
    });
    expand::implementation(model, &generics, TokenStream::new())
}
