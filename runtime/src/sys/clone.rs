//! Making a child by `clone` as well as glibc's `fork` does, and as somebody else's child.
//!
//! References: `clone(2)`, `set_tid_address(2)`, `get_robust_list(2)`.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::fd::above_stdio;

/// What `clone` needs so that the copy's C library works as after its own `fork`.
#[derive(Debug)]
pub(crate) struct Cloner {
    /// Where glibc keeps the thread's number, which mutexes and `abort` read.
    tid_address: *mut libc::c_int,
    /// The thread's list of held robust mutexes: the kernel forgets it in a copy.
    robust_list: *mut libc::c_void,
    robust_list_len: usize,
}

/// Which side of the split this is.
#[derive(Debug)]
pub(crate) enum Cloned {
    /// The new process.
    Child,
    /// The process that asked, with the child's number and descriptor.
    Parent(u32, OwnedFd),
}

impl Cloner {
    /// Asks the kernel where the C library keeps the calling thread's state.
    pub(crate) fn new() -> nix::Result<Self> {
        let mut tid_address = ptr::null_mut();
        let mut robust_list = ptr::null_mut();
        let mut robust_list_len = 0usize;
        // SAFETY: both calls write one value each where they are told.
        unsafe {
            Errno::result(libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut tid_address))?;
            Errno::result(libc::syscall(
                libc::SYS_get_robust_list,
                0,
                &raw mut robust_list,
                &raw mut robust_list_len,
            ))?;
        }
        Ok(Self { tid_address, robust_list, robust_list_len })
    }

    /// Copies this process into a new child *of its parent*.
    ///
    /// # Safety
    /// The process must have one thread, the one that made this value: in the copy of a process
    /// with others, whatever locks those held stay locked for ever.
    pub(crate) unsafe fn clone_sibling(&self) -> nix::Result<Cloned> {
        let flags = libc::CLONE_PARENT
            | libc::CLONE_PIDFD
            | libc::CLONE_CHILD_SETTID
            | libc::CLONE_CHILD_CLEARTID;
        let mut pidfd: RawFd = -1;
        // The kernel takes the last two the other way round on x86-64.
        #[cfg(target_arch = "x86_64")]
        let (fourth, fifth) = (self.tid_address as usize, 0usize);
        #[cfg(not(target_arch = "x86_64"))]
        let (fourth, fifth) = (0usize, self.tid_address as usize);
        // SAFETY: without CLONE_VM the child has its own copy of this memory and goes on, on the
        // same stack (a null stack means that), as after a fork. `pidfd` is written in the parent;
        // the thread number is written in the child where the C library expects it.
        let pid = Errno::result(unsafe {
            libc::syscall(
                libc::SYS_clone,
                flags,
                ptr::null_mut::<libc::c_void>(),
                &raw mut pidfd,
                fourth,
                fifth,
            )
        })?;
        if pid == 0 {
            // SAFETY: these are the very values the kernel had for the thread we are a copy of.
            unsafe {
                libc::syscall(libc::SYS_set_robust_list, self.robust_list, self.robust_list_len);
            }
            super::copies::copied();
            return Ok(Cloned::Child);
        }
        // SAFETY: CLONE_PIDFD has just opened it for us.
        let pidfd = above_stdio(unsafe { OwnedFd::from_raw_fd(pidfd) })?;
        Ok(Cloned::Parent(pid as u32, pidfd))
    }
}
