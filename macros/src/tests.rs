//! What the stages make of tokens. Whole programs, and the place and words of every error, are in
//! the workspace's `tests`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse_quote;

use crate::{attribute, check, derive, model::Function, parse};

fn function(tokens: TokenStream) -> Function {
    match syn::parse2(tokens).unwrap() {
        parse::Item::Function(function) => function.into(),
        parse::Item::Type(_) => panic!("not a function"),
    }
}

fn errors(tokens: TokenStream) -> usize {
    tokens.to_string().matches("compile_error !").count()
}

#[test]
fn every_argument_has_a_field_of_its_own() {
    let function = function(quote! {
        fn f(a: u8, mut b: u8, (c, d): (u8, u8), _: u8, arg4: u8, [e]: [u8; 1], arg5: u8, a: u8) {}
    });
    let fields: Vec<_> = function.args.iter().map(|arg| arg.field.to_string()).collect();
    assert_eq!(fields, ["a", "b", "arg2", "arg3", "arg4", "arg5", "arg6", "arg7"]);

    let function = self::function(quote!(
        fn f(arg1: u8, (a, b): (u8, u8)) {}
    ));
    let fields: Vec<_> = function.args.iter().map(|arg| arg.field.to_string()).collect();
    assert_eq!(fields, ["arg1", "arg1_"]);
}

#[test]
fn attributes_go_where_they_belong() {
    let function = function(quote! {
        /// Documented.
        #[expect(unused)]
        #[deny(clippy::all)]
        #[deprecated]
        #[must_use]
        #[derive(Clone, Copy)]
        #[inline]
        #[tracing::instrument]
        fn f(#[serde(skip)] #[allow(unused)] /** documented */ x: u8) {}
    });
    let text = |attrs: &[syn::Attribute]| quote!(#(#attrs)*).to_string();
    assert_eq!(text(&function.attrs.docs), quote!(#[doc = r" Documented."]).to_string());
    assert_eq!(
        text(&function.attrs.lints),
        quote!(#[allow(unused)] #[deny(clippy::all)]).to_string()
    );
    assert_eq!(text(&function.attrs.deprecated), quote!(#[deprecated]).to_string());
    assert_eq!(text(&function.attrs.must_use), quote!(#[must_use]).to_string());
    assert_eq!(text(&function.attrs.derives), quote!(#[derive(Clone, Copy)]).to_string());
    assert_eq!(text(&function.attrs.body), quote!(#[inline] #[tracing::instrument]).to_string());
    assert_eq!(function.args[0].field_attrs.len(), 3);
    assert_eq!(text(&function.args[0].body_attrs), quote!(#[allow(unused)]).to_string());
}

#[test]
fn owned_types_are_accepted() {
    let types = quote! {
        u8, (), (u8, String), [u8; 3], Vec<Option<Box<str>>>, Box<[u8]>, Cow<'static, str>,
        [u8; { let x: &str = "abc"; x.len() }], <Vec<u8> as IntoIterator>::Item, vec_of!(&str),
        std::collections::HashMap<String, Result<u8, ()>>, crate::Alias, [[u8; N]; 4]
    };
    let function = function(quote!(fn f(all: (#types)) -> (#types) {}));
    assert!(check::function(&function).is_empty());
}

#[test]
fn each_borrow_has_its_owned_type() {
    for (borrowed, owned) in [
        (quote!(&str), "take `String`"),
        (quote!(&'static mut str), "take `String`"),
        (quote!(&std::path::Path), "take `PathBuf`"),
        (quote!(&OsStr), "take `OsString`"),
        (quote!(&CStr), "take `CString`"),
        (quote!(&[Vec<(u8, Box<[u8; 2]>)>]), "take `Vec<Vec<(u8, Box<[u8; 2]>)>>`"),
        (quote!(&mut a::Config<u8>), "take an owned `a::Config<u8>`"),
        (quote!(&&str), "take `String`"),
    ] {
        let function = function(quote!(fn f(x: Option<#borrowed>) {}));
        let errors = check::function(&function).into_token_stream().to_string();
        assert!(errors.contains(owned), "{borrowed}: {errors}");
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let item = quote! {
        const async unsafe extern "C" fn f<'a, T, const N: usize>(
            a: (&'a str, &T),
            b: [*const u8; N],
            c: Vec<impl Copy>,
            d: Box<dyn Fn(&u8)>,
            e: fn(&u8),
            f: _,
            #[cfg(unix)] g: Cow<'_, str>,
        ) -> Result<&str, Box<dyn Error>> {}
    };
    assert_eq!(errors(attribute(TokenStream::new(), item.clone())), 4 + 3 + 9 + 2);
    assert_eq!(errors(attribute(quote!(name = "f"), item)), 1 + 4 + 3 + 9 + 2);

    let item = quote! {
        #[derive(Debug, serde::Serialize, Deserialize)]
        enum E<'a, T> {
            A(&'a T),
            B { b: Box<dyn Copy>, c: fn() },
            #[serde(skip)]
            C,
            D(#[serde(skip)] fn()),
        }
    };
    assert_eq!(errors(attribute(TokenStream::new(), item.clone())), 2 + 2 + 3);
    assert_eq!(errors(derive(item)), 2);
}

#[test]
fn a_type_is_told_apart_by_what_serde_makes_of_it() {
    let signature = |item| derive(item).to_string();
    let one = signature(quote!(
        struct S {
            x: u8,
        }
    ));
    assert_eq!(
        one,
        signature(quote!(
            #[doc = "S"]
            pub struct S {
                #[doc = "x"]
                pub x: u8,
            }
        ))
    );
    assert_ne!(
        one,
        signature(quote!(
            struct S {
                y: u8,
            }
        ))
    );
    assert_ne!(
        one,
        signature(quote!(
            struct S {
                x: u16,
            }
        ))
    );
    assert_ne!(
        one,
        signature(quote!(
            struct S {
                #[serde(skip)]
                x: u8,
            }
        ))
    );
    assert_ne!(
        one,
        signature(quote!(
            #[serde(transparent)]
            struct S {
                x: u8,
            }
        ))
    );
}

#[test]
fn the_path_of_the_crate_is_used_throughout() {
    let function = quote!(
        fn f(x: u8) -> u8 {
            x
        }
    );
    let expanded = attribute(quote!(crate = some::path), function).to_string();
    assert!(!expanded.contains(":: offspring"), "{expanded}");

    let item: TokenStream = parse_quote!(
        #[process(crate = some::path)]
        struct S;
    );
    let expanded = derive(item).to_string();
    assert!(!expanded.contains(":: offspring"), "{expanded}");
}
