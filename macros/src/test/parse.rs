//! Reads the tokens of a test, and of `#[test(timeout = .., memory = ..)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Error, Expr, ExprLit, Ident, Lit, Path, Result, Token,
    ext::IdentExt,
    parse::{ParseStream, Parser},
    parse_quote,
};

use super::units;
use crate::{
    check::Errors,
    parse::{Item, ItemFn},
};

/// What is said in the attribute's brackets, as code: `Duration`s and numbers of bytes.
pub(super) struct Options {
    pub(super) krate: Path,
    pub(super) timeout: Option<TokenStream>,
    pub(super) memory: Option<TokenStream>,
}

pub(super) fn function(item: TokenStream) -> Result<ItemFn> {
    const MESSAGE: &str = "`#[offspring::test]` goes on a function: write the test as one";
    match syn::parse2(item.clone()) {
        Ok(Item::Function(function)) => Ok(function),
        Ok(Item::Type(ty)) => Err(Error::new_spanned(ty.ident, MESSAGE)),
        Err(_) => Err(Error::new_spanned(item, MESSAGE)),
    }
}

/// Each option that can be understood, and what is wrong with the others.
pub(super) fn options(tokens: TokenStream) -> (Options, Errors) {
    let mut options = Options { krate: parse_quote!(::offspring), timeout: None, memory: None };
    let mut errors = Errors::default();
    let read = |input: ParseStream| {
        let mut seen = Vec::new();
        while !input.is_empty() {
            let name = input.call(Ident::parse_any)?;
            if seen.contains(&name) {
                errors.at(&name, format_args!("`{name}` is said twice: drop one of the two"));
            }
            option(&name, input, &mut options, &mut errors)?;
            seen.push(name);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    if let Err(error) = read.parse2(tokens) {
        errors.extend(error.into());
    }
    (options, errors)
}

fn option(
    name: &Ident,
    input: ParseStream,
    options: &mut Options,
    errors: &mut Errors,
) -> Result<()> {
    let wanted = match &*name.to_string() {
        "crate" => "`crate` wants a path: write `crate = path::to::offspring`",
        "timeout" => "`timeout` wants a duration: write `timeout = \"5s\"`",
        "memory" => "`memory` wants a size: write `memory = \"256 MiB\"`",
        _ => {
            return Err(Error::new_spanned(
                name,
                "`#[offspring::test]` has no such option: there are `timeout = \"5s\"`, \
                 `memory = \"256 MiB\"` and `crate = path`",
            ));
        }
    };
    if !input.peek(Token![=]) {
        return Err(Error::new_spanned(name, wanted));
    }
    let in_words = |error: Error| Error::new(error.span(), wanted);
    input.parse::<Token![=]>()?;
    if name == "crate" {
        options.krate = input.call(Path::parse_mod_style).map_err(in_words)?;
        return Ok(());
    }
    let value = input.parse::<Expr>().map_err(in_words)?;
    let value = match (&value, name == "timeout") {
        (Expr::Lit(ExprLit { lit: Lit::Str(text), .. }), true) => units::millis(&text.value())
            .map(|millis| quote!(::core::time::Duration::from_millis(#millis)))
            .map_err(|message| Error::new_spanned(text, message)),
        (Expr::Lit(ExprLit { lit: Lit::Str(text), .. }), false) => units::bytes(&text.value())
            .map(|bytes| quote!(#bytes))
            .map_err(|message| Error::new_spanned(text, message)),
        (Expr::Lit(literal), _) => Err(Error::new_spanned(literal, wanted)),
        // Of a `Duration`, or of bytes: rustc sees to that.
        (other, _) => Ok(quote!(#other)),
    };
    match (value, name == "timeout") {
        (Ok(value), true) => options.timeout = Some(value),
        (Ok(value), false) => options.memory = Some(value),
        (Err(error), _) => errors.extend(error.into()),
    }
    Ok(())
}
