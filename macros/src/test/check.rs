//! Finds what is wrong with a test, all of it at once.

use syn::{FnArg, GenericParam, ReturnType, Safety};

use super::model::{Model, makes_a_test};
use crate::check::Errors;

pub(super) fn model(model: &Model) -> Errors {
    let mut errors = Errors::default();
    let sig = &model.sig;
    for attr in model.attrs.iter().filter(|attr| makes_a_test(attr)) {
        errors.at(attr, "`#[offspring::test]` makes a test of the function already: drop this");
    }
    if let Some(token) = &sig.constness {
        errors.at(token, "a test runs in a process, not at compile time: drop `const`");
    }
    if let Some(token) = &sig.asyncness {
        errors.at(
            token,
            "a test in a process of its own cannot be an `async fn`, for nothing would poll it: \
             write a plain `fn` that starts an executor and blocks on the future",
        );
    }
    if let Safety::Unsafe(token) = &sig.safety {
        errors.at(
            token,
            "a test cannot be an `unsafe fn`, for its caller promises nothing: \
             write a plain `fn` with an `unsafe` block",
        );
    }
    if let Some(abi) = &sig.abi {
        errors.at(abi, "a test is not called through an ABI: write a plain `fn`");
    }
    for param in &sig.generics.params {
        errors.at(
            param,
            match param {
                GenericParam::Lifetime(_) => "a test borrows nothing: drop the lifetime",
                _ => {
                    "a test cannot be generic, for nobody would choose the type: \
                     write one for each case, which may call a generic function"
                }
            },
        );
    }
    if let Some(clause) = &sig.generics.where_clause
        && sig.generics.params.is_empty()
    {
        errors.at(clause, "a test is not generic, so there is nothing to bound: drop this");
    }
    for arg in &sig.inputs {
        match arg {
            FnArg::Receiver(receiver) => {
                errors.at(receiver.self_token, "a test has no `self`: write a free function");
            }
            FnArg::Typed(arg) => errors.at(
                arg,
                "a test has no arguments, for nobody would give them: make the value in its body",
            ),
        }
    }
    if let (Some(_), ReturnType::Type(_, ty)) = (model.attr("should_panic"), &sig.output) {
        errors.at(
            ty,
            "a test that should panic returns nothing: drop the return type, or `#[should_panic]`",
        );
    }
    errors
}
