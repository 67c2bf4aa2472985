//! Stands in for an item with errors, so that they are the only ones: what the item declares still
//! exists, and what it mentions is still used.

use proc_macro2::{Delimiter, Group, TokenStream};
use quote::{format_ident, quote};
use syn::{
    Attribute, Data, DeriveInput, Field, FnArg, Ident, Lifetime, Path, Signature, TypeInfer,
    TypeReference, parse_quote,
    visit::{self, Visit},
};

use crate::{check, expand, model::Function};

pub(crate) fn function(krate: &Path, function: Function) -> TokenStream {
    let Function { attrs, vis, sig, body, .. } = &function;
    if sig.receiver().is_some() {
        let lints = &attrs.lints;
        return quote!(#(#lints)* #vis #sig #body);
    }
    let kept = kept_body(sig, body);
    if !check::output(&sig.output).is_empty() {
        return quote!(#kept); // nothing can be said of what its callers would get
    }
    let constructor = constructor(&function);
    let ident = &sig.ident;
    let registered = registered(krate, &parse_quote!(struct #ident {}));
    let body = Group::new(Delimiter::Brace, quote!(loop {}));
    let mut empty = Function { args: Vec::new(), body, ..function };
    empty.attrs.derives.clear();
    let arguments = expand::arguments(krate, &empty);
    let process = expand::process(krate, &empty);
    let methods = expand::methods(krate, &empty);
    quote!(#kept #constructor #arguments #process #methods #registered)
}

/// A type under `#[process]`.
pub(crate) fn attribute_type(krate: &Path, mut input: DeriveInput) -> TokenStream {
    let derived: Vec<_> = input.attrs.iter().flat_map(check::derives).collect();
    let derives = |name| derived.iter().any(|path| check::last_name(path) == name);
    let registered = (!derives("Process")).then(|| registered(krate, &input));
    let serialize = (!derives("Serialize")).then(|| serialize(krate, &input));
    let deserialize = (!derives("Deserialize")).then(|| deserialize(krate, &input));
    if !derives("Serialize") && !derives("Deserialize") {
        strip_serde(&mut input);
    }
    quote!(#input #registered #serialize #deserialize)
}

pub(crate) fn derived_type(krate: &Path, input: &DeriveInput) -> TokenStream {
    registered(krate, input)
}

/// The function under another name, if it is one that rustc accepts.
fn kept_body(sig: &Signature, body: &Group) -> Option<TokenStream> {
    let inputs = Open::find(|open| visit::visit_signature(open, sig));
    let output = Open::find(|open| open.visit_return_type(&sig.output));
    if inputs.inferred || output.elided || sig.variadic.is_some() {
        return None;
    }
    let ident = Ident::new("__offspring_body", sig.ident.span());
    let mut sig = Signature { ident, constness: None, abi: None, ..sig.clone() };
    for arg in &mut sig.inputs {
        if let FnArg::Typed(arg) = arg {
            arg.attrs.clear(); // serde's
        }
    }
    Some(quote! {
        const _: () = {
            #[allow(warnings)]
            #sig #body
        };
    })
}

/// Takes what the original takes; anything, where that is left open.
fn constructor(function: &Function) -> TokenStream {
    let Function { vis, sig, args, .. } = function;
    let (ident, mut generics) = (&sig.ident, sig.generics.clone());
    let mut types = Vec::new();
    for arg in args {
        let mut ty = arg.ty.clone();
        if Open::find(|open| open.visit_type(&ty)).inferred {
            let any = format_ident!("__T{}", types.len());
            generics.params.push(parse_quote!(#any));
            ty = parse_quote!(#any);
        }
        types.push(ty);
    }
    let clause = &generics.where_clause;
    quote! {
        #vis fn #ident #generics(#(_: #types),*) -> #ident #clause {
            #ident {}
        }
    }
}

/// What a type leaves to rustc, which in some places declines.
#[derive(Default)]
struct Open {
    inferred: bool,
    elided: bool,
}

impl Open {
    fn find(visit: impl FnOnce(&mut Self)) -> Self {
        let mut open = Self::default();
        visit(&mut open);
        open
    }
}

impl<'ast> Visit<'ast> for Open {
    fn visit_type_infer(&mut self, _: &'ast TypeInfer) {
        self.inferred = true;
    }

    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        self.elided |= reference.lifetime.is_none();
        visit::visit_type_reference(self, reference);
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        self.elided |= lifetime.ident == "_";
    }
}

fn registered(krate: &Path, input: &DeriveInput) -> TokenStream {
    let (ident, serde) = (&input.ident, quote!(#krate::__private::serde));
    let (_, args, _) = input.generics.split_for_impl();
    let mut generics = input.generics.clone();
    generics.make_where_clause().predicates.push(parse_quote! {
        #ident #args: #serde::Serialize + #serde::de::DeserializeOwned + 'static
    });
    let (generics, _, clause) = generics.split_for_impl();
    quote! {
        impl #generics #krate::__private::Registered for #ident #args #clause {
            fn entry() -> &'static #krate::__private::Entry {
                loop {}
            }
        }
    }
}

fn serialize(krate: &Path, input: &DeriveInput) -> TokenStream {
    let (ident, serde) = (&input.ident, quote!(#krate::__private::serde));
    let (generics, args, clause) = input.generics.split_for_impl();
    quote! {
        impl #generics #serde::Serialize for #ident #args #clause {
            fn serialize<__S: #serde::Serializer>(
                &self,
                _: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                loop {}
            }
        }
    }
}

fn deserialize(krate: &Path, input: &DeriveInput) -> TokenStream {
    let (ident, serde) = (&input.ident, quote!(#krate::__private::serde));
    let mut generics = input.generics.clone();
    generics.params.insert(0, parse_quote!('__de));
    let (generics, ..) = generics.split_for_impl();
    let (_, args, clause) = input.generics.split_for_impl();
    quote! {
        impl #generics #serde::Deserialize<'__de> for #ident #args #clause {
            fn deserialize<__D: #serde::Deserializer<'__de>>(
                _: __D,
            ) -> ::core::result::Result<Self, __D::Error> {
                loop {}
            }
        }
    }
}

/// With no derive of serde's, its attributes are unknown.
fn strip_serde(input: &mut DeriveInput) {
    let strip = |attrs: &mut Vec<Attribute>| attrs.retain(|attr| !attr.path().is_ident("serde"));
    let strip_field = |field: &mut Field| strip(&mut field.attrs);
    strip(&mut input.attrs);
    match &mut input.data {
        Data::Struct(data) => data.fields.iter_mut().for_each(strip_field),
        Data::Union(data) => data.fields.named.iter_mut().for_each(strip_field),
        Data::Enum(data) => {
            for variant in &mut data.variants {
                strip(&mut variant.attrs);
                variant.fields.iter_mut().for_each(strip_field);
            }
        }
    }
}
