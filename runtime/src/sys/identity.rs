//! Who and where this process is, to be compared with another moment's.

use nix::unistd::{getresgid, getresuid};

/// A process and the rights it runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    users: [u32; 3],
    groups: [u32; 3],
}

impl Identity {
    pub(crate) fn now() -> Self {
        let users =
            getresuid().map_or([0; 3], |id| [id.real, id.effective, id.saved].map(Into::into));
        let groups =
            getresgid().map_or([0; 3], |id| [id.real, id.effective, id.saved].map(Into::into));
        Self { pid: std::process::id(), users, groups }
    }
}

/// A directory, whatever path leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Directory {
    device: u64,
    inode: u64,
}

impl Directory {
    /// The working directory.
    pub(crate) fn current() -> Option<Self> {
        let stat = nix::sys::stat::stat(c".").ok()?;
        Some(Self { device: stat.st_dev, inode: stat.st_ino })
    }
}
