//! Memory that several processes see: Python's `_TestSharedMemory`; and what else our docs promise
//! of [`Shared`] and of [`SharedSlice`]. Of `SharedMut`, there is more in `shared_mut/`.

#[path = "shared_memory/crossing.rs"]
mod crossing;
#[path = "shared_memory/leftovers.rs"]
mod leftovers;
#[path = "shared_memory/limits.rs"]
mod limits;
#[path = "shared_memory/list.rs"]
mod list;
#[path = "shared_memory/received.rs"]
mod received;
#[path = "shared_memory/sealed.rs"]
mod sealed;
#[path = "shared_memory/slices.rs"]
mod slices;
#[path = "shared_memory/types.rs"]
mod types;

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, Ordering};

use offspring::shm::Shared;
use offspring::{Error, process};

/// The descriptors of shared memory that this process has.
fn memories() -> Vec<RawFd> {
    let open = tests::descriptors().into_iter();
    let ours = open.filter(|(_, target)| target.starts_with("/memfd:offspring-shared"));
    ours.map(|(number, _)| number).collect()
}

/// How often shared memory is mapped in this process.
fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd:offspring-shared")).count()
}

/// What this process has of shared memory: descriptors, mappings.
type Counts = (usize, usize);

fn counts() -> Counts {
    (memories().len(), mappings())
}

fn inode(number: RawFd) -> u64 {
    fs::metadata(format!("/proc/self/fd/{number}")).unwrap().ino()
}

/// The processes that have this memory, mapped or open.
fn holders(inode: u64) -> Vec<u32> {
    let has = |pid: u32| -> io::Result<bool> {
        let needle = inode.to_string();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let mapped = maps.lines().any(|line| {
            line.contains("memfd:offspring-shared")
                && line.split_whitespace().nth(4) == Some(&needle)
        });
        let open = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten().any(|entry| {
            fs::read_link(entry.path())
                .is_ok_and(|target| target.to_string_lossy().contains("memfd:offspring-shared"))
                && fs::metadata(entry.path()).is_ok_and(|metadata| metadata.ino() == inode)
        });
        Ok(mapped || open)
    };
    let all = fs::read_dir("/proc").unwrap();
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| has(*pid).unwrap_or(false))
        .collect()
}

#[process]
fn add(to: Shared<[AtomicU32]>, what: u32) {
    for number in to.iter() {
        number.fetch_add(what, Ordering::Relaxed);
    }
}

fn zeros(len: usize) -> Result<Shared<[AtomicU32]>, Error> {
    Shared::from_fn(len, |_| AtomicU32::new(0))
}

/// What an iterator of unknown length gives.
fn unknown_length(len: u32) -> impl Iterator<Item = u32> {
    (0..).take_while(move |number| *number < len)
}

fn only_memory() -> RawFd {
    let all = memories();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}
