//! Who and where this process is, to be compared with another moment's.

use std::ffi::CStr;

use nix::unistd::{getgroups, getresgid, getresuid, getsid};

/// A process, the rights it runs with, and the session it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    users: [u32; 3],
    groups: [u32; 3],
    more_groups: Vec<u32>,
    session: Option<i32>,
    no_new_privileges: Option<bool>,
    root: Option<Directory>,
}

impl Identity {
    pub(crate) fn now() -> Self {
        let users =
            getresuid().map_or([0; 3], |id| [id.real, id.effective, id.saved].map(Into::into));
        let groups =
            getresgid().map_or([0; 3], |id| [id.real, id.effective, id.saved].map(Into::into));
        let more_groups = getgroups().unwrap_or_default().into_iter().map(Into::into).collect();
        Self {
            pid: std::process::id(),
            users,
            groups,
            more_groups,
            session: getsid(None).ok().map(Into::into),
            no_new_privileges: nix::sys::prctl::get_no_new_privs().ok(),
            root: Directory::at(c"/"),
        }
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
        // Where the directory itself may not be searched, /proc still tells which it is.
        Self::at(c".").or_else(|| Self::at(c"/proc/self/cwd"))
    }

    fn at(path: &CStr) -> Option<Self> {
        let stat = nix::sys::stat::stat(path).ok()?;
        Some(Self { device: stat.st_dev, inode: stat.st_ino })
    }
}
