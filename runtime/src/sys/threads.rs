//! Whether this process has a single thread, which is what makes `fork` safe.

use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};

/// So long may a thread that has been joined, or whose scope is over, be there still: it runs the
/// destructors of its thread-local values, and is taken apart, on a machine that may be busy.
const PARTING: Duration = Duration::from_millis(250);

/// Whether the calling thread is the only one, once those that are about to end have had the time for
/// it; `None` where neither the kernel nor `/proc` tells.
pub(crate) fn is_single_threaded() -> Option<bool> {
    let deadline = Instant::now() + PARTING;
    let mut pause = Duration::from_micros(100);
    loop {
        let single = look();
        if single != Some(false) || Instant::now() >= deadline {
            return single;
        }
        thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(5));
    }
}

/// The same, without waiting for threads that are about to end; where it is not to be told, false.
pub(crate) fn is_single_threaded_now() -> bool {
    look() == Some(true)
}

fn look() -> Option<bool> {
    // "If CLONE_THREAD is specified and the process has one thread, unshare does nothing": the
    // exact question, with no other effect. A container's filter may forbid it.
    match unshare(CloneFlags::CLONE_THREAD) {
        Ok(()) => Some(true),
        Err(Errno::EINVAL) => Some(false),
        Err(_) => threads_by_proc().map(|count| count == 1),
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
