//! What the stages make of tokens. Whole programs, and the place and words of every error, are in
//! the workspace's `tests`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse_quote;

use super::{derive, derive_zeroable};

fn errors(tokens: &TokenStream) -> usize {
    tokens.to_string().matches("compile_error !").count()
}

/// What is told of a field of this type, or nothing.
fn told_of(ty: TokenStream) -> String {
    let expanded = derive(quote!(
        struct S(#ty);
    ));
    match errors(&expanded) {
        0 => String::new(),
        _ => expanded.to_string(),
    }
}

#[test]
fn what_may_be_shareable_is_left_to_the_compiler() {
    for ty in [
        quote!(u8),
        quote!(([u8; 3], (AtomicU64, f32), bool)),
        quote!(ArrayVec<(ArrayString<4>, Cell<T>), 4>),
        quote!(PhantomData<(String, &'static str, fn())>),
        quote!(Own<String>),
        quote!(
            [u8; {
                let x: &str = "abc";
                x.len()
            }]
        ),
        quote!(<Vec<u8> as IntoIterator>::Item),
        quote!(bytes_of!(&str)),
        quote!(self::Box<u8>),
        quote!(crate::boxed::Box<u8>),
        quote!(parking_lot::Mutex<u8>),
        quote!(::String),
        quote!(NotNonZero),
        quote!(NonZeroUnit),
        quote!([u8]),
    ] {
        assert_eq!(told_of(ty.clone()), "", "{ty}");
    }
}

#[test]
fn each_refused_type_has_what_to_hold_instead() {
    for (ty, instead) in [
        (quote!(&'static str), "hold an `offspring::shm::ArrayString<N>`"),
        (quote!(&'static [(u8, u8)]), "hold a `[(u8, u8); N]`, or an"),
        (quote!(&'static &'static mut Config<u8>), "hold the `Config<u8>` itself"),
        (quote!(*mut u8), "its index in an array"),
        (quote!(fn(&u8)), "hold an enum without fields"),
        (quote!(Box<u64>), "hold the `u64` itself"),
        (quote!(std::boxed::Box<[u64]>), "hold a `[u64; N]`, or an"),
        (quote!(Box<dyn Error>), "hold a type that has a name"),
        (quote!(rc::Rc<str>), "ArrayString<N>`"),
        (quote!(Cow<'static, [u8]>), "ArrayVec<u8, N>`"),
        (quote!(String), "ArrayString<N>`"),
        (quote!(PathBuf), "whose `from_bytes` takes any bytes"),
        (quote!(Vec<Vec<u8>>), "ArrayVec<Vec<u8>, N>`"),
        (quote!(Vec), "ArrayVec<T, N>`"),
        (quote!(HashMap<u8, [u8; 2], S>), "ArrayVec<(u8, [u8; 2]), N>`"),
        (quote!(Option<Level>), "hold a `bool` beside the `Level`, or an"),
        (quote!(char), "`char::from_u32`"),
        (quote!(NonZero<u64>), "hold a `u64`, and read it with `NonZero::new`"),
        (quote!(num::NonZeroU16), "hold a `u16`, and read it with `NonZeroU16::new`"),
        (quote!(NonZeroUsize), "hold a `usize`, and"),
        (quote!(std::sync::Mutex<u8>), "one of `offspring::sync`"),
        (quote!(std::os::fd::OwnedFd), "as an `offspring::Fd`"),
        (quote!(RefCell<u8>), "hold a `Cell<u8>`"),
        (quote!(dyn Error), "hold a type that has a name"),
    ] {
        let told = told_of(ty.clone());
        assert!(told.contains(instead), "{ty}: {told}");
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let item = quote! {
        #[shareable(name = "S")]
        struct S<'a, 'b: 'a, T> {
            a: (&'a T, [Box<Vec<&'static str>>; 2]),
            b: Option<char>,
            c: Box<dyn Error>,
            d: Cell<MaybeUninit<*const u8>>,
            e: Box<[String]>,
        }
    };
    assert_eq!(errors(&derive(item)), 1 + 2 + 4 + 2 + 1 + 1 + 2);

    let item = quote! {
        #[repr(u16, align(8))]
        enum E<'a, const N: usize> {
            A(u8),
            B { b: String },
            C,
            D(),
        }
    };
    assert_eq!(errors(&derive(item)), 2 + 1 + 1 + 2);

    let item = quote! {
        union U<'a> {
            a: &'a str,
        }
    };
    assert_eq!(errors(&derive(item)), 2);
}

#[test]
fn an_enum_is_a_byte() {
    let variants = |count: usize| (0..count).map(|n| quote::format_ident!("V{n}"));
    for (count, expected) in [(0, 1), (1, 0), (256, 0), (257, 1), (300, 1)] {
        let variants = variants(count);
        let expanded = derive(quote!(enum E { #(#variants),* }));
        assert_eq!(errors(&expanded), expected, "{count}");
    }
    // rustc is asked, unless it has promised.
    let asked = |item| derive(item).to_string().contains("size_of");
    assert!(asked(parse_quote!(
        enum E {
            A,
        }
    )));
    for repr in [quote!(u8), quote!(i8)] {
        assert!(!asked(parse_quote!(
            #[repr(#repr)]
            enum E<const N: usize> {
                A,
            }
        )));
    }
}

#[test]
fn every_field_is_asked_of_the_compiler() {
    let expanded = derive(quote!(
        struct S {
            x: Own,
            r#type: [Self; 0],
        }
    ));
    let expanded = expanded.to_string();
    for part in [
        quote!(let Self { x: _, r#type: _ } = self;),
        quote!(__offspring_shareable::<Own>(&raw const self.x);),
        quote!(__offspring_shareable::<[Self; 0]>(&raw const self.r#type);),
    ] {
        assert!(expanded.contains(&part.to_string()), "{part}: {expanded}");
    }

    let expanded = derive(quote!(
        struct S(u8, Own);
    ));
    let part = quote!(__offspring_shareable::<Own>(&raw const self.1););
    assert!(expanded.to_string().contains(&part.to_string()), "{expanded}");
}

#[test]
fn parameters_are_bounded_and_lints_repeated() {
    let expanded = derive(quote!(
        #[expect(non_camel_case_types)]
        #[derive(Debug)]
        struct S<T: Copy, U, const N: usize = 3>([T; N], U)
        where
            U: PartialEq;
    ));
    let head = quote! {
        #[allow(non_camel_case_types)]
        unsafe impl<
            T: Copy + ::offspring::shm::Shareable,
            U: ::offspring::shm::Shareable,
            const N: usize
        > ::offspring::shm::Shareable for S<T, U, N>
        where
            U: PartialEq
    };
    assert!(expanded.to_string().contains(&head.to_string()), "{expanded}");
}

#[test]
fn only_a_type_without_parameters_is_asked_for_a_destructor_at_once() {
    let asked = |item| derive(item).to_string().contains("needs_drop");
    assert!(asked(quote!(
        struct S(u8);
    )));
    assert!(asked(quote!(
        enum E {
            A,
        }
    )));
    assert!(!asked(quote!(
        struct S<T>(T);
    )));
    assert!(!asked(quote!(
        struct S<const N: usize>([u8; N]);
    )));
}

#[test]
fn the_path_of_the_crate_is_used_throughout() {
    for item in [
        quote!(
            struct S<T>(T);
        ),
        quote!(
            enum E {
                A,
            }
        ),
        quote!(
            struct S<T>(Box<T>);
        ),
    ] {
        let expanded = derive(quote!(#[shareable(crate = some::path)] #item)).to_string();
        assert!(!expanded.contains(":: offspring"), "{expanded}");
        assert!(expanded.contains("some :: path :: shm"), "{expanded}");
    }
}

#[test]
fn each_wrong_option_is_told() {
    for attrs in [
        quote!(#[shareable]),
        quote!(#[shareable()]),
        quote!(#[shareable(packed)]),
        quote!(#[shareable(crate)]),
        quote!(#[shareable(crate = "path")]),
        quote!(#[shareable(crate = path, packed)]),
        quote!(#[shareable(crate = path)] #[shareable(crate = path)]),
    ] {
        assert_eq!(
            errors(&derive(quote!(
                #attrs
                struct S(u8);
            ))),
            1,
            "{attrs}"
        );
    }
}

#[test]
fn zeros_are_asked_of_the_fields_of_a_struct_and_of_nothing_else() {
    let expanded = derive_zeroable(quote!(
        struct S<T>(u8, [T; 2]);
    ));
    assert_eq!(errors(&expanded), 0);
    let text = expanded.to_string();
    assert_eq!(text.matches("shm :: Zeroable for S").count(), 1, "{text}");
    assert_eq!(text.matches("__offspring_zeroable :: <").count(), 2, "{text}");
    assert!(!text.contains("shm :: Shareable"), "{text}");

    for item in [
        quote!(
            enum E {
                A,
            }
        ),
        quote!(union U { a: u8 }),
    ] {
        assert_eq!(errors(&derive_zeroable(item.clone())), 1, "{item}");
    }
}
