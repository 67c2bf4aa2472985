//! What is done once, in a process that has just begun, and how it was begun.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::libc;
use nix::unistd::{ForkResult, fork};

use super::exec::{self, HANDED_OVER};
use super::{fd, socket};

/// What the C library passes to an initialiser.
#[cfg_attr(any(not(target_env = "gnu"), feature = "manual-init"), allow(dead_code))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arguments {
    pub(crate) argc: libc::c_int,
    pub(crate) argv: *const *const libc::c_char,
    pub(crate) envp: *const *const libc::c_char,
}

/// Removes an environment variable.
///
/// # Safety
/// No other thread may exist.
pub(crate) unsafe fn remove_variable(name: &str) {
    // SAFETY: the caller promises that nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(name) };
}

/// Makes this the whole environment.
///
/// # Safety
/// No other thread may exist.
pub(crate) unsafe fn replace_environment(env: impl IntoIterator<Item = (OsString, OsString)>) {
    let strings = env.into_iter().filter_map(|(key, value)| {
        Some((CString::new(key.into_vec()).ok()?, CString::new(value.into_vec()).ok()?))
    });
    // SAFETY: the caller promises that nobody reads the environment meanwhile; the strings outlive
    // the calls, which copy them. Not std's `set_var`, which panics at a name that the C library
    // refuses; and of two variables of one name the first counts, as it did in the parent.
    unsafe {
        libc::clearenv();
        for (key, value) in strings {
            libc::setenv(key.as_ptr(), value.as_ptr(), 0);
        }
    }
}

/// The packet socket that this process was handed when it was executed, if it was.
///
/// # Safety
/// Nothing in this process may have a descriptor of that number unless it was handed over.
pub(crate) unsafe fn handed_over_socket() -> Option<OwnedFd> {
    // SAFETY: by the caller's promise, what has this number was handed over to us.
    let fd = unsafe { fd::inherit(HANDED_OVER) }.ok()?;
    if socket::is_packet_socket(fd.as_fd()) {
        return Some(fd);
    }
    leave_open(fd);
    None
}

/// Gives a descriptor back to whoever it belongs to: it stays open.
pub(crate) fn leave_open(fd: OwnedFd) {
    let _ = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()));
    let _ = fd.into_raw_fd();
}

/// Closes what this process inherited by accident, where its parent could not see to that.
///
/// # Safety
/// Nothing in this process may have opened a descriptor yet.
pub(crate) unsafe fn close_inherited() {
    if !exec::closes_the_rest() {
        // SAFETY: the caller's promise is the one this needs.
        unsafe { fd::close_from(HANDED_OVER + 1) };
    }
}

/// Forks this process: `None` in the child, its number in the parent.
///
/// # Safety
/// The calling thread must be the only one.
pub(crate) unsafe fn fork_single_threaded() -> nix::Result<Option<u32>> {
    // SAFETY: with one thread, no lock is held by anybody who is not there in the child.
    match unsafe { fork() }? {
        ForkResult::Child => Ok(None),
        ForkResult::Parent { child } => Ok(Some(child.as_raw().cast_unsigned())),
    }
}

/// Writes out what C code has printed and the C library still holds.
pub(crate) fn flush_c_streams() {
    // SAFETY: null means all streams; the C library locks each.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Names the calling thread, as `ps` and `top` show it: 15 bytes are kept.
pub(crate) fn name_thread(name: &str) {
    let kept: Vec<u8> = name.bytes().filter(|&byte| byte != 0).take(15).collect();
    if let Ok(name) = CString::new(kept) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}

/// The calling thread's name, as the system knows it: at most 15 bytes.
pub(crate) fn thread_name() -> String {
    let mut name = [0u8; 16];
    // SAFETY: the kernel writes up to 16 bytes, the last of them a zero.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..len]).into_owned()
}
