//! Whether this process has a single thread, which is what makes `fork` safe.

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

/// Whether the calling thread is the only one; `None` where neither the kernel nor `/proc` tells.
pub(crate) fn is_single_threaded() -> Option<bool> {
    // "If CLONE_THREAD is specified and the process has one thread, unshare does nothing": the
    // exact question, with no other effect. A container's filter may forbid it.
    match unshare(CloneFlags::CLONE_THREAD) {
        Ok(()) => return Some(true),
        Err(Errno::EINVAL) => return Some(false),
        Err(_) => {}
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let count = status.lines().find_map(|line| line.strip_prefix("Threads:"))?;
    Some(count.trim() == "1")
}
