//! Sleeping until a word in shared memory changes.
//!
//! References: `futex(2)`, `futex_waitv` (Linux 5.16: `Documentation/userspace-api/futex2.rst`).

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

use super::poll::Wait;

/// The most words that [`wait_any`] can watch.
pub(crate) const MAX_WATCHED: usize = 128;

/// How often a process looks for the dead where the kernel cannot watch several words at once.
const OLD_KERNEL_LOOKS: Duration = Duration::from_millis(100);

/// Sleeps while `word` is `expected`, until it is woken; false when the time is up.
///
/// May return early for no reason.
pub(crate) fn wait(word: &AtomicU32, expected: u32, wait: Wait) -> bool {
    let Ok(timeout) = left(wait) else { return false };
    // SAFETY: the word is alive for the call. The kernel compares it and sleeps; it writes nothing.
    let result = Errno::result(unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
        )
    });
    result != Err(Errno::ETIMEDOUT)
}

/// Sleeps while every word is what is expected of it, until one is woken; false when the time is
/// up. At most [`MAX_WATCHED`] words.
///
/// May return early for no reason: on kernels that can watch one word only (before 5.16), where
/// that is the first, it does so ten times a second.
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], until: Wait) -> bool {
    /// `futex_waitv` failed as it does where there is none.
    static NONE: AtomicBool = AtomicBool::new(false);

    if let [(word, expected)] = words {
        return wait(word, *expected, until);
    }
    if !NONE.load(Ordering::Relaxed) {
        let Ok(timeout) = left(until) else { return false };
        match waitv(words, timeout) {
            Err(Errno::ENOSYS | Errno::EPERM) => NONE.store(true, Ordering::Relaxed),
            result => return result != Err(Errno::ETIMEDOUT),
        }
    }
    let (word, expected) = words[0];
    let (now, early) = until.no_longer_than(OLD_KERNEL_LOOKS);
    wait(word, expected, now) || early
}

fn waitv(words: &[(&AtomicU32, u32)], timeout: Option<libc::timespec>) -> nix::Result<()> {
    /// `struct futex_waitv`.
    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Waiter {
        value: u64,
        address: u64,
        flags: u32,
        reserved: u32,
    }
    /// `FUTEX2_SIZE_U32`; without `FUTEX2_PRIVATE`, so for all processes.
    const SHARED_U32: u32 = 2;

    let mut waiters =
        [Waiter { value: 0, address: 0, flags: SHARED_U32, reserved: 0 }; MAX_WATCHED];
    let count = words.len().min(MAX_WATCHED);
    for (waiter, (word, expected)) in waiters.iter_mut().zip(words) {
        waiter.value = u64::from(*expected);
        waiter.address = word.as_ptr() as u64;
    }
    // This call takes a moment, not a duration.
    let deadline = timeout.map(|timeout| {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
            .expect("the monotonic clock");
        let left = Duration::new(timeout.tv_sec as u64, timeout.tv_nsec as u32);
        timespec(Duration::from(now) + left)
    });
    // SAFETY: `waiters` has `count` entries, each with the address of a word that is alive for the
    // call. The kernel writes nothing.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            waiters.as_ptr(),
            count,
            0,
            deadline.as_ref().map_or(ptr::null(), ptr::from_ref),
            libc::CLOCK_MONOTONIC,
        )
    })
    .map(drop)
}

/// Wakes up to `count` of those who sleep on `word`; says how many there were.
pub(crate) fn wake(word: &AtomicU32, count: u32) -> usize {
    let count = count.min(i32::MAX as u32);
    // SAFETY: only the address is used, to find the sleepers.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    usize::try_from(woken).unwrap_or(0)
}

/// What is left of the time, `None` for ever; an error when it is up.
fn left(wait: Wait) -> Result<Option<libc::timespec>, ()> {
    match wait {
        Wait::Never => Err(()),
        Wait::Forever => Ok(None),
        Wait::Until(deadline) => match deadline.checked_duration_since(Instant::now()) {
            None | Some(Duration::ZERO) => Err(()),
            Some(left) => Ok(Some(timespec(left))),
        },
    }
}

fn timespec(duration: Duration) -> libc::timespec {
    // Beyond what the kernel counts is for ever.
    let seconds = libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX);
    libc::timespec { tv_sec: seconds, tv_nsec: duration.subsec_nanos() as _ }
}
