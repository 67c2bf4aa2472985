//! Memory that forks share, and memory that is handed over as a descriptor.

use std::ffi::c_void;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use nix::cmsg_space;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{IoSlice, IoSliceMut};

/// A value in memory that this process and all that it forks from now on share, for the rest of
/// their lives.
pub(crate) fn shared<T: Sync>(value: T) -> &'static T {
    let len = NonZeroUsize::new(size_of::<T>()).unwrap();
    // SAFETY: new memory, wherever the kernel puts it; page-aligned, large enough, never unmapped.
    unsafe {
        let place = mmap_anonymous(None, len, read_write(), MapFlags::MAP_SHARED).unwrap().cast();
        place.write(value);
        place.as_ref()
    }
}

fn read_write() -> ProtFlags {
    ProtFlags::PROT_READ | ProtFlags::PROT_WRITE
}

/// An empty file in memory.
pub(crate) fn memfd() -> File {
    memfd_create(c"bench", MFdFlags::MFD_CLOEXEC).unwrap().into()
}

/// One in memory that is as long, full of zeros.
pub(crate) fn memfd_of(len: usize) -> File {
    let file = memfd();
    file.set_len(len as u64).unwrap();
    file
}

/// A whole file, mapped.
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    len: NonZeroUsize,
}

impl Mapping {
    /// Maps so much of a file.
    pub(crate) fn new(file: impl AsFd, len: usize) -> Self {
        let len = NonZeroUsize::new(len).unwrap();
        // SAFETY: new memory, wherever the kernel puts it.
        let start =
            unsafe { mmap(None, len, read_write(), MapFlags::MAP_SHARED, file, 0) }.unwrap();
        Self { start, len }
    }

    /// Where it begins, as a `T`.
    pub(crate) fn at_start<T>(&self) -> NonNull<T> {
        assert!(size_of::<T>() <= self.len.get());
        self.start.cast()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: it is mapped as long as this lives, and the other side does not write to it
        // while we look.
        unsafe { std::slice::from_raw_parts(self.start.cast().as_ptr(), self.len.get()) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: it is mapped as long as this lives, and the other side does not look at it while
        // we write.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast().as_ptr(), self.len.get()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from it any more.
        unsafe { munmap(self.start, self.len.get()) }.unwrap();
    }
}

/// Sends a descriptor through a packet socket.
pub(crate) fn hand_over(socket: &OwnedFd, file: &File) {
    let (bytes, files) = ([IoSlice::new(&[1])], [file.as_raw_fd()]);
    let control = [ControlMessage::ScmRights(&files)];
    sendmsg::<()>(socket.as_raw_fd(), &bytes, &control, MsgFlags::MSG_NOSIGNAL, None).unwrap();
}

/// Receives one.
pub(crate) fn take_over(socket: &OwnedFd) -> File {
    let (mut byte, mut control) = ([0], cmsg_space!(RawFd));
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut bytes, Some(&mut control), flags).unwrap();
    match message.cmsgs().unwrap().next() {
        // SAFETY: the kernel has just made it for us.
        Some(ControlMessageOwned::ScmRights(files)) => unsafe { File::from_raw_fd(files[0]) },
        _ => panic!("no descriptor came"),
    }
}
