//! Entry before `main`: whether this process is an executed copy of its parent, and as what.

#![allow(unsafe_code)]
#![cfg_attr(
    any(not(target_env = "gnu"), feature = "manual-init"),
    allow(dead_code, unused_imports, reason = "nothing runs before `main` in this build")
)]

use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use super::{Origin, Program, Ties, server};
use crate::error::{Error, Result};
use crate::sys::image::{Initialiser, initialisers_after};
use crate::sys::poll::Wait;
use crate::sys::startup::{self, Arguments};
use crate::sys::{self, auxv, socket};
use crate::wire::{self, Kind, RecvFailure};

/// The variable that tells a new process to look for a summons. It never reaches user code.
pub(super) const MARKER: &str = "OFFSPRING_REENTRY";

const NONCE_LEN: usize = 16;

/// What an executed copy of the program is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Child,
    Server,
}

/// The first packet on the channel, queued before the process that reads it exists.
#[derive(Debug)]
pub(super) struct Summons {
    pub(super) role: Role,
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) fingerprint: u64,
}

impl Summons {
    pub(super) const KIND: Kind = Kind(b'S');

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let role = [self.role as u8];
        [&role[..], &self.nonce[..], &self.fingerprint.to_le_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[role], bytes) = bytes.split_first_chunk()?;
        let (&nonce, bytes) = bytes.split_first_chunk()?;
        let fingerprint = u64::from_le_bytes(bytes.try_into().ok()?);
        let role = [Role::Child, Role::Server].into_iter().find(|&known| known as u8 == role)?;
        Some(Self { role, nonce, fingerprint })
    }
}

/// Why a copy of the program will not do what it was executed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    OtherBuild = 1,
    Multithreaded,
    /// The kernel lacks what a fork server needs.
    NoClone,
    /// It runs with more rights than its parent's user has.
    RaisedPrivileges,
    NoDescriptors,
}

impl Refusal {
    const READY: Kind = Kind(b'R');
    const REFUSED: Kind = Kind(b'N');

    fn answer(refusal: Option<Self>, channel: &OwnedFd) -> bool {
        let (kind, payload) = match refusal {
            None => (Self::READY, Vec::new()),
            Some(refusal) => (Self::REFUSED, vec![refusal as u8]),
        };
        wire::send(channel.as_fd(), kind, &payload, &[], Wait::Forever).is_ok()
    }

    /// The answer to a summons, if it is one: ready, or a refusal.
    pub(super) fn from_answer(kind: Kind, payload: &[u8]) -> Option<Option<Self>> {
        match (kind, payload) {
            (Self::READY, []) => Some(None),
            (Self::REFUSED, [code]) => [
                Self::OtherBuild,
                Self::Multithreaded,
                Self::NoClone,
                Self::RaisedPrivileges,
                Self::NoDescriptors,
            ]
            .into_iter()
            .find(|&known| known as u8 == *code)
            .map(Some),
            _ => None,
        }
    }

    pub(super) fn into_error(self) -> Error {
        match self {
            Self::OtherBuild => Error::OtherBuild,
            Self::Multithreaded => Error::ServerMultithreaded,
            Self::RaisedPrivileges => Error::RaisedPrivileges,
            Self::NoDescriptors => {
                Error::os("execute this program again", nix::errno::Errno::EMFILE)
            }
            Self::NoClone => Error::os(
                "run a fork server (`StartMethod::Spawn` needs less of the kernel)",
                nix::errno::Errno::ENOSYS,
            ),
        }
    }
}

/// How far this process has come.
static STAGE: AtomicU8 = AtomicU8::new(NOT_ENTERED);
/// Our entry has not run: an initialiser before it is, or the program is to call `init`.
const NOT_ENTERED: u8 = 0;
/// We are in a shared object that some program has loaded.
const FOREIGN: u8 = 1;
/// The initialisers of a child or a server are running.
const INITIALISING: u8 = 2;
/// Processes can be started.
const ENTERED: u8 = 3;

/// Whether this build has an entry that runs before `main`.
///
/// musl passes initialisers no arguments, so `std::env::args` would be empty in a child.
pub(crate) const ENTERS_BEFORE_MAIN: bool =
    cfg!(all(target_env = "gnu", not(feature = "manual-init")));

/// Whether processes can be started from here.
pub(crate) fn check_entered() -> Result<()> {
    match STAGE.load(Ordering::Acquire) {
        ENTERED => Ok(()),
        FOREIGN => Err(Error::NotTheProgram),
        NOT_ENTERED if !ENTERS_BEFORE_MAIN => Err(Error::NotInitialized),
        _ => Err(Error::BeforeMain),
    }
}

/// The entry before `main`, from `ours`, an initialiser of the program.
///
/// Returns in an ordinary process. In a child or a server it does not: it runs the program's other
/// initialisers, then the work, and ends.
pub(crate) fn enter_before_main(ours: Initialiser, arguments: Arguments, program: Program) {
    let Some(later) = initialisers_after(ours) else {
        STAGE.store(FOREIGN, Ordering::Release);
        return;
    };
    enter(program, Entry::BeforeMain, || {
        for initialiser in later {
            initialiser(arguments.argc, arguments.argv, arguments.envp);
        }
    });
}

/// The entry from within `main`, for builds that run nothing before it.
pub(crate) fn enter_from_main(program: Program) {
    if STAGE.load(Ordering::Acquire) == NOT_ENTERED {
        enter(program, Entry::FromMain, || {});
    }
}

/// Where this crate was entered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    BeforeMain,
    FromMain,
}

fn enter(program: Program, entry: Entry, run_other_initialisers: impl FnOnce()) {
    if let Some((summons, ties)) = answer_summons(entry) {
        STAGE.store(INITIALISING, Ordering::Release);
        run_other_initialisers();
        STAGE.store(ENTERED, Ordering::Release);
        become_summoned(&summons, ties, program);
    }
    STAGE.store(ENTERED, Ordering::Release);
}

/// The summons for this process, if there is one.
///
/// Once there is, this process is ours and never gets to `main`, whatever else is wrong.
fn answer_summons(entry: Entry) -> Option<(Summons, Ties)> {
    let marker = std::env::var_os(MARKER)?;
    if entry == Entry::FromMain && sys::threads::is_single_threaded() == Some(false) {
        eprintln!(
            "offspring: `init` was called after a thread was started; call it first in `main`"
        );
        sys::signal::exit_now(1);
    }
    // SAFETY: before `main` nothing has started a thread but perhaps an initialiser; in `main`, that
    // was just seen.
    unsafe { startup::remove_variable(MARKER) };
    // SAFETY: our parent puts the socket there for us; if the variable lies, the descriptor is
    // looked at and left as it was.
    let channel = unsafe { startup::handed_over_socket() }?;
    let packet = wire::recv(channel.as_fd(), Wait::Never, |packet| {
        let summons = Summons::from_bytes(packet.payload)?;
        (packet.kind == Summons::KIND).then(|| (summons, packet.fds.into_iter().next()))
    });
    let (summons, lifeline) = match packet {
        Ok(Some((summons, lifeline))) if marker == *hex(&summons.nonce) => (summons, lifeline),
        // A summons, but not for this process.
        Ok(Some(_)) => sys::signal::exit_now(1),
        // One whose descriptor this process has no room for.
        Err(RecvFailure::DescriptorsLost) => refuse(Refusal::NoDescriptors, &channel),
        // Somebody has set the variable, and the descriptor is something else.
        Ok(None) | Err(_) => {
            startup::leave_open(channel);
            return None;
        }
    };
    if socket::peer_pid(channel.as_fd()) != Ok(std::os::unix::process::parent_id()) {
        sys::signal::exit_now(1); // whoever summoned it is gone
    }
    if auxv::is_secure_execution() {
        refuse(Refusal::RaisedPrivileges, &channel);
    }
    let Some(lifeline) = lifeline else { sys::signal::exit_now(1) };
    // Before any initialiser of the program's runs. (A child ties itself once more, and hears of it.)
    let _ = sys::lifeline::tie(lifeline.as_fd());
    if entry == Entry::BeforeMain {
        // SAFETY: our initialiser has opened nothing but the channel. Those of shared objects that
        // came before it could have, which is why the parent does this where it can.
        unsafe { startup::close_inherited() };
    }
    Some((summons, Ties { channel, lifeline }))
}

fn refuse(refusal: Refusal, channel: &OwnedFd) -> ! {
    Refusal::answer(Some(refusal), channel);
    sys::signal::exit_now(1)
}

/// Random, so that nobody takes a packet for a summons who was not meant.
pub(super) fn nonce() -> [u8; NONCE_LEN] {
    let random = || RandomState::new().hash_one(0).to_le_bytes();
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&random());
    nonce[8..].copy_from_slice(&random());
    nonce
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Is what the summons asks for, until the end of this process.
fn become_summoned(summons: &Summons, ties: Ties, program: Program) -> ! {
    sys::signal::ignore_sigpipe();
    sys::stack::report_overflow();
    wire::prepare();
    (program.prepare)();
    let same_build = (program.fingerprint)().is_ok_and(|own| own == summons.fingerprint);
    let cloner = sys::clone::Cloner::new();
    let refusal = if !same_build {
        Some(Refusal::OtherBuild)
    } else if summons.role == Role::Child {
        None
    } else if sys::threads::is_single_threaded() != Some(true) {
        Some(Refusal::Multithreaded)
    } else {
        cloner.is_err().then_some(Refusal::NoClone)
    };
    let heard = Refusal::answer(refusal, &ties.channel);
    match (heard, refusal, summons.role, cloner) {
        (true, None, Role::Child, _) => (program.child_main)(ties, Origin::Fresh),
        (true, None, Role::Server, Ok(cloner)) => server::serve(ties, cloner, program.child_main),
        _ => sys::signal::exit_now(1),
    }
}
