//! Finds what is wrong with an item: all of it at once, each error at its own token, with what to
//! write instead.

use std::fmt::Display;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, Field, FnArg, GenericParam, Generics, Lifetime,
    Path, ReturnType, Safety, Token, Type, TypeParamBound, TypeReference,
    punctuated::Punctuated,
    visit::{self, Visit},
};

use crate::model::Function;

#[derive(Default)]
pub(crate) struct Errors(Vec<Error>);

impl Errors {
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.0.push(Error::new_spanned(tokens, message));
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl ToTokens for Errors {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.0.iter().map(Error::to_compile_error));
    }
}

pub(crate) fn function(function: &Function) -> Errors {
    let mut errors = Errors::default();
    let sig = &function.sig;
    if let Some(token) = &sig.constness {
        errors.at(token, "a process runs in another process, not at compile time: drop `const`");
    }
    if let Some(token) = &sig.asyncness {
        errors.at(
            token,
            "a process cannot be an `async fn`, for nothing would poll it: \
             write a plain `fn` that starts an executor and blocks on the future",
        );
    }
    if let Safety::Unsafe(token) = &sig.safety {
        errors.at(
            token,
            "a process cannot be an `unsafe fn`, for whoever starts it promises nothing: \
             write a plain `fn` with an `unsafe` block that is sound for any arguments",
        );
    }
    if let Some(abi) = &sig.abi {
        errors.at(
            abi,
            "a process is called by its name, not through an ABI: write a plain `fn`, \
             which may call this one",
        );
    }
    generics(&sig.generics, "function", &mut errors);
    for arg in &sig.inputs {
        match arg {
            FnArg::Receiver(receiver) => errors.at(
                receiver.self_token,
                "a process has no `self`: write a free function, or `#[process]` on the type and \
                 the work in `impl Process`, where `run` takes `self`",
            ),
            FnArg::Typed(arg) => {
                for attr in arg.attrs.iter().filter(|attr| attr.path().is_ident("cfg")) {
                    errors.at(
                        attr,
                        "an argument of a process cannot come and go: \
                         write `#[cfg]` on one of two whole functions",
                    );
                }
                errors.extend(ty(&arg.ty, Place::Argument));
            }
        }
    }
    if let Some(variadic) = &sig.variadic {
        errors.at(variadic.dots, "a process has a fixed list of arguments: take a `Vec`");
    }
    errors.extend(output(&sig.output));
    derived_already(&function.attrs.derives, "", &mut errors);
    errors
}

pub(crate) fn output(output: &ReturnType) -> Errors {
    match output {
        ReturnType::Default => Errors::default(),
        ReturnType::Type(_, ty) if matches!(**ty, Type::Never(_)) => Error::new_spanned(
            ty,
            "a process that never returns has no result to send: \
             write `()`, or leave the return type out",
        )
        .into(),
        ReturnType::Type(_, output) => ty(output, Place::Output),
    }
}

/// A type under `#[process]`.
pub(crate) fn attribute_type(input: &DeriveInput) -> Errors {
    let mut errors = Errors::default();
    let instead =
        ", or write `#[derive(Serialize, Deserialize, Process)]` in place of `#[process]`";
    derived_already(&input.attrs, instead, &mut errors);
    errors.extend(derived_type(input));
    match &input.data {
        Data::Struct(data) => data.fields.iter().for_each(|it| field(it, &mut errors)),
        Data::Enum(data) => {
            let fields = data.variants.iter().flat_map(|variant| &variant.fields);
            fields.for_each(|it| field(it, &mut errors));
        }
        Data::Union(data) => errors.at(
            data.union_token,
            "a union does not tell which of its fields to send: write a struct or an enum",
        ),
    }
    errors
}

/// A type under `#[derive(Process)]`, whose fields are the business of its own serde impls.
pub(crate) fn derived_type(input: &DeriveInput) -> Errors {
    let mut errors = Errors::default();
    generics(&input.generics, "type", &mut errors);
    errors
}

fn derived_already(attrs: &[Attribute], or_else: &str, errors: &mut Errors) {
    for path in attrs.iter().flat_map(derives).filter(is_own) {
        let name = last_name(&path);
        let message = format_args!("`#[process]` derives `{name}` already: drop this one{or_else}")
            .to_string();
        errors.at(&path, message);
    }
}

/// Whether this is a derive that `#[process]` writes itself.
fn is_own(path: &Path) -> bool {
    matches!(&*last_name(path), "Serialize" | "Deserialize" | "Process")
}

/// The paths within `#[derive(..)]`; nothing for another attribute.
pub(crate) fn derives(attr: &Attribute) -> Vec<Path> {
    if !attr.path().is_ident("derive") {
        return Vec::new();
    }
    attr.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated)
        .map(|paths| paths.into_iter().collect())
        .unwrap_or_default()
}

fn field(field: &Field, errors: &mut Errors) {
    // `#[serde(skip)]` or `#[serde(with = "..")]` can make any type a good field.
    if !field.attrs.iter().any(|attr| attr.path().is_ident("serde")) {
        errors.extend(ty(&field.ty, Place::Field));
    }
}

fn generics(generics: &Generics, item: &str, errors: &mut Errors) {
    for param in &generics.params {
        match param {
            GenericParam::Lifetime(param) => errors.at(
                param,
                "a process owns its data, because another process does not see this memory: \
                 drop the lifetime, and take owned types",
            ),
            GenericParam::Type(_) | GenericParam::Const(_) => errors.at(
                param,
                format_args!(
                    "a process is registered once, by its name, so it cannot be generic: \
                     write one {item} for each case, or an enum of the cases"
                ),
            ),
        }
    }
    if let Some(clause) = &generics.where_clause
        && generics.params.is_empty()
    {
        errors.at(clause, "a process is not generic, so there is nothing to bound: drop this");
    }
}

#[derive(Clone, Copy)]
enum Place {
    Argument,
    Field,
    Output,
}

impl Place {
    fn verb(self) -> &'static str {
        match self {
            Self::Argument => "take",
            Self::Field => "hold",
            Self::Output => "return",
        }
    }
}

fn ty(ty: &Type, place: Place) -> Errors {
    let mut types = Types { place, errors: Errors::default() };
    types.visit_type(ty);
    types.errors
}

/// Looks for what cannot cross to another process, anywhere within a type.
struct Types {
    place: Place,
    errors: Errors,
}

impl<'ast> Visit<'ast> for Types {
    fn visit_type(&mut self, ty: &'ast Type) {
        let verb = self.place.verb();
        match ty {
            Type::Reference(reference) if !is_dyn(&reference.elem) => self.errors.at(
                reference,
                format_args!(
                    "a borrow cannot cross to another process, which does not see this memory: \
                     {verb} {}",
                    owned(reference)
                ),
            ),
            Type::Ptr(_) => self.errors.at(
                ty,
                format_args!("an address means nothing in another process: {verb} the data itself"),
            ),
            Type::FnPtr(_) => self.errors.at(
                ty,
                format_args!(
                    "the address of a function means nothing in another process: \
                     {verb} an enum of the functions there are, or a process as a value"
                ),
            ),
            Type::ImplTrait(_) => self.errors.at(
                ty,
                format_args!(
                    "`impl` hides which type crosses to the other process: \
                     {verb} a type that has a name"
                ),
            ),
            Type::TraitObject(object) => {
                let instead = match object.bounds.iter().any(is_error) {
                    true => "an error type of your own, or its text as a `String`",
                    false => "an enum of the types it can be",
                };
                self.errors.at(
                    ty,
                    format_args!(
                        "`dyn` hides which type crosses to the other process: {verb} {instead}"
                    ),
                );
            }
            Type::Infer(_) => self
                .errors
                .at(ty, "`_` leaves open which type crosses to the other process: write it out"),
            _ => visit::visit_type(self, ty),
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            let verb = self.place.verb();
            self.errors.at(
                lifetime,
                format_args!(
                    "a borrow cannot cross to another process, which does not see this memory: \
                     {verb} an owned type, such as `String` for `Cow<'a, str>`"
                ),
            );
        }
    }

    /// The length of an array, which may hold types of its own.
    fn visit_expr(&mut self, _: &'ast Expr) {}
}

/// What to write instead of a reference.
fn owned(reference: &TypeReference) -> String {
    let elem = match &*reference.elem {
        Type::Slice(slice) => return format!("`Vec<{}>`", text(&slice.elem)),
        Type::Reference(inner) => return owned(inner),
        elem => elem,
    };
    let name = match elem {
        Type::Path(path) => last_name(&path.path),
        _ => String::new(),
    };
    match &*name {
        "str" => "`String`".into(),
        "Path" => "`PathBuf`".into(),
        "OsStr" => "`OsString`".into(),
        "CStr" => "`CString`".into(),
        _ => format!("an owned `{}`", text(elem)),
    }
}

fn is_dyn(ty: &Type) -> bool {
    matches!(ty, Type::TraitObject(_))
}

fn is_error(bound: &TypeParamBound) -> bool {
    matches!(bound, TypeParamBound::Trait(bound) if last_name(&bound.path) == "Error")
}

pub(crate) fn last_name(path: &Path) -> String {
    path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default()
}

/// Tokens as one would write them: a token stream prints with spaces around everything.
pub(crate) fn text(tokens: &impl ToTokens) -> String {
    let spaced = quote!(#tokens).to_string();
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '"');
    let mut text = String::new();
    let mut chars = spaced.chars().peekable();
    while let Some(c) = chars.next() {
        let after_comma = matches!(text.chars().last(), Some(',' | ';'));
        let between_words =
            text.chars().last().is_some_and(word) && chars.peek().is_some_and(|c| word(*c));
        if c != ' ' || after_comma || between_words {
            text.push(c);
        }
    }
    text
}
