//! Finds what of a type cannot lie in shared memory: all of it at once, each error at its own
//! token, with what to write instead.
//!
//! Types are judged by how they are written, which is for the words of the error only. Whether a
//! field may lie in shared memory is asked of the compiler, in `expand`.

use syn::{GenericParam, Generics, PathSegment, Type};

use super::instead::{self, type_arguments};
use super::model::{Body, Enum, Model, is_byte};
use crate::check::Errors;

/// As many as a byte has values.
const MOST_VARIANTS: usize = 256;

pub(super) fn model(model: &Model) -> Errors {
    let mut errors = Errors::default();
    lifetimes(&model.generics, &mut errors);
    match &model.body {
        Body::Struct(fields) => fields.iter().for_each(|(_, field)| ty(field, &mut errors)),
        Body::Enum(body) => self::body(model, body, &mut errors),
        Body::Union(token) => errors.at(
            token,
            "a union does not tell which of its fields was written, \
             and a killed process may leave half of each: write a struct",
        ),
    }
    errors
}

fn lifetimes(generics: &Generics, errors: &mut Errors) {
    for param in &generics.params {
        if let GenericParam::Lifetime(param) = param {
            errors.at(
                param,
                "what lies in shared memory borrows nothing, as it outlives whoever put it there: \
                 drop the lifetime, and hold the values themselves",
            );
        }
    }
}

fn body(model: &Model, body: &Enum, errors: &mut Errors) {
    for repr in body.reprs.iter().filter(|repr| !is_byte(repr)) {
        errors.at(
            repr,
            "an enum in shared memory is one byte, of which a killed process cannot leave half: \
             write `#[repr(u8)]`, or `#[repr(i8)]`",
        );
    }
    if let Some(param) = model.generics.params.first()
        && !body.is_a_byte()
    {
        errors.at(
            param,
            "whether an enum with parameters is one byte is not known here: \
             write `#[repr(u8)]` on it, or drop them",
        );
    }
    if body.variants.is_empty() {
        errors.at(
            &model.ident,
            "an enum without variants has no value that could lie in shared memory: \
             give it a variant",
        );
    }
    for variant in body.variants.iter().filter(|variant| !variant.fields.is_empty()) {
        errors.at(
            &variant.fields,
            "a process that is killed in the middle of a write could leave one variant with the \
             fields of another: write a struct of the fields, \
             and in it an enum without fields that tells which of them count",
        );
    }
    if let Some(variant) = body.variants.get(MOST_VARIANTS) {
        errors.at(
            &variant.ident,
            "an enum in shared memory is one byte, and has at most 256 variants: \
             hold a number, and name its values by constants",
        );
    }
}

fn ty(ty: &Type, errors: &mut Errors) {
    match ty {
        Type::Reference(reference) => errors.at(
            ty,
            format_args!(
                "a reference is an address, which means nothing in another process: hold {}",
                instead::pointee(&reference.elem)
            ),
        ),
        Type::Ptr(_) => errors.at(
            ty,
            "an address means nothing in another process: \
             hold the value itself, or its index in an array",
        ),
        Type::FnPtr(_) => errors.at(
            ty,
            "the address of a function means nothing in another process: \
             hold an enum without fields that tells which of them it is",
        ),
        Type::TraitObject(_) => errors.at(
            ty,
            "`dyn` is told apart by an address, which means nothing in another process: \
             hold a type that has a name",
        ),
        Type::Array(array) => self::ty(&array.elem, errors),
        Type::Slice(slice) => self::ty(&slice.elem, errors),
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|elem| self::ty(elem, errors)),
        Type::Paren(paren) => self::ty(&paren.elem, errors),
        Type::Group(group) => self::ty(&group.elem, errors),
        Type::Path(path) if path.qself.is_none() => {
            let Some(last) = path.path.segments.last() else { return };
            let message = instead::of(&path.path);
            let is_known = message.is_some() || is_wrapper(last);
            if let Some(message) = message {
                errors.at(ty, message);
            }
            if is_known {
                type_arguments(last).for_each(|inner| argument(inner, errors));
            }
        }
        _ => {}
    }
}

/// A type that is to be held in place of what has it as an argument, which for an unsized one is
/// told already.
fn argument(ty: &Type, errors: &mut Errors) {
    match ty {
        Type::TraitObject(_) => {}
        Type::Path(path) if path.path.is_ident("str") => {}
        _ => self::ty(ty, errors),
    }
}

/// Whether it is shareable if what it wraps is. What another type does with its arguments is not
/// known: `PhantomData<String>` is fine.
fn is_wrapper(segment: &PathSegment) -> bool {
    ["Cell", "UnsafeCell", "Wrapping", "ManuallyDrop", "MaybeUninit", "ArrayVec"]
        .iter()
        .any(|name| segment.ident == name)
}
