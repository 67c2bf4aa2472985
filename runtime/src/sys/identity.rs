//! Who and where this process is, to be compared with another moment's.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{getresgid, getresuid, getsid};

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
        Self {
            pid: std::process::id(),
            users,
            groups,
            more_groups: more_groups(),
            session: getsid(None).ok().map(Into::into),
            no_new_privileges: nix::sys::prctl::get_no_new_privs().ok(),
            root: Directory::at(c"/"),
        }
    }
}

/// The groups of this process beside its own.
///
/// Not nix's `getgroups`: it reads a file first, to know how many there may be, at each start of a child.
fn more_groups() -> Vec<u32> {
    loop {
        // SAFETY: with no room for any, it only counts them.
        let count = unsafe { libc::getgroups(0, ptr::null_mut()) };
        let mut groups = vec![0; usize::try_from(count).unwrap_or(0)];
        // SAFETY: there is room for so many.
        let count = unsafe { libc::getgroups(groups.len() as libc::c_int, groups.as_mut_ptr()) };
        match Errno::result(count) {
            Err(Errno::EINVAL) => {} // there are more now
            count => {
                groups.truncate(count.unwrap_or(0) as usize);
                return groups;
            }
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
