//! The process group of the peer that runs. It ends when the driver ends, however that does: it would
//! measure for nobody, and be in the way of who measures next.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpid, getppid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The peer that runs, from its start until it is reaped: until then its number is no other's.
static RUNNING: Mutex<Option<Pid>> = Mutex::new(None);

fn running() -> MutexGuard<'static, Option<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has Ctrl-C and the like end the running peer, with all that it has started, and then the driver.
pub(crate) fn end_on_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Kept: so no other peer is started.
            let running = running();
            if let Some(group) = *running {
                let _ = killpg(group, Signal::SIGKILL);
            }
            signal_hook::low_level::exit(128 + signal);
        }
    });
    Ok(())
}

/// Starts a peer with `spawn`, in a group of its own.
///
/// On the main thread: the kernel kills the peer (not what it has started) when the thread that has
/// started it ends, which is how it learns that the driver was killed.
pub(crate) fn start(
    command: &mut Command,
    spawn: impl FnOnce(&mut Command) -> io::Result<Child>,
) -> io::Result<(Child, Pid)> {
    let driver = getpid();
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made, and no memory is allocated.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGKILL)?;
            // It may have ended before that.
            if getppid() == driver { Ok(()) } else { Err(Errno::ESRCH.into()) }
        });
    }
    let mut running = running();
    let child = spawn(command)?;
    let group = Pid::from_raw(child.id().cast_signed());
    *running = Some(group);
    Ok((child, group))
}

/// Before the peer is reaped.
pub(crate) fn forget() {
    *running() = None;
}
