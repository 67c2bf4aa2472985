//! The way into this crate in a process that was executed: before `main`, or by [`init`].

#![allow(unsafe_code)]

use super::work;
use crate::launch::reentry;

/// Lets this process be a child, in a build that runs nothing before `main`.
///
/// Ordinarily there is no need for it: a child is entered before `main`, by an initialiser of the
/// program. Where that is not possible (with musl) or not wanted (with the feature `manual-init`),
/// call this first thing in `main`. In a child it does not return: it does the child's work, and
/// ends the process. Where it is not needed it does nothing.
///
/// ```
/// offspring::init(); // first thing in `main`
/// // ...
/// ```
pub fn init() {
    if !reentry::ENTERS_BEFORE_MAIN {
        reentry::enter_from_main(work::PROGRAM);
    }
}

#[cfg(all(target_env = "gnu", not(feature = "manual-init")))]
mod before_main {
    use nix::libc::{c_char, c_int};

    use super::work;
    use crate::launch::reentry;
    use crate::sys::image::Initialiser;
    use crate::sys::startup::Arguments;

    /// Called by the C library before `main`, with all other initialisers.
    ///
    /// It may be called before those of crates that do not depend on this one: see
    /// [`reentry::enter_before_main`].
    extern "C" fn enter(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
        reentry::enter_before_main(enter, Arguments { argc, argv, envp }, work::PROGRAM);
    }

    // SAFETY: the section is an array of pointers to such functions, and this is one.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static ENTER: Initialiser = enter;
}
