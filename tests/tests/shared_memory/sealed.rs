//! Nobody can change what is in a `SharedSlice`.

use std::error::Error as StdError;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use offspring::shm::{SharedMut, SharedSlice};
use offspring::{JoinError, process};
use tests::each_start_method;

use super::only_memory;

/// Whatever a process can do to the memory that it has this descriptor of. What could be done.
fn attack(memory: BorrowedFd<'_>, size: usize) -> Vec<String> {
    let fd = memory.as_raw_fd();
    let mut done = Vec::new();
    let mut note = |what: &str, worked: bool| {
        if worked {
            done.push(what.to_owned());
        }
    };
    let map = |prot: i32, kind: i32, fd: i32| {
        // SAFETY: a new mapping replaces nothing.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size, prot, kind, fd, 0) };
        (start != libc::MAP_FAILED).then_some(start)
    };
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    note("mmap for writing", map(writable, libc::MAP_SHARED, fd).is_some());
    if let Some(start) = map(libc::PROT_READ, libc::MAP_SHARED, fd) {
        // SAFETY: it is the mapping above.
        unsafe {
            note("mprotect", libc::mprotect(start, size, writable) == 0);
            note("MADV_REMOVE", libc::madvise(start, size, libc::MADV_REMOVE) == 0);
            libc::munmap(start, size);
        }
    }
    let bytes = [0xffu8; 16];
    // SAFETY: the kernel reads so many bytes, and what it does to the file is the question.
    unsafe {
        let from = bytes.as_ptr().cast();
        note("pwrite", libc::pwrite(fd, from, 16, 0) > 0);
        note("pwrite at the end", libc::pwrite(fd, from, 16, size as i64) > 0);
        libc::lseek(fd, 0, libc::SEEK_SET);
        note("write", libc::write(fd, from, 16) > 0);
        note("ftruncate to 0", libc::ftruncate(fd, 0) == 0);
        note("ftruncate to less", libc::ftruncate(fd, size as i64 - 1) == 0);
        note("ftruncate to more", libc::ftruncate(fd, size as i64 * 2) == 0);
        let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        note("a hole", libc::fallocate(fd, hole, 0, size as i64) == 0);
        note("fallocate to more", libc::fallocate(fd, 0, 0, size as i64 * 2) == 0);
        let zero = File::open("/dev/zero").unwrap();
        note("sendfile", libc::sendfile(fd, zero.as_raw_fd(), std::ptr::null_mut(), 16) > 0);
        note("another seal", libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_FUTURE_WRITE) == 0);
    }
    // By the file in /proc, which opens it anew.
    let path = format!("/proc/self/fd/{fd}");
    if let Ok(file) = File::options().write(true).open(&path) {
        note("write to the file in /proc", file.write_at(&bytes, 0).is_ok());
    }
    if let Ok(file) = File::options().read(true).write(true).open(&path) {
        let start = map(writable, libc::MAP_SHARED, file.as_raw_fd());
        note("mmap of the file in /proc", start.is_some());
    }
    note(
        "truncate by the file in /proc",
        File::options().write(true).truncate(true).open(path).is_ok(),
    );
    done
}

/// What could be done to the memory of `values`; and whether a copy by `process` could write there.
#[process]
fn attack_slice(values: SharedSlice<u32>) -> Vec<String> {
    // SAFETY: it stays open while `values` lives.
    let memory = unsafe { BorrowedFd::borrow_raw(only_memory()) };
    let size = fs::metadata(format!("/proc/self/fd/{}", memory.as_raw_fd())).unwrap().size();
    let done = attack(memory, size as usize);
    assert!(values.iter().zip(0..).all(|(value, n)| *value == n), "it sees another value");
    // The debugger's way goes past the protection of pages: at worst it changes this process's own.
    if let Ok(own) = File::options().write(true).open("/proc/self/mem") {
        let _ = own.write_at(&[0xff; 16], values.as_ptr().addr() as u64);
    }
    done
}

/// Stores into the memory as if it were its own.
#[process]
fn store_into(values: SharedSlice<u32>) {
    // SAFETY: this is the crime, and the kernel is to stop it.
    unsafe { values.as_ptr().cast_mut().write_volatile(0xffff_ffff) };
}

fn cannot_be_changed(values: &SharedSlice<u32>) -> Result<(), Box<dyn StdError>> {
    let expected: Vec<u32> = (0..values.len() as u32).collect();
    assert_eq!(attack_slice(values.clone()).spawn()?.join()?, [""; 0]);
    assert_eq!(values[..], expected);

    match store_into(values.clone()).spawn()?.join() {
        Err(JoinError::Exited(exit)) => assert_eq!(exit.signal(), Some(libc::SIGSEGV), "{exit}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(values[..], expected);

    // Not even by who has made it.
    // SAFETY: it stays open while `values` lives.
    let own = unsafe { BorrowedFd::borrow_raw(only_memory()) };
    let size = fs::metadata(format!("/proc/self/fd/{}", own.as_raw_fd()))?.size();
    assert_eq!(attack(own, size as usize), [""; 0]);
    assert_eq!(values[..], expected);
    assert_eq!(attack_slice(values.clone()).spawn()?.join()?, [""; 0]); // who maps it now, sees it
    Ok(())
}

each_start_method! {
    fn a_shared_slice_cannot_be_written_mapped_for_writing_or_cut_off() {
        cannot_be_changed(&SharedSlice::try_from_iter(0..10_000)?)?;
    }

    fn a_shared_slice_of_a_few_bytes_cannot_be_changed() {
        cannot_be_changed(&SharedSlice::try_from_iter(0..3)?)?;
    }

    fn a_frozen_array_cannot_be_changed() {
        cannot_be_changed(&SharedMut::try_from_iter(0..10_000)?.freeze()?)?;
        cannot_be_changed(&SharedMut::try_from_iter(0..3)?.freeze()?)?;
    }

    only [forkserver ForkServer]
    /// The same, to memory that is not sealed: so that the above could fail.
    fn other_memory_can_be_changed() {
        let memory = File::from(memfd_create("other", MFdFlags::MFD_ALLOW_SEALING)?);
        memory.set_len(4096)?;
        let done = attack(memory.as_fd(), 4096);
        for what in ["mmap for writing", "pwrite", "ftruncate to 0", "a hole", "sendfile"] {
            assert!(done.iter().any(|done| done == what), "{what:?} is not in {done:?}");
        }
    }
}
