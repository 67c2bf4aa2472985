//! Executing the program again, and shaking hands with what comes up.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use super::reentry::{MARKER, Refusal, Role, Summons, hex, nonce};
use super::{Environment, Program, Started, died_at_start, pidfd_of_new_child};
use crate::error::{Error, Result};
use crate::sys::poll::Wait;
use crate::sys::{self, auxv, exec, lifeline, socket};
use crate::wire::{self, RecvFailure};

/// Starts a process by executing the program.
pub(super) fn start(program: Program, name: &str, env: &Environment) -> Result<Started> {
    let Executed { pid, channel, lifeline } = execute(program, Role::Child, name, env)?;
    let (pidfd, channel, lifeline) = pidfd_of_new_child(name, pid, channel, lifeline)?;
    Ok(Started { pid, pidfd, channel, lifeline, needs_env: false, needs_dir: false })
}

/// A copy of the program that has answered.
#[derive(Debug)]
pub(super) struct Executed {
    pub(super) pid: u32,
    pub(super) channel: OwnedFd,
    pub(super) lifeline: OwnedFd,
}

/// Executes the program in this role, and waits until it has answered.
pub(super) fn execute(
    program: Program,
    role: Role,
    name: &str,
    env: &Environment,
) -> Result<Executed> {
    if auxv::is_secure_execution() {
        return Err(Error::RaisedPrivileges);
    }
    let fingerprint = (program.fingerprint)()?;
    let failed = |error| Error::os("make a socket and a pipe for a child", error);
    let (ours, theirs) = socket::pair().map_err(failed)?;
    let (held, tied) = lifeline::pair().map_err(failed)?;
    let nonce = nonce();

    // The summons waits in the socket before the process exists: by it, the process knows that it
    // is meant. The variable alone only tells it to look.
    let summons = Summons { role, nonce, fingerprint };
    wire::send(ours.as_fd(), Summons::KIND, &summons.to_bytes(), &[tied.as_fd()], Wait::Never)
        .map_err(|error| Error::os("write to a new socket", error))?;

    let marker = (OsString::from(MARKER), OsString::from(hex(&nonce)));
    let env: Vec<CString> = env
        .iter()
        .filter(|(key, _)| key != MARKER) // the first of a name is the one that counts
        .chain([&marker])
        .filter_map(|(key, value)| assignment(key, value))
        .collect();
    let pid = exec::this_program(&theirs, &env)
        .map_err(|error| Error::os("execute this program again", error))?;
    drop((theirs, tied)); // or their ends would never show
    let answer = wire::recv(ours.as_fd(), Wait::Forever, |packet| {
        Refusal::from_answer(packet.kind, packet.payload)
    });
    let error = match answer {
        Ok(Some(None)) => return Ok(Executed { pid, channel: ours, lifeline: held }),
        Ok(Some(Some(refusal))) => refusal.into_error(),
        Ok(None) | Err(RecvFailure::Corrupt(_) | RecvFailure::DescriptorsLost) => Error::OtherBuild,
        Err(RecvFailure::Disconnected | RecvFailure::TimedOut) => {
            drop(held);
            return Err(died_at_start(name, pid));
        }
        Err(RecvFailure::Os(error)) => Error::os("hear from a new process", error),
    };
    drop((ours, held)); // it ends by this, if it has not yet
    let _ = sys::pidfd::await_and_reap_by_number(pid);
    Err(error)
}

fn assignment(key: &OsStr, value: &OsStr) -> Option<CString> {
    CString::new([key.as_bytes(), b"=", value.as_bytes()].concat()).ok()
}
