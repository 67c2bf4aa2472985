//! The attributes `#[process]` and `#[test]`, `#[derive(Process)]`, `#[derive(Shareable)]` and
//! `#[derive(Zeroable)]` of the crate `offspring`, which re-exports them: depend on that crate, not on this one.
//!
//! An item goes through four stages, a module each: `parse` reads the tokens, `model` gives
//! every part its place in the output, `check` finds everything that is wrong with it at once,
//! `expand` writes the code. An item with errors goes to `fallback` instead, which writes just
//! enough for the rest of the program to compile. `shareable` and `test` have stages of their own.
#![forbid(unsafe_code)]

mod check;
mod expand;
mod fallback;
mod model;
mod parse;
mod shareable;
mod test;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use crate::{model::Function, parse::Item};

/// Turns a function or a type into a process: a value that describes work, which can run here, in
/// another process, or in a pool.
///
/// # On a function
///
/// ```
/// use offspring::process;
///
/// /// Multiplies a number by itself.
/// #[process]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let child = square(3).spawn()?; // in another process
/// assert_eq!(child.join()?, 9);
/// assert_eq!(square(3).run(), 9); // in this one
/// # Ok(())
/// # }
/// ```
///
/// The function no longer does its work when it is called: it returns a value of the type
/// `square`, which holds the arguments and implements `offspring::Process`. The type has the
/// function's name, visibility and documentation. Its methods `spawn` and `run` are its own, so the
/// trait need not be imported.
///
/// The arguments and the result travel to and from the other process, so their types are owned and
/// implement `serde`'s `Serialize` and `Deserialize`. What serde offers for a field can be said of
/// an argument: `#[serde(with = "..")] at: Instant`. There is one entry in the program for each
/// process, found by its name, so a process is not generic.
///
/// The body is an ordinary function's: `return`, `?`, patterns in the arguments, and a call of the
/// constructor by its name all work. Attributes that are not about the declaration (`#[inline]`,
/// `#[instrument]`) apply to the body; a `#[must_use]` applies to the result of `run`, and an
/// `#[expect]` counts as `#[allow]`, because what it expects may be found in only one of the items
/// that the function becomes.
///
/// A `#[derive(..)]` below `#[process]` applies to the type: with `Clone`, a call can be kept, to be
/// started again if it fails.
///
/// ```
/// use offspring::process;
///
/// #[process]
/// #[derive(Clone)]
/// fn length(path: String) -> u64 {
///     std::fs::metadata(path).map_or(0, |file| file.len())
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let work = length("/proc/self/exe".into());
/// let length = match work.clone().spawn()?.join() {
///     Ok(length) => length,
///     Err(error) => {
///         eprintln!("{error}: once more");
///         work.spawn()?.join()?
///     }
/// };
/// assert!(length > 0);
/// # Ok(())
/// # }
/// ```
///
/// # On a struct or an enum
///
/// ```
/// use offspring::{Process, process};
///
/// #[process]
/// struct Looper {
///     count: u32,
/// }
///
/// impl Process for Looper {
///     type Output = u32;
///
///     fn run(self) -> u32 {
///         self.count
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert_eq!(Looper { count: 3 }.spawn()?.join()?, 3);
/// # Ok(())
/// # }
/// ```
///
/// The attribute adds `#[derive(Serialize, Deserialize, Process)]`; what the process does is yours
/// to write, in `impl Process`. Attributes of serde can be used as in any type that derives its
/// traits, if they stand below `#[process]`.
///
/// # Options
///
/// `#[process(crate = path)]` says where the crate `offspring` is found, for a program that knows
/// it by another name.
#[proc_macro_attribute]
pub fn process(
    options: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    attribute(options.into(), item.into()).into()
}

/// Registers a type as a process: the part of `#[process]` for a type whose `Serialize` and
/// `Deserialize` you derive or implement yourself.
///
/// ```
/// use offspring::Process;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Process)]
/// struct Looper {
///     count: u32,
/// }
///
/// impl Process for Looper {
///     type Output = u32;
///
///     fn run(self) -> u32 {
///         self.count
///     }
/// }
/// ```
///
/// The helper attribute `#[process(crate = path)]` says where the crate `offspring` is found.
#[proc_macro_derive(Process, attributes(process))]
pub fn derive_process(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    derive(item.into()).into()
}

/// Implements the trait `offspring::shm::Shareable`: says that values of the type
/// may live in shared memory.
///
/// ```
/// use offspring::shm::{ArrayString, Shareable, Shared};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Shareable)]
/// enum State {
///     Idle,
///     Busy,
/// }
///
/// #[derive(Shareable)]
/// struct Worker<T, const N: usize> {
///     name: ArrayString<32>,
///     state: State,
///     hits: AtomicU64,
///     last: [T; N],
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let worker = Shared::new(Worker {
///     name: "first".try_into().unwrap(),
///     state: State::Idle,
///     hits: AtomicU64::new(0),
///     last: [0_u8; 4],
/// })?;
/// worker.hits.fetch_add(1, Ordering::Relaxed);
/// # Ok(())
/// # }
/// ```
///
/// # What it asks
///
/// - Every field is `Shareable`, which the compiler checks, and so is every type parameter. (A
///   field whose type is an associated one needs a `where T::Item: Shareable`.)
/// - An enum has no fields and is one byte: a process that is killed in the middle of a write
///   cannot leave half of a byte. It has up to 256 variants, and `#[repr(u8)]`, `#[repr(i8)]` or
///   no `#[repr]`.
/// - No lifetime parameters, no union, no `impl Drop`. (A generic type with a destructor is refused
///   where a value is put into shared memory.)
///
/// The types of the standard library that cannot be shared are known by their names, and the error
/// says what to hold instead. A type of your own that has such a name is told apart by a path:
/// `self::File`.
///
/// # What it does not ask
///
/// What your own code expects of the fields *together*: a process that is killed in the middle of a
/// write may leave new values in some and old ones in others, or half of a new number. If `unsafe`
/// code relies on more than each field having some value of its type, do not derive this.
///
/// # Under `#![forbid(unsafe_code)]`
///
/// The trait is `unsafe` to implement, deriving it is not: what it vouches for is checked. rustc does
/// not look for `unsafe` in code that a derive has written, so the derive can be used where
/// `unsafe_code` is denied or forbidden.
///
/// # Options
///
/// The helper attribute `#[shareable(crate = path)]` says where the crate `offspring` is found, for a
/// program that knows it by another name.
#[proc_macro_derive(Shareable, attributes(shareable))]
pub fn derive_shareable(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    shareable::derive(item.into()).into()
}

/// Implements the trait `offspring::shm::Zeroable` for a struct: says that all-zero bytes are a value of it.
///
/// ```
/// use offspring::shm::{ArrayString, Shareable, SharedMut, Zeroable};
///
/// #[derive(Shareable, Zeroable)]
/// struct Row<T> {
///     name: ArrayString<32>,
///     sum: f64,
///     last: [T; 4],
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let mut table = SharedMut::<Row<u32>>::zeroed(1_000)?;
/// let row = &mut table.as_mut_slice()[999];
/// assert!(row.name.is_empty() && row.sum == 0.0 && row.last == [0; 4]);
/// # Ok(())
/// # }
/// ```
///
/// # What it asks
///
/// - The type is `Shareable`: derive that as well.
/// - Every field is `Zeroable`, which the compiler checks, and so is every type parameter. (A field whose
///   type is an associated one needs a `where T::Item: Zeroable`.)
/// - It is a struct. An enum need not have a variant that is 0.
/// - It has no destructor: one that is generic is asked where it is used.
///
/// ```compile_fail,E0080
/// # use offspring::shm::{Shareable, SharedMut, Zeroable};
/// #[derive(Shareable, Zeroable)]
/// struct Guard<T>(T);
///
/// impl<T> Drop for Guard<T> {
///     fn drop(&mut self) {}
/// }
///
/// let guards = SharedMut::<Guard<u8>>::zeroed(2);
/// ```
///
/// # Under `#![forbid(unsafe_code)]`
///
/// As with `#[derive(Shareable)]`: the trait is `unsafe` to implement, deriving it is not.
///
/// # Options
///
/// Where the crate `offspring` is found is said by `#[shareable(crate = path)]`, for both derives.
#[proc_macro_derive(Zeroable, attributes(shareable))]
pub fn derive_zeroable(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    shareable::derive_zeroable(item.into()).into()
}

/// A test that runs in a process of its own.
///
/// A crash of it, a hang, or whatever it does to its process, is a failure of that test alone: the
/// others go on. It stands in place of `#[test]`, and is run by `cargo test` and
/// `cargo nextest run` like any other.
///
/// ```
/// # unsafe fn overrun() {}
/// # fn parse(_: &[u8]) {}
/// #[offspring::test]
/// fn a_buffer_overrun_is_noticed() {
///     // SAFETY: wrong on purpose.
///     unsafe { overrun() }
/// }
///
/// #[offspring::test(timeout = "5s", memory = "256 MiB")]
/// fn it_ends_and_does_not_eat_the_machine() -> std::io::Result<()> {
///     parse(&std::fs::read("tests/nested.json")?);
///     Ok(())
/// }
/// ```
///
/// A test fails
///
/// - if it panics, or returns an error: what it says, and where, is reported as usual;
/// - if its process is killed by a signal (an invalid access, `abort`, an overflow of the stack,
///   want of memory), or calls `exit`;
/// - if it takes longer than its `timeout`: then the processes it has started, and theirs, are
///   listed with what each waits for, and all are killed.
///
/// However it ends, whether it passes, fails, crashes or hangs, no process that it has started is left
/// behind: those that have not ended are killed, detached ones and those of `std::process::Command`
/// too, and waited for. If one has not ended after ten seconds (it may wait for a disk that does not
/// answer), the test fails, and tells which; so does one that nobody may kill. A process escapes this
/// only if it has lost its ancestors *and* no longer has the test's environment.
///
/// What it prints is shown as other tests' output is: if it fails, or with `--nocapture`. It goes
/// through a pipe.
///
/// `#[should_panic]`, also with `expected = ".."`, is for panics: a test that is killed or hangs
/// has not panicked as expected. `#[ignore]`, `#[cfg]`, lints and docs are written as on other
/// tests, below this attribute, and it may return what those may (`Result<(), E>`, `ExitCode`).
///
/// # The process
///
/// It is made by `StartMethod::Spawn`: a fresh process with one thread, in which no other test has
/// run. It has a copy of the harness's environment and working directory, and a change there
/// reaches no other test. (It also has a variable `OFFSPRING_TEST`, by which processes are found
/// that belong to it and have lost their parents.) There is no choice of the method, since only
/// this one takes nothing over from the harness; a test that wants its own children to be made in
/// another way calls `offspring::set_start_method`.
///
/// # Options
///
/// - `timeout = "5s"`: the time that it may take, a whole number with `ms`, `s`, `min` (or `m`) or `h`;
///   or an expression that gives a `Duration`. Without it there is no limit.
/// - `memory = "256 MiB"`: the most memory it may map, with `KiB`, `MiB`, `GiB` or `kB`, `MB`, `GB`; or
///   an expression that gives a number of bytes, a `u64`. It limits the address space, as
///   `Builder::memory_limit` does, and holds for each of the processes that the test starts.
/// - `crate = path`: where the crate `offspring` is found, for a program that knows it by another
///   name.
///
/// # Where it cannot be used
///
/// By the name `test` where `use offspring::*` imports it: that and std's `#[test]` are then ambiguous, and
/// neither can be written without a path. Import what you use by name, and write `#[offspring::test]`.
///
/// Where a program has to call `offspring::init()` first thing in `main` (the feature
/// `manual-init`, musl), for the standard harness's `main` does not.
#[proc_macro_attribute]
pub fn test(
    options: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    test::attribute(options.into(), item.into()).into()
}

fn attribute(options: TokenStream, item: TokenStream) -> TokenStream {
    let (krate, option_errors) = parse::options(options);
    let (errors, code) = match syn::parse2(item.clone()) {
        Ok(Item::Function(function)) => {
            let function = Function::from(function);
            let errors = check::function(&function);
            let code = match errors.is_empty() {
                true => expand::function(&krate, &function),
                false => fallback::function(&krate, function),
            };
            (errors, code)
        }
        Ok(Item::Type(input)) => {
            let errors = check::attribute_type(&input);
            let code = match errors.is_empty() {
                true => expand::attribute_type(&krate, &input),
                false => fallback::attribute_type(&krate, input),
            };
            (errors, code)
        }
        Err(error) => (error.into(), item),
    };
    quote!(#option_errors #errors #code)
}

fn derive(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let (krate, option_errors) = parse::helper_options(&input.attrs);
    let errors = check::derived_type(&input);
    let code = match errors.is_empty() {
        true => expand::derived_type(&krate, &input),
        false => fallback::derived_type(&krate, &input),
    };
    quote!(#option_errors #errors #code)
}
