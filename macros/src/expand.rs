//! Writes the code of a process. It names one module of the runtime, `__private`, beside what the
//! runtime's users see.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{
    Attribute, Data, DeriveInput, Fields, Ident, LitStr, Path, Signature, Variant, ext::IdentExt,
};

use crate::check;
use crate::model::{Argument, Attributes, Function};

pub(crate) fn function(krate: &Path, function: &Function) -> TokenStream {
    let arguments = arguments(krate, function);
    let constructor = constructor(function);
    let process = process(krate, function);
    let methods = methods(krate, function);

    let registration = registration(krate, &function.sig.ident, signature(function));
    quote!(#arguments #constructor #process #methods #registration)
}

/// A type under `#[process]`: the derive comes after rustc has stripped what `#[cfg]` leaves out.
pub(crate) fn attribute_type(krate: &Path, input: &DeriveInput) -> TokenStream {
    let serde = serde(krate);
    let says_so = input.attrs.iter().any(|attr| attr.path().is_ident("must_use"));
    let must_use = (!says_so).then(must_use);
    quote! {
        #must_use
        #serde
        #[derive(#krate::Process)]
        #[process(crate = #krate)]
        #input
    }
}

pub(crate) fn derived_type(krate: &Path, input: &DeriveInput) -> TokenStream {
    registration(krate, &input.ident, layout(input))
}

/// The struct that holds a function's arguments.
pub(crate) fn arguments(krate: &Path, function: &Function) -> TokenStream {
    let Function { attrs, vis, sig, args, .. } = function;
    let Attributes { docs, lints, derives, .. } = attrs;
    let ident = &sig.ident;
    let name = ident.unraw().to_string();
    let doc = docs.is_empty().then(|| {
        let text = format!("The arguments of the process `{name}`.");
        quote!(#[doc = #text])
    });
    let serde = serde(krate);
    let fields = args
        .iter()
        .map(|Argument { field, field_attrs, ty, .. }| quote!(#(#field_attrs)* #field: #ty));
    let derives_debug =
        derives.iter().flat_map(check::derives).any(|it| check::last_name(&it) == "Debug");
    // Without the arguments, whose types need not be `Debug`.
    let debug = (!derives_debug).then(|| {
        quote! {
            #[automatically_derived]
            impl ::core::fmt::Debug for #ident {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.debug_struct(#name).finish_non_exhaustive()
                }
            }
        }
    });
    let must_use = must_use();
    quote! {
        #(#docs)*
        #doc
        #(#lints)*
        #[allow(non_camel_case_types, unreachable_pub, clippy::type_complexity)]
        #must_use
        #serde
        #(#derives)*
        #vis struct #ident { #(#fields),* }

        #debug
    }
}

fn must_use() -> TokenStream {
    quote!(#[must_use = "a process does nothing until it is started: call `spawn` or `run`"])
}

fn constructor(function: &Function) -> TokenStream {
    let Function { attrs, vis, sig, args, body, .. } = function;
    let Attributes { docs, lints, deprecated, .. } = attrs;
    let Signature { fn_token, ident, .. } = sig;
    let fields: Vec<_> = args.iter().map(|arg| &arg.field).collect();
    let types = args.iter().map(|arg| &arg.ty);
    // From the user's `fn` to the user's brace: of a function that begins or ends in a macro, rustc
    // does not tell that nobody calls it.
    let mut block = Group::new(Delimiter::Brace, quote!(#ident { #(#fields),* }));
    block.set_span(body.span());
    quote! {
        #(#docs)*
        #(#lints)*
        #(#deprecated)*
        #[allow(clippy::too_many_arguments, clippy::type_complexity)] // said of the body already
        #vis #fn_token #ident(#(#fields: #types),*) -> #ident #block
    }
}

pub(crate) fn process(krate: &Path, function: &Function) -> TokenStream {
    let Function { attrs, sig, args, output, body, .. } = function;
    let Attributes { lints, body: body_attrs, .. } = attrs;
    let Signature { fn_token, ident, output: returns, .. } = sig;
    // Not the function's own name: in the body, that one is the constructor's.
    let name = Ident::new("__offspring_body", ident.span());
    let fields: Vec<_> = args.iter().map(|arg| &arg.field).collect();
    let params =
        args.iter().map(|Argument { body_attrs, pat, ty, .. }| quote!(#(#body_attrs)* #pat: #ty));
    quote! {
        #(#lints)*
        impl #krate::Process for #ident {
            type Output = #output;

            fn run(self) #returns {
                #(#body_attrs)*
                #fn_token #name(#(#params),*) #returns #body

                let Self { #(#fields),* } = self;
                #name(#(#fields),*)
            }
        }
    }
}

/// `spawn` and `run` without the trait in scope.
pub(crate) fn methods(krate: &Path, function: &Function) -> TokenStream {
    let Function { attrs, vis, sig, output, .. } = function;
    let (lints, must_use, ident, returns) =
        (&attrs.lints, &attrs.must_use, &sig.ident, &sig.output);
    quote! {
        #(#lints)*
        #[allow(dead_code, unreachable_pub)]
        impl #ident {
            /// Starts this work in another process.
            ///
            /// # Errors
            ///
            /// When no process could be started.
            #vis fn spawn(self) -> #krate::Result<#krate::Child<#output>> {
                #krate::spawn(self)
            }

            /// Does this work here, in this process.
            #(#must_use)*
            #vis fn run(self) #returns {
                <Self as #krate::Process>::run(self)
            }
        }
    }
}

/// Enters the process in the registry. The signature tells builds of a program apart.
fn registration(krate: &Path, ident: &Ident, signature: TokenStream) -> TokenStream {
    let name = ident.unraw().to_string();
    let signature = signature.to_string();
    // The bound of `new` is what reports a missing `impl Process`: at the name of the type.
    let new = quote_spanned!(ident.span()=> #krate::__private::Entry::new::<#ident>);
    quote! {
        const _: () = {
            static ENTRY: #krate::__private::Entry = #new(
                ::core::concat!(::core::module_path!(), "::", #name),
                #name,
                #signature,
                ::core::file!(),
                ::core::line!(),
                ::core::column!(),
            );

            #[automatically_derived]
            impl #krate::__private::Registered for #ident {
                fn entry() -> &'static #krate::__private::Entry {
                    &ENTRY
                }
            }

            #krate::__private::inventory::submit! {
                #krate::__private::Registration(&ENTRY)
            }
        };
    }
}

fn serde(krate: &Path) -> TokenStream {
    let path = quote!(#krate::__private::serde);
    let text = LitStr::new(&path.to_string().replace(' ', ""), Span::call_site());
    quote! {
        #[derive(#path::Serialize, #path::Deserialize)]
        #[serde(crate = #text)]
    }
}

/// What of a function decides how its arguments and its result are written.
fn signature(function: &Function) -> TokenStream {
    let Function { args, output, .. } = function;
    let args = args.iter().map(|Argument { field, field_attrs, ty, .. }| {
        let attrs = serde_attrs(field_attrs);
        quote!(#attrs #field: #ty,)
    });
    quote!(#(#args)* -> #output)
}

/// What of a type decides how its values are written.
fn layout(input: &DeriveInput) -> TokenStream {
    let container = serde_attrs(&input.attrs);
    let content = match &input.data {
        Data::Struct(data) => field_layout(&data.fields),
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|Variant { attrs, ident, fields, .. }| {
                let (attrs, fields) = (serde_attrs(attrs), field_layout(fields));
                quote!(#attrs #ident { #fields },)
            })
            .collect(),
        Data::Union(data) => data.fields.named.to_token_stream(),
    };
    quote!(#container #content)
}

fn field_layout(fields: &Fields) -> TokenStream {
    fields
        .iter()
        .map(|field| {
            let (attrs, name, ty) = (serde_attrs(&field.attrs), &field.ident, &field.ty);
            quote!(#attrs #name: #ty,)
        })
        .collect()
}

fn serde_attrs(attrs: &[Attribute]) -> TokenStream {
    attrs
        .iter()
        .filter(|attr| attr.path().is_ident("serde"))
        .map(ToTokens::to_token_stream)
        .collect()
}
