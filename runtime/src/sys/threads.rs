//! Whether this process has a single thread, which is what makes `fork` safe.

use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

const ATTEMPTS: usize = 50;

/// Whether the calling thread is the only one; `None` where neither the kernel nor `/proc` tells.
pub(crate) fn is_single_threaded() -> Option<bool> {
    // "If CLONE_THREAD is specified and the process has one thread, unshare does nothing": the
    // exact question, with no other effect. A container's filter may forbid it.
    for _ in 0..ATTEMPTS {
        match unshare(CloneFlags::CLONE_THREAD) {
            Ok(()) => return Some(true),
            // Perhaps only for a moment: a thread that was joined is still being taken apart.
            Err(Errno::EINVAL) => std::thread::sleep(Duration::from_micros(100)),
            Err(_) => return threads_by_proc().map(|count| count == 1),
        }
    }
    Some(false)
}

/// The same, without waiting for threads that are just being taken apart; where it is not to be
/// told, false.
pub(crate) fn is_single_threaded_now() -> bool {
    match unshare(CloneFlags::CLONE_THREAD) {
        Ok(()) => true,
        Err(Errno::EINVAL) => false,
        Err(_) => threads_by_proc() == Some(1),
    }
}

fn threads_by_proc() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let count = status.lines().find_map(|line| line.strip_prefix("Threads:"))?;
    count.trim().parse().ok()
}
