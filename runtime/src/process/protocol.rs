//! What passes over a channel: instructions to a child, and what came of them.
//!
//! Two packets at the most, one each way. A packet arrives whole or not at all, so a child that is
//! killed at any moment has either given its whole outcome or none.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

use super::panic_report::PanicReport;
use crate::sys::poll::Wait;
use crate::wire::{self, EncodeError, Kind, Packet, SendFailure};

/// What a child is to do, and as whom. The serialised process itself follows it in the packet.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Instructions {
    pub(super) entry: u32,
    pub(super) path: String,
    pub(super) name: String,
    pub(super) parent_name: String,
    pub(super) parent_pid: u32,
    pub(super) daemon: bool,
    pub(super) detached: bool,
    pub(super) start_method: u8,
    pub(super) memory_limit: Option<u64>,
    /// The whole environment, where it is not the one the child has.
    pub(super) env: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    /// Which of the standard three come as descriptors; the others are to be `/dev/null`.
    pub(super) stdio: [bool; 3],
    /// A working directory comes as a descriptor.
    pub(super) dir: bool,
}

/// The descriptors that come before those of the process's own.
#[derive(Debug, Default)]
pub(super) struct Equipment<F> {
    pub(super) stdio: [Option<F>; 3],
    pub(super) dir: Option<F>,
}

pub(super) fn bytes_of(text: &OsStr) -> Vec<u8> {
    text.as_bytes().to_vec()
}

pub(super) fn text_of(bytes: Vec<u8>) -> OsString {
    OsString::from_vec(bytes)
}

impl Instructions {
    const KIND: Kind = Kind(b'I');

    /// The packet's bytes up to the process, which the caller appends.
    pub(super) fn encode(&self, packet: &mut Vec<u8>) -> Result<(), EncodeError> {
        packet.extend_from_slice(&[0; 4]);
        wire::encode(self, packet)?;
        let len = (packet.len() - 4) as u32;
        packet[..4].copy_from_slice(&len.to_le_bytes());
        Ok(())
    }

    pub(super) fn send(
        channel: BorrowedFd<'_>,
        packet: &[u8],
        equipment: Equipment<BorrowedFd<'_>>,
        fds: &[OwnedFd],
    ) -> Result<(), SendFailure> {
        let own = equipment.stdio.into_iter().chain([equipment.dir]).flatten();
        let fds: Vec<_> = own.chain(fds.iter().map(AsFd::as_fd)).collect();
        wire::send(channel, Self::KIND, packet, &fds, Wait::Forever)
    }
}

/// Everything that a child is given, as it takes it from the packet.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) instructions: Instructions,
    pub(super) equipment: Equipment<OwnedFd>,
    /// The serialised process, and the descriptors of the handles in it.
    pub(super) process: &'a [u8],
    pub(super) fds: Vec<OwnedFd>,
}

impl<'a> Order<'a> {
    pub(super) fn decode(packet: Packet<'a>) -> Result<Self, String> {
        let split = || {
            let (&len, rest) = packet.payload.split_first_chunk()?;
            rest.split_at_checked(u32::from_le_bytes(len) as usize)
        };
        let (own, process) = match split() {
            Some(parts) if packet.kind == Instructions::KIND => parts,
            _ => return Err("the packet holds no instructions".into()),
        };
        let instructions: Instructions =
            wire::decode(own, Vec::new()).map_err(|error| error.to_string())?;
        let mut fds = packet.fds.into_iter();
        let mut next = |wanted: bool| match wanted {
            false => Ok(None),
            true => fds.next().map(Some).ok_or("a descriptor is missing"),
        };
        let [stdin, stdout, stderr] = instructions.stdio;
        let equipment = Equipment {
            stdio: [next(stdin)?, next(stdout)?, next(stderr)?],
            dir: next(instructions.dir)?,
        };
        Ok(Self { instructions, equipment, process, fds: fds.collect() })
    }
}

/// What came of a child's work.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It returned this.
    Value(Vec<u8>, Vec<OwnedFd>),
    /// It panicked.
    Panicked(PanicReport),
    /// What it returned does not serialise.
    Unencodable(String),
    /// It did not run: its arguments did not deserialise.
    Undecodable(String),
    /// It did not run: the child could not be made what it should have been.
    Unequipped(String),
}

impl Outcome {
    const VALUE: Kind = Kind(b'V');
    const PANICKED: Kind = Kind(b'P');
    const UNENCODABLE: Kind = Kind(b'E');
    const UNDECODABLE: Kind = Kind(b'D');
    const UNEQUIPPED: Kind = Kind(b'U');

    pub(super) fn send(&self, channel: BorrowedFd<'_>) -> Result<(), SendFailure> {
        let encoded;
        let (kind, payload, fds): (_, &[u8], &[OwnedFd]) = match self {
            Self::Value(bytes, fds) => (Self::VALUE, bytes, fds),
            Self::Panicked(report) => {
                encoded = report.to_bytes();
                (Self::PANICKED, &encoded, &[])
            }
            Self::Unencodable(reason) => (Self::UNENCODABLE, reason.as_bytes(), &[]),
            Self::Undecodable(reason) => (Self::UNDECODABLE, reason.as_bytes(), &[]),
            Self::Unequipped(reason) => (Self::UNEQUIPPED, reason.as_bytes(), &[]),
        };
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        wire::send(channel, kind, payload, &fds, Wait::Forever)
    }

    /// What a packet says. A value's bytes are given to `value`, to be decoded where they lie.
    pub(super) fn read<R>(
        packet: Packet<'_>,
        value: impl FnOnce(&[u8], Vec<OwnedFd>) -> R,
    ) -> Result<R, Self> {
        let text = || String::from_utf8_lossy(packet.payload).into_owned();
        Err(match packet.kind {
            Self::VALUE => return Ok(value(packet.payload, packet.fds)),
            Self::PANICKED => match PanicReport::from_bytes(packet.payload) {
                Some(report) => Self::Panicked(report),
                None => Self::Unencodable("the report of its panic is unreadable".into()),
            },
            Self::UNENCODABLE => Self::Unencodable(text()),
            Self::UNDECODABLE => Self::Undecodable(text()),
            Self::UNEQUIPPED => Self::Unequipped(text()),
            Kind(other) => Self::Unencodable(format!("its answer is of no known kind: {other}")),
        })
    }
}
