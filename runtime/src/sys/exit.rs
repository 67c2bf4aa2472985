//! The short way out, for a process that has nothing to clean up.
//!
//! The C library's `exit` calls the registered handlers, newest first, and last of all the loader's,
//! which calls the destructors of every shared object. In a process that has just been forked, that
//! touches pages all over the place, each to be copied: more than a quarter of the cost of a child,
//! for nothing, since a Rust program's shared objects have no destructors to speak of.
//!
//! So a handler of ours is registered before any that the work may register. When its turn comes,
//! all of those have run, and what is left is what was there before `main`. If that is known to be
//! nothing, the handler ends the process.

#![cfg_attr(
    any(not(target_env = "gnu"), feature = "manual-init"),
    allow(dead_code, reason = "children are made in another way in this build")
)]

use std::ptr;
use std::sync::OnceLock;

use nix::libc::{self, c_int, c_void};

use super::image::{self, Objects};

/// The shared objects there were when there was nothing to clean up.
static OBJECTS: OnceLock<Objects> = OnceLock::new();

/// Initialisers that every program has and that register no handler: the C compiler's, the standard
/// library's (which keeps the arguments), and ours.
const KNOWN_INITIALISERS: usize = 3;

/// Shared objects whose destructors do nothing that anybody could notice.
const PLAIN_OBJECTS: [&str; 9] = [
    "", // the program itself
    "linux-vdso.so",
    "ld-linux",
    "libc.so",
    "libm.so",
    "libgcc_s.so",
    "libdl.so",
    "librt.so",
    "libpthread.so",
];

/// Takes the short way out of this process and of its copies, if nothing is lost by it.
///
/// `registrations` is how many of the program's initialisers are our registry's. If it has any other
/// (a C++ static, a profiler, another registry), that may have registered a handler, and the long
/// way is taken.
#[cfg(target_env = "gnu")]
pub(crate) fn prepare(registrations: usize) {
    unsafe extern "C" {
        fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    }

    if cfg!(feature = "manual-init") {
        return; // our initialiser is not there, and `main` may have registered handlers
    }
    let Some(objects) = image::objects() else { return };
    let program_is_plain = image::counts().is_some_and(|counts| {
        counts.initialisers == registrations + KNOWN_INITIALISERS
            && counts.finalisers <= 1
            && counts.early_initialisers == 0
    });
    let is_plain = |name: &String| {
        let name = name.rsplit('/').next().unwrap_or_default();
        PLAIN_OBJECTS
            .iter()
            .any(|plain| name == *plain || !plain.is_empty() && name.starts_with(plain))
    };
    // The loader itself is the last of those that a program starts with, and is never unloaded.
    let none_was_added = objects.names.last().is_some_and(|last| last.contains("/ld-"));
    if program_is_plain
        && none_was_added
        && objects.names.iter().all(is_plain)
        && OBJECTS.set(objects).is_ok()
    {
        // SAFETY: the handler does not unwind.
        unsafe { on_exit(end_now, ptr::null_mut()) };
    }
}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn prepare(_registrations: usize) {}

extern "C" fn end_now(code: c_int, _: *mut c_void) {
    // With other threads about, one of them may hold a stream; `exit` flushes without asking.
    if OBJECTS.get().is_some_and(Objects::are_all) && super::threads::is_single_threaded_now() {
        super::startup::flush_c_streams();
        // SAFETY: _exit has no memory effects.
        unsafe { libc::_exit(code) };
    }
}
