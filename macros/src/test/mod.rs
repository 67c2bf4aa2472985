//! `#[test]`: the same four stages as `#[process]`. A test becomes a process, and a test of the
//! standard harness that starts it and tells what became of it.

mod check;
mod expand;
mod model;
mod parse;
#[cfg(test)]
mod tests;
mod units;

use proc_macro2::TokenStream;
use quote::quote;

use self::model::Model;

pub(crate) fn attribute(options: TokenStream, item: TokenStream) -> TokenStream {
    let (options, option_errors) = parse::options(options);
    let item = match parse::function(item.clone()) {
        Ok(item) => item,
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#option_errors #error #item);
        }
    };
    let model = Model::new(options, item);
    let errors = check::model(&model);
    let code = match errors.is_empty() && option_errors.is_empty() {
        true => expand::model(&model),
        false => expand::fallback(&model),
    };
    quote!(#option_errors #errors #code)
}
