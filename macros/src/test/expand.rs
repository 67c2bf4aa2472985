//! Writes a test of the standard harness, with the process that it starts inside of it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{ReturnType, ext::IdentExt, spanned::Spanned};

use super::model::{Model, is_of_a_test};

pub(super) fn model(model: &Model) -> TokenStream {
    let Model { options, attrs, vis, sig, body } = model;
    let (krate, ident, returns) = (&options.krate, &sig.ident, &sig.output);
    let name = ident.unraw().to_string();
    let testing = quote!(#krate::__private::testing);
    let timeout = optional(&options.timeout);
    let memory = optional(&options.memory);
    let should_panic = model.attr("should_panic").is_some();
    // The bound on what a test returns is reported at that type.
    let span = match returns {
        ReturnType::Default => ident.span(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let passes = quote_spanned!(span=> passes);
    quote! {
        #(#attrs)*
        #[::core::prelude::v1::test]
        #vis fn #ident() {
            #[#krate::process(crate = #krate)]
            fn #ident() -> bool {
                fn __offspring_body() #returns #body
                #testing::#passes(__offspring_body())
            }

            let test = #testing::Test {
                name: #name,
                timeout: #timeout,
                memory: #memory,
                should_panic: #should_panic,
            };
            test.run(#ident());
        }
    }
}

fn optional(value: &Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

/// The function as it is, if it is to be no test for its errors: so that they are the only ones.
pub(super) fn fallback(model: &Model) -> TokenStream {
    let Model { attrs, vis, sig, body, .. } = model;
    if sig.receiver().is_some() {
        return TokenStream::new();
    }
    let attrs = attrs.iter().filter(|attr| !is_of_a_test(attr));
    quote! {
        #(#attrs)*
        #[allow(unused)]
        #vis #sig #body
    }
}
