//! What the stages make of tokens. Whole tests, and the place and words of every error, are in the
//! workspace's `tests`.

use proc_macro2::TokenStream;
use quote::quote;

use super::{attribute, units};

fn errors(options: TokenStream, item: TokenStream) -> usize {
    attribute(options, item).to_string().matches("compile_error !").count()
}

#[test]
fn a_number_has_a_unit() {
    assert_eq!(units::millis("5s"), Ok(5000));
    assert_eq!(units::millis("1_500 ms"), Ok(1500));
    assert_eq!((units::millis("2min"), units::millis("2m")), (Ok(120_000), Ok(120_000)));
    assert_eq!(units::bytes("256 MiB"), Ok(256 << 20));
    assert_eq!(units::bytes("1MB"), Ok(1_000_000));
    for wrong in ["", "5", "s", "5 parsecs", "1.5s", "-1s", "0s", "99999999999999999999h"] {
        assert!(units::millis(wrong).is_err(), "{wrong}");
    }
    for wrong in ["256", "MiB", "1 mib", "0 B", "18446744073709551615 GiB"] {
        assert!(units::bytes(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn expressions_are_rustcs_business() {
    let options = quote!(timeout = LIMIT * 2, memory = 1 << 28);
    assert_eq!(
        errors(
            options,
            quote!(
                fn a() {}
            )
        ),
        0
    );
}

#[test]
fn every_mistake_is_reported() {
    let options = quote!(timeout = 5, memory = "lots", memory = "1 GiB");
    assert_eq!(
        errors(
            options,
            quote!(
                async fn a<T>(b: T) {}
            )
        ),
        6
    );
    assert_eq!(
        errors(
            quote!(),
            quote!(
                struct A;
            )
        ),
        1
    );
    assert_eq!(
        errors(
            quote!(timeout),
            quote!(
                fn a() {}
            )
        ),
        1
    );
    assert_eq!(
        errors(
            quote!(),
            quote!(
                #[should_panic]
                fn a() -> Result<(), ()> {
                    Ok(())
                }
            )
        ),
        1
    );
}
