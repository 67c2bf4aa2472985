//! The child's side: from the channel to the work, and from its outcome to the end.

#![allow(unsafe_code)]

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use super::panic_report::PanicReport;
use super::panics::{self, Report};
use super::protocol::{Equipment, Instructions, Order, Outcome, text_of};
use super::registry::{self, Entry};
use super::{builder, exit, identity, table};
use crate::launch::{self, Origin, Program, StartMethod, Ties};
use crate::sys::poll::Wait;
use crate::sys::{self, fd, lifeline, limits, signal, startup, threads};
use crate::wire::endpoint::Endpoint;
use crate::wire::{self, RecvFailure};

/// What the launcher runs in a child.
pub(super) const PROGRAM: Program =
    Program { fingerprint: registry::fingerprint, prepare, child_main };

/// The exit code of a process that panicked: the same as of a Rust program.
const PANICKED: i32 = 101;
const FAILED: i32 = 1;

/// This process's channel, for the panic hook of a program in which panics abort.
static CHANNEL: Mutex<Option<Endpoint>> = Mutex::new(None);

/// Ends the process if a panic would unwind out of the child's code: in a forked child it would
/// unwind into the parent's.
struct NoWayBack;

impl Drop for NoWayBack {
    fn drop(&mut self) {
        signal::exit_now(PANICKED);
    }
}

/// What an executed copy does first: a fork server, once for all of its children.
fn prepare() {
    panics::install_hook(Report::Print, send_before_abort);
    sys::exit::prepare(registry::count());
}

/// Waits for instructions, does what they say, and ends.
fn child_main(ties: Ties, origin: Origin) -> ! {
    let _no_way_back = NoWayBack;
    if let Origin::Forked = origin {
        table::forget_parents();
        launch::end_fork_server(); // a fork lets go of it, and leaves it to its owner
        panics::install_hook(Report::Previous, send_before_abort);
    }
    // From here on, and before any user code, it does not outlive its parent.
    let tied = lifeline::tie(ties.lifeline.as_fd());
    let mut lifeline = Some(ties.lifeline);
    let channel = Endpoint::new(ties.channel); // which a fork of this process must not hold
    let outcome = wire::recv(channel.as_fd(), Wait::Forever, |packet| {
        let Order { instructions, equipment, process, fds } = Order::decode(packet)?;
        if instructions.detached {
            signal::leave_session()
                .map_err(|error| format!("could not lead a session of its own: {error}"))?;
            // The parent waits for this: from here on, its end is nothing to this process.
            if let Some(lifeline) = lifeline.take() {
                lifeline::untie(lifeline);
            }
        } else if let Err(error) = tied {
            return Err(format!("could not tie its life to its parent's: {error}"));
        }
        let entry = equip(&channel, instructions, equipment)?;
        Ok(entry.run(process, fds))
    });
    let outcome = match outcome {
        Ok(outcome) => outcome.unwrap_or_else(Outcome::Unequipped),
        Err(RecvFailure::Disconnected) => signal::exit_now(0), // nobody needs this process
        Err(failure) => Outcome::Unequipped(format!("its instructions did not arrive: {failure}")),
    };
    finish(&channel, &outcome, origin, lifeline)
}

/// Makes this process what its instructions say, and finds what it is to run.
fn equip(
    channel: &Endpoint,
    instructions: Instructions,
    equipment: Equipment<OwnedFd>,
) -> Result<&'static Entry, String> {
    let failed = |what: &'static str| move |error: nix::Error| format!("could not {what}: {error}");

    let null = if equipment.stdio.iter().all(Option::is_some) {
        None
    } else {
        Some(fd::null().map_err(failed("open /dev/null"))?)
    };
    for (number, stream) in fd::STDIO.zip(&equipment.stdio) {
        if let Some(stream) = stream.as_ref().or(null.as_ref()) {
            fd::become_standard(stream.as_fd(), number).map_err(failed("set a standard stream"))?;
        }
    }
    if let Some(dir) = equipment.dir {
        nix::unistd::fchdir(dir).map_err(failed("enter the working directory"))?;
    }
    if let Some(env) = instructions.env {
        let env = env.into_iter().map(|(key, value)| (text_of(key), text_of(value)));
        // SAFETY: no user code has run in this process, and initialisers that start threads keep
        // it from being made by a fork server. One that was executed may have such a thread, as
        // may a Rust program that sets a variable first thing in `main`.
        unsafe { startup::replace_environment(env) };
    }
    if let Some(bytes) = instructions.memory_limit {
        limits::limit_address_space(bytes).map_err(failed("limit its memory"))?;
    }
    startup::name_thread(&instructions.name);
    builder::set_start_method(StartMethod::from_index(instructions.start_method));
    identity::become_child(identity::Told {
        name: instructions.name,
        daemon: instructions.daemon,
        parent: identity::ToldOfParent {
            name: instructions.parent_name,
            pid: instructions.parent_pid,
        },
    });
    if cfg!(panic = "abort")
        && let Ok(copy) = fd::duplicate(channel)
    {
        *CHANNEL.lock().unwrap_or_else(PoisonError::into_inner) = Some(Endpoint::new(copy));
    }
    registry::entry_at(instructions.entry, &instructions.path)
        .ok_or_else(|| format!("this program has no process `{}`", instructions.path))
}

/// Tells the parent of a panic that is about to abort this process.
fn send_before_abort(report: PanicReport) {
    if let Ok(channel) = CHANNEL.try_lock()
        && let Some(channel) = &*channel
    {
        let _ = Outcome::Panicked(report).send(channel.as_fd());
    }
}

/// Tells the parent what came of the work, and ends.
fn finish(
    channel: &Endpoint,
    outcome: &Outcome,
    origin: Origin,
    _lifeline: Option<OwnedFd>, // open until the end
) -> ! {
    // What was printed is there before the outcome is.
    let _ = std::io::stdout().flush();
    let sent = outcome.send(channel.as_fd());
    let code = match (&sent, outcome) {
        (Ok(()), Outcome::Value(..)) => 0,
        (Ok(()), Outcome::Panicked(_)) => PANICKED,
        _ => FAILED,
    };
    if let Err(failure) = sent {
        // No memory or descriptor for a large value: a small word still fits.
        let error = std::io::Error::from(failure);
        let _ = Outcome::Unencodable(format!("its result cannot be sent: {error}"))
            .send(channel.as_fd());
    }
    match origin {
        Origin::Fresh => std::process::exit(code),
        // The exit handlers that the parent has registered are its own.
        Origin::Forked => {
            exit::end_children();
            let _ = std::io::stdout().flush();
            if threads::is_single_threaded_now() {
                startup::flush_c_streams();
            }
            signal::exit_now(code)
        }
    }
}
