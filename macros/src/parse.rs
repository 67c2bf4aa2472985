//! Reads the tokens of an item and of the attribute's options.

use proc_macro2::{Delimiter, Group, TokenStream};
use syn::{
    Abi, Attribute, DeriveInput, Error, Meta, Path, Result, Signature, Token, Visibility, braced,
    parse::{Parse, ParseStream, Parser},
    parse_quote,
};

use crate::check::Errors;

/// What `#[process]` can stand on.
pub(crate) enum Item {
    Function(ItemFn),
    Type(DeriveInput),
}

/// A function, whose body is left as it is: what rustc accepts there is none of our business.
pub(crate) struct ItemFn {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
}

impl Parse for Item {
    fn parse(input: ParseStream) -> Result<Self> {
        let ahead = input.fork();
        ahead.call(Attribute::parse_outer)?;
        ahead.parse::<Visibility>()?;
        if ahead.peek(Token![struct]) || ahead.peek(Token![enum]) || ahead.peek(Token![union]) {
            return input.parse().map(Self::Type);
        }
        if is_function(&ahead.fork())? {
            return input.parse().map(Self::Function);
        }
        Err(ahead.error(if ahead.peek(Token![impl]) {
            "`#[process]` goes on the type, not on an `impl`: \
             write `#[process]` above its `struct` or `enum`, and nothing here"
        } else {
            "`#[process]` goes on a function, a struct or an enum: \
             write the work as one of them"
        }))
    }
}

fn is_function(ahead: ParseStream) -> Result<bool> {
    ahead.parse::<Option<Token![const]>>()?;
    ahead.parse::<Option<Token![async]>>()?;
    ahead.parse::<Option<Token![unsafe]>>()?;
    ahead.parse::<Option<Abi>>()?;
    Ok(ahead.peek(Token![fn]))
}

impl Parse for ItemFn {
    fn parse(input: ParseStream) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig = input.parse()?;
        if input.peek(Token![;]) {
            return Err(input.error(
                "a process needs a body: write `#[process]` on a free function, \
                 not on a declaration in a trait or an `extern` block",
            ));
        }
        let content;
        let brace = braced!(content in input);
        let mut body = Group::new(Delimiter::Brace, content.parse()?);
        body.set_span(brace.span.join());
        Ok(Self { attrs, vis, sig, body })
    }
}

/// The options of `#[process(..)]`: the path of the crate `offspring`.
pub(crate) fn options(tokens: TokenStream) -> (Path, Errors) {
    match option.parse2(tokens) {
        Ok(krate) => (krate.unwrap_or_else(default_path), Errors::default()),
        Err(error) => (default_path(), error.into()),
    }
}

/// The options of the helper attribute of `#[derive(Process)]`.
pub(crate) fn helper_options(attrs: &[Attribute]) -> (Path, Errors) {
    match attrs.iter().find(|attr| attr.path().is_ident("process")).map(|attr| &attr.meta) {
        None => (default_path(), Errors::default()),
        Some(Meta::List(list)) => options(list.tokens.clone()),
        Some(meta) => {
            let message = "`#[process]` derives `Process` already: drop one of the two";
            (default_path(), Error::new_spanned(meta, message).into())
        }
    }
}

fn default_path() -> Path {
    parse_quote!(::offspring)
}

fn option(input: ParseStream) -> Result<Option<Path>> {
    if input.is_empty() {
        return Ok(None);
    }
    if !input.peek(Token![crate]) {
        return Err(input.error(
            "`#[process]` has no such option: what its child is like is said with \
             `offspring::Builder`, and `#[process(crate = path)]` is for a program in which \
             `offspring` has another name",
        ));
    }
    input.parse::<Token![crate]>()?;
    let unquoted = |error: Error| {
        Error::new(error.span(), "`crate` wants a path: write `crate = path::to::offspring`")
    };
    input.parse::<Token![=]>().map_err(unquoted)?;
    let path = input.call(Path::parse_mod_style).map_err(unquoted)?;
    if path.segments.iter().any(|segment| segment.ident == "$crate") {
        return Err(Error::new_spanned(
            &path,
            "serde reads this path as text, in which `$crate` means nothing: \
             write the crate's name out",
        ));
    }
    input.parse::<Option<Token![,]>>()?;
    if !input.is_empty() {
        return Err(input.error("`#[process]` has no other option than `crate`: drop this"));
    }
    Ok(Some(path))
}
