//! What of the standard library cannot lie in shared memory, and what can in its place.
//!
//! A name stands for the standard library's type if it is alone (`Box`) or in its module
//! (`boxed::Box`). Of `self::Box`, which is the program's own, the compiler knows more than we do.

use syn::{GenericArgument, Path, PathArguments, PathSegment, Type};

use crate::check::text;

const LIST: &str = "offspring::shm::ArrayVec";
const TEXT: &str = "an `offspring::shm::ArrayString<N>`";

/// What to tell of a type that cannot be held.
pub(super) fn of(path: &Path) -> Option<String> {
    let last = path.segments.last()?;
    let (modules, message) = refusal(&last.ident.to_string(), &Arguments::of(last))?;
    let stands_for_it = match path.segments.iter().rev().nth(1) {
        None => path.leading_colon.is_none(),
        Some(module) => {
            let own = ["crate", "$crate", "self", "super"];
            modules.iter().any(|name| module.ident == name)
                && !own.iter().any(|name| path.segments[0].ident == name)
        }
    };
    stands_for_it.then_some(message)
}

/// What to hold in place of something that points there.
pub(super) fn pointee(ty: &Type) -> String {
    match ty {
        Type::Slice(slice) => {
            let item = text(&slice.elem);
            format!("a `[{item}; N]`, or an `{LIST}<{item}, N>`")
        }
        Type::Path(path) if path.path.is_ident("str") => TEXT.into(),
        Type::TraitObject(_) => "a type that has a name".into(),
        Type::Reference(inner) => pointee(&inner.elem),
        Type::Paren(inner) => pointee(&inner.elem),
        Type::Group(inner) => pointee(&inner.elem),
        _ => format!("the `{}` itself", text(ty)),
    }
}

/// The types among the arguments of a path's segment.
pub(super) fn type_arguments(segment: &PathSegment) -> impl Iterator<Item = &Type> {
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        PathArguments::None | PathArguments::Parenthesized(_) => None,
    };
    arguments.into_iter().flatten().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

struct Arguments<'a>(Vec<&'a Type>);

impl<'a> Arguments<'a> {
    fn of(segment: &'a PathSegment) -> Self {
        Self(type_arguments(segment).collect())
    }

    /// An argument as it is written; a stand-in, if it is left out.
    fn text(&self, index: usize, stand_in: &str) -> String {
        self.0.get(index).map_or_else(|| stand_in.into(), text)
    }

    fn pointee(&self) -> String {
        self.0.first().map_or_else(|| "the value itself".into(), |ty| pointee(ty))
    }
}

/// The standard library's modules in which a type of this name is, and what to tell of it.
fn refusal(name: &str, args: &Arguments<'_>) -> Option<(&'static [&'static str], String)> {
    let address = || {
        let instead = args.pointee();
        format!("`{name}` is an address, which means nothing in another process: hold {instead}")
    };
    let elsewhere = |instead: String| {
        format!("`{name}` keeps what it holds in the memory of one process: hold {instead}")
    };
    let torn = |instead: String| {
        format!(
            "a process that is killed in the middle of a write could leave half of each of two \
             values, which for `{name}` may be none: hold {instead}"
        )
    };
    let descriptor = || {
        format!(
            "`{name}` is the number of a descriptor, which means something else in another \
             process: send it through a pipe, as an `offspring::Fd`"
        )
    };
    let list = || elsewhere(format!("an `{LIST}<{}, N>`", args.text(0, "T")));
    let bytes = || elsewhere(format!("{TEXT}, whose `from_bytes` takes any bytes"));

    let of_modules: (&[&str], String) = match name {
        "Box" => (&["boxed"], address()),
        "Rc" => (&["rc"], address()),
        "Arc" => (&["sync"], address()),
        "Weak" => (&["rc", "sync"], address()),
        "Cow" => (&["borrow"], address()),
        "NonNull" => (&["ptr"], address()),
        "AtomicPtr" => (&["atomic"], address()),

        "String" => (&["string"], elsewhere(TEXT.into())),
        "PathBuf" => (&["path"], bytes()),
        "OsString" | "CString" => (&["ffi"], bytes()),
        "Vec" => (&["vec"], list()),
        "VecDeque" | "LinkedList" | "BinaryHeap" | "HashSet" | "BTreeSet" => {
            (&["collections"], list())
        }
        "HashMap" | "BTreeMap" => {
            let (key, value) = (args.text(0, "K"), args.text(1, "V"));
            (&["collections"], elsewhere(format!("an `{LIST}<({key}, {value}), N>`")))
        }

        "Option" => {
            let inner = args.text(0, "T");
            let instead = format!("a `bool` beside the `{inner}`, or an `{LIST}<{inner}, 1>`");
            (&["option"], torn(instead))
        }
        "Result" => {
            let instead = "both values, and an enum without fields that tells which of them counts";
            (&["result"], torn(instead.into()))
        }
        "str" => (&["primitive"], torn(TEXT.into())),
        "char" => (&["primitive"], torn("a `u32`, and read it with `char::from_u32`".into())),
        "Duration" => (&["time"], torn("its nanoseconds, as a `u64`".into())),
        "Instant" | "SystemTime" => {
            (&["time"], torn("the nanoseconds since some moment, as a `u64`".into()))
        }
        "NonZero" => {
            let plain = args.text(0, "T");
            (&["num"], torn(format!("a `{plain}`, and read it with `NonZero::new`")))
        }
        _ if let Some(plain) = non_zero(name) => {
            (&["num"], torn(format!("a `{plain}`, and read it with `{name}::new`")))
        }

        "RefCell" => {
            let inner = args.text(0, "T");
            let why = "what a killed process had borrowed of a `RefCell` stays borrowed for ever";
            (&["cell"], format!("{why}: hold a `Cell<{inner}>`"))
        }
        "Mutex" | "RwLock" | "Condvar" => {
            let message = format!(
                "`{name}` does not lie in shared memory: `std`'s knows the threads of one process, \
                 and `offspring::sync`'s is a handle. Leave it out, and keep one of \
                 `offspring::sync` beside the whole value"
            );
            (&["sync"], message)
        }

        "File" => (&["fs"], descriptor()),
        "OwnedFd" | "BorrowedFd" | "RawFd" => (&["fd", "io"], descriptor()),
        "TcpStream" | "TcpListener" | "UdpSocket" | "UnixStream" | "UnixListener"
        | "UnixDatagram" => (&["net"], descriptor()),

        _ => return None,
    };
    Some(of_modules)
}

/// The number that `NonZeroU32` and its like are made of.
fn non_zero(name: &str) -> Option<String> {
    let plain = name.strip_prefix("NonZero")?.to_lowercase();
    let bits = plain.strip_prefix(['u', 'i'])?;
    ["8", "16", "32", "64", "128", "size"].contains(&bits).then_some(plain)
}
