//! A word on standard error when the main thread's stack overflows.
//!
//! A process that was entered before `main` has no handler of `std`'s for this: without ours it
//! would die of a bare SIGSEGV. With it, it still does, but says why.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::libc;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

/// The lowest address that the stack may grow to.
static LOWEST: AtomicUsize = AtomicUsize::new(0);

/// How far from there a fault is taken for an overflow: frames are probed page by page.
const MARGIN: usize = 64 << 10;

/// Installs the handler, on a stack of its own. Both survive a `fork`.
pub(crate) fn report_overflow() {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_STACK) else { return };
    let Some(top) = super::auxv::executed_path()
        .map(|path| path.as_os_str().as_encoded_bytes().as_ptr() as usize)
    else {
        return;
    };
    if limit == RLIM_INFINITY {
        return;
    }
    // The program's path is the last thing on the stack's topmost page.
    LOWEST.store((top | 0xfff).saturating_sub(limit as usize), Ordering::Relaxed);

    let stack = Box::leak(Box::new([const { MaybeUninit::<u8>::uninit() }; 64 << 10]));
    let alternative = libc::stack_t {
        ss_sp: stack.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: size_of_val(stack),
    };
    // SAFETY: the stack was leaked, so it lasts. The handler calls async-signal-safe functions
    // only. All zeroes is a valid `sigaction`, with an empty mask.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGSEGV, ptr::null(), &raw mut before);
        if before.sa_sigaction != libc::SIG_DFL {
            return;
        }
        libc::sigaltstack(&raw const alternative, ptr::null_mut());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut());
    }
}

/// Runs once (SA_RESETHAND); the faulting instruction, run again on return, then ends the process.
extern "C" fn on_fault(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a siginfo of a SIGSEGV, which has an address if it was a fault.
    let (address, code) = unsafe { ((*info).si_addr() as usize, (*info).si_code) };
    if code <= 0 {
        // Sent by somebody: there is no instruction to run again, so send it again.
        // SAFETY: raise is async-signal-safe; the signal is blocked until this returns.
        unsafe { libc::raise(libc::SIGSEGV) };
        return;
    }
    if address.abs_diff(LOWEST.load(Ordering::Relaxed)) > MARGIN {
        return;
    }
    let mut name = [0u8; 16];
    let write = |text: &[u8]| {
        // SAFETY: write(2) reads `text`; a failure is nothing we could tell anybody.
        unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
    };
    // SAFETY: PR_GET_NAME writes at most 16 bytes, the last of them 0.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    write(b"\nprocess '");
    write(name.split(|&byte| byte == 0).next().unwrap_or_default());
    write(b"' has overflowed its stack\n");
}
