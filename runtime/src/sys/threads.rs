//! Whether this process has a single thread, which is what makes `fork` safe.

use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
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

/// Whether a thread of some process has ended, or is ending; `None` where that is not to be told.
pub(crate) fn has_ended(pid: u32, tid: u32) -> Option<bool> {
    /// `PF_EXITING`: it is set before the kernel gives away what the thread holds.
    const EXITING: u64 = 0x4;

    let stat = match std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")) {
        Ok(stat) => stat,
        Err(error) => {
            let gone = matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH));
            return (gone && std::fs::exists("/proc/self").ok()?).then_some(true);
        }
    };
    // After the name in parentheses, which may hold anything: the state, then numbers.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    Some(matches!(state, "Z" | "X") || flags & EXITING != 0)
}
