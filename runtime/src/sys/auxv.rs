//! What the kernel told the program when it was executed.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

/// Whether the program runs with more rights than whoever started it (set-user-ID and the like).
pub(crate) fn is_secure_execution() -> bool {
    // SAFETY: getauxval only reads.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The path the program was executed by, as it was written then.
pub(crate) fn executed_path() -> Option<&'static Path> {
    // SAFETY: getauxval only reads.
    let address = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    if address.is_null() {
        return None;
    }
    // SAFETY: AT_EXECFN is the address of a string that the kernel put above the stack, where it
    // stays for the life of the program.
    let path = unsafe { CStr::from_ptr(address) };
    Some(Path::new(OsStr::from_bytes(path.to_bytes())))
}
