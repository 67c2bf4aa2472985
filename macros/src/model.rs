//! A function as a process: every part of it assigned to the item of the output it belongs to.

use proc_macro2::Group;
use quote::format_ident;
use syn::{
    Attribute, FnArg, Ident, Meta, Pat, PatType, ReturnType, Signature, Type, Visibility,
    parse_quote,
};

use crate::parse;

pub(crate) struct Function {
    pub(crate) attrs: Attributes,
    pub(crate) vis: Visibility,
    /// As it was written; the arguments are also in `args`.
    pub(crate) sig: Signature,
    pub(crate) args: Vec<Argument>,
    pub(crate) output: Type,
    pub(crate) body: Group,
}

/// The attributes of a function, by the items they go to. `#[cfg]` and `#[cfg_attr]` are not among
/// them: rustc acts on those before it calls any attribute.
#[derive(Default)]
pub(crate) struct Attributes {
    /// To the struct and the constructor.
    pub(crate) docs: Vec<Attribute>,
    /// To whatever holds code or types of the user.
    pub(crate) lints: Vec<Attribute>,
    /// To the constructor.
    pub(crate) deprecated: Vec<Attribute>,
    /// To the method `run`.
    pub(crate) must_use: Vec<Attribute>,
    /// To the struct.
    pub(crate) derives: Vec<Attribute>,
    /// Everything else, to the function that holds the body.
    pub(crate) body: Vec<Attribute>,
}

/// An argument: a field of the struct, a parameter of the constructor and one of the body.
pub(crate) struct Argument {
    pub(crate) field: Ident,
    pub(crate) field_attrs: Vec<Attribute>,
    pub(crate) body_attrs: Vec<Attribute>,
    pub(crate) pat: Pat,
    pub(crate) ty: Type,
}

impl From<parse::ItemFn> for Function {
    fn from(item: parse::ItemFn) -> Self {
        let parse::ItemFn { attrs, vis, sig, body } = item;
        let mut args = Vec::new();
        for arg in &sig.inputs {
            if let FnArg::Typed(arg) = arg {
                args.push(Argument::new(arg, &args));
            }
        }
        let output = match &sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        Self { attrs: Attributes::new(attrs), vis, sig, args, output, body }
    }
}

impl Attributes {
    fn new(attrs: Vec<Attribute>) -> Self {
        let mut sorted = Self::default();
        for attr in attrs {
            let path = attr.path();
            if path.is_ident("doc") {
                sorted.docs.push(attr);
            } else if is_lint(&attr) {
                sorted.lints.push(expect_as_allow(attr));
            } else if path.is_ident("deprecated") {
                sorted.deprecated.push(attr);
            } else if path.is_ident("must_use") {
                sorted.must_use.push(attr);
            } else if path.is_ident("derive") {
                sorted.derives.push(attr);
            } else {
                sorted.body.push(attr);
            }
        }
        sorted
    }
}

impl Argument {
    fn new(arg: &PatType, before: &[Argument]) -> Self {
        let field_attrs: Vec<_> = arg.attrs.iter().cloned().map(expect_as_allow).collect();
        let body_attrs = field_attrs.iter().filter(|attr| is_lint(attr)).cloned().collect();
        Self {
            field: field(&arg.pat, before),
            field_attrs,
            body_attrs,
            pat: (*arg.pat).clone(),
            ty: (*arg.ty).clone(),
        }
    }
}

/// The name of an argument's field: its own if it has one, else `arg` and its place.
fn field(pat: &Pat, before: &[Argument]) -> Ident {
    let taken = |name: &Ident| before.iter().any(|arg| arg.field == *name);
    match pat {
        // A macro can give two arguments one name of different hygiene; fields have none.
        Pat::Ident(pat) if !taken(&pat.ident) => pat.ident.clone(),
        _ => {
            let mut name = format_ident!("arg{}", before.len());
            while taken(&name) {
                name = format_ident!("{name}_");
            }
            name
        }
    }
}

pub(crate) fn is_lint(attr: &Attribute) -> bool {
    ["allow", "expect", "warn", "deny", "forbid"].iter().any(|level| attr.path().is_ident(level))
}

/// An expectation is copied to several items, and may be met in only one of them.
pub(crate) fn expect_as_allow(mut attr: Attribute) -> Attribute {
    if attr.path().is_ident("expect")
        && let Meta::List(list) = &mut attr.meta
    {
        let span = list.path.segments[0].ident.span();
        list.path = Ident::new("allow", span).into();
    }
    attr
}
