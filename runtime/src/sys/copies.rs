//! How often this process is a copy of another: what belonged to the original is not the copy's.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc;

static COPIES: AtomicU32 = AtomicU32::new(0);

/// Has a fork count as one, from now on.
pub(crate) fn watch() {
    static WATCHED: Once = Once::new();

    extern "C" fn in_child() {
        copied();
    }
    WATCHED.call_once(|| {
        // SAFETY: the handler changes a number and a thread-local value without a destructor,
        // which may be done at any time.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// This process has just come about as a copy of another.
pub(crate) fn copied() {
    COPIES.fetch_add(1, Ordering::Relaxed);
    super::robust::forget_thread();
}

/// A number that is the same for as long as this process is the same.
pub(crate) fn count() -> u32 {
    COPIES.load(Ordering::Relaxed)
}
