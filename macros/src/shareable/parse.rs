//! Reads the options of the helper attribute, `#[shareable(crate = path)]`.

use syn::{
    Attribute, Error, Meta, Path, Result, Token,
    parse::{ParseStream, Parser},
    parse_quote,
};

use crate::check::Errors;

pub(super) fn helper_options(attrs: &[Attribute]) -> (Path, Errors) {
    let mut options = attrs.iter().filter(|attr| attr.path().is_ident("shareable"));
    let Some(first) = options.next() else {
        return (default_path(), Errors::default());
    };
    let mut errors = Errors::default();
    for attr in options {
        errors.at(attr, "`#[shareable(crate = path)]` is said once: drop this");
    }
    let krate = match &first.meta {
        Meta::List(list) => option.parse2(list.tokens.clone()),
        meta => Err(Error::new_spanned(
            meta,
            "`shareable` is no attribute by itself: write `#[derive(Shareable)]`",
        )),
    };
    let krate = krate.unwrap_or_else(|error| {
        errors.extend(error.into());
        default_path()
    });
    (krate, errors)
}

fn default_path() -> Path {
    parse_quote!(::offspring)
}

fn option(input: ParseStream) -> Result<Path> {
    if !input.peek(Token![crate]) {
        return Err(input.error(
            "`#[shareable]` has no other option than `crate`: \
             `#[shareable(crate = path)]` is for a program in which `offspring` has another name",
        ));
    }
    input.parse::<Token![crate]>()?;
    let unquoted = |error: Error| {
        Error::new(error.span(), "`crate` wants a path: write `crate = path::to::offspring`")
    };
    input.parse::<Token![=]>().map_err(unquoted)?;
    let path = input.call(Path::parse_mod_style).map_err(unquoted)?;
    input.parse::<Option<Token![,]>>()?;
    if !input.is_empty() {
        return Err(input.error("`#[shareable]` has no other option than `crate`: drop this"));
    }
    Ok(path)
}
