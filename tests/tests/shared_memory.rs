//! Memory that several processes see: Python's `_TestSharedMemory`; and what else our docs promise
//! of [`Shared`] and of [`SharedSlice`]. Of `SharedMut`, there is more in `shared_mut.rs`.

use std::error::Error as StdError;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::thread;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offspring::shm::{ArrayString, ArrayVec, Shareable, Shared, SharedMut, SharedSlice};
use offspring::sync::Mutex;
use offspring::{Error, Fd, JoinError, Receiver, Sender, process};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::forgery::forge;
use tests::{Holdings, each_start_method};

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

/// Passes it on to a child of its own.
#[process]
fn have_added(to: Shared<[AtomicU32]>, what: u32) {
    add(to, what).spawn().unwrap().join().unwrap();
}

#[process]
fn add_all_that_come(numbers: Receiver<(Shared<[AtomicU32]>, u32)>) {
    for (to, what) in &numbers {
        add(to, what).run();
    }
}

fn zeros(len: usize) -> Result<Shared<[AtomicU32]>, Error> {
    Shared::from_fn(len, |_| AtomicU32::new(0))
}

fn all_are(numbers: &[AtomicU32], value: u32) -> bool {
    numbers.iter().all(|number| number.load(Ordering::Relaxed) == value)
}

each_start_method! {
    /// `test_shared_memory_basics`: what one handle writes, the other sees; each lives for itself.
    fn test_shared_memory_basics_of_two_handles() {
        let one = zeros(512)?;
        let other = one.clone();
        assert_eq!((one.len(), other.len()), (512, 512));
        one[0].store(42, Ordering::Relaxed);
        assert_eq!(other[0].load(Ordering::Relaxed), 42);
        drop(one);
        assert_eq!(other[0].load(Ordering::Relaxed), 42);

        let own = zeros(512)?; // and is not that one
        assert_eq!(own[0].load(Ordering::Relaxed), 0);
        assert_eq!(memories().len(), 2);
        drop(other);
        drop(own);
        assert_eq!(counts(), (0, 0));
    }

    /// `test_shared_memory_across_processes`: by a handle that is an argument.
    fn test_shared_memory_across_processes_by_argument() {
        let numbers = zeros(1_000)?;
        let children = [
            add(numbers.clone(), 1).spawn()?,
            have_added(numbers.clone(), 20).spawn()?,
            have_added(numbers.clone(), 300).spawn()?,
        ];
        children.into_iter().try_for_each(|child| child.join())?;
        assert!(all_are(&numbers, 321));
    }

    /// `test_shared_memory_across_processes`, `test_shared_memory_pickle_unpickle`: by a handle that
    /// comes through a pipe.
    fn test_shared_memory_across_processes_by_pipe() {
        let (tx, rx) = offspring::pipe()?;
        let child = add_all_that_come(rx).spawn()?;
        let all = [zeros(1)?, zeros(100)?, zeros(10_000)?];
        for (numbers, what) in all.iter().zip(1..) {
            tx.send((numbers.clone(), what))?;
        }
        drop(tx);
        child.join()?;
        assert!(all.iter().zip(1..).all(|(numbers, what)| all_are(numbers, what)));
    }

    only [forkserver Forkserver]
    /// `test_shared_memory_pickle_unpickle`: what arrives is the same memory, and is not mapped again.
    fn test_shared_memory_pickle_unpickle_gives_the_same_memory() {
        let (tx, rx) = offspring::pipe::<Shared<AtomicU32>>().unwrap();
        let memory = Shared::new(AtomicU32::new(1)).unwrap();
        tx.send(memory.clone()).unwrap();
        let arrived = rx.recv().unwrap();
        assert!(std::ptr::eq(&*memory, &*arrived));
        memory.store(2, Ordering::Relaxed);
        drop(memory);
        assert_eq!(arrived.load(Ordering::Relaxed), 2);
    }

    only [forkserver Forkserver]
    /// `test_shared_memory_pickle_unpickle_dead_object`: a message keeps what is in it alive.
    fn test_shared_memory_pickle_unpickle_after_the_sender_has_dropped_it() {
        let (tx, rx) = offspring::pipe().unwrap();
        tx.send(Shared::new(AtomicU32::new(7)).unwrap()).unwrap();
        tx.send(Shared::new(AtomicU32::new(8)).unwrap()).unwrap();
        let arrived: [Shared<AtomicU32>; 2] = [rx.recv().unwrap(), rx.recv().unwrap()];
        assert_eq!(arrived.map(|memory| memory.load(Ordering::Relaxed)), [7, 8]);
    }

    only [forkserver Forkserver]
    /// `test_shared_memory_ShareableList_pickling`: a handle is as long as any other.
    fn test_shareable_list_pickling_does_not_depend_on_the_length() {
        let (tx, rx) = offspring::pipe().unwrap();
        let mut lengths = Vec::new();
        for len in [1, 10, 1_000_000] {
            tx.send(zeros(len).unwrap()).unwrap();
            let mut waiting: libc::c_int = 0;
            // SAFETY: the kernel writes one number to where it is told.
            unsafe { libc::ioctl(rx.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut waiting) };
            lengths.push(waiting);
            assert_eq!(rx.recv().unwrap().len(), len);
        }
        assert!(lengths[0] > 0 && lengths[0] < 100, "{lengths:?}");
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
    }
}

/// Makes memory of each kind, tells which it is, and lives until it is killed.
#[process]
fn own_memory(inodes: Sender<Vec<u64>>, one: Sender<SharedSlice<u8>>) {
    let _number = Shared::new(AtomicU32::new(1)).unwrap();
    let _part = SharedMut::<u8>::zeroed(1 << 20).unwrap().split(2).unwrap();
    let _mutex = Mutex::from_slice(&[0u64; 1000]).unwrap();
    let all = memories().into_iter().map(inode).collect();
    // A handle to this is somebody else's, too.
    let slice = SharedSlice::from_slice(&[5; 64_000]).unwrap();
    one.send(slice.clone()).unwrap();
    inodes.send(all).unwrap();
    thread::park();
    drop(slice);
}

each_start_method! {
    /// `test_shared_memory_cleaned_after_process_termination`: nobody has to track or unlink it.
    fn test_shared_memory_cleaned_after_process_termination() {
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            let (inodes, theirs) = offspring::pipe()?;
            let (one, other) = offspring::pipe()?;
            let child = own_memory(inodes, one).spawn()?;
            let inodes = theirs.recv()?;
            assert_eq!(inodes.len(), 3);
            for inode in &inodes {
                assert_eq!(holders(*inode), [child.pid()]);
            }

            child.signal(signal)?;
            assert_eq!(child.wait()?.signal(), Some(signal));
            for inode in inodes {
                assert_eq!(holders(inode), [0u32; 0]);
            }
            // And what is still on its way is there.
            assert_eq!(*other.recv()?, [5; 64_000]);
        }
        assert_eq!(counts(), (0, 0));
    }
}

/// `test_invalid_shared_memory_cration`: a length cannot be negative, and may be zero.
#[test]
fn test_invalid_shared_memory_creation_of_nothing_is_none() {
    assert!(zeros(0).unwrap().is_empty());
    assert!(SharedSlice::<u32>::from_slice(&[]).unwrap().is_empty());
    assert!(SharedMut::<u32>::zeroed(0).unwrap().is_empty());
    assert!(Mutex::<[u32]>::from_slice(&[]).unwrap().lock().unwrap().is_empty());
}

/// `test_invalid_shared_memory_cration`, of more than there is.
#[test]
fn test_invalid_shared_memory_creation_of_more_than_there_is() {
    let too_large = |result: Result<usize, Error>| match result {
        Err(Error::TooLarge { len, max, .. }) => assert!(len > max, "{len} {max}"),
        other => panic!("{other:?}"),
    };
    too_large(zeros(usize::MAX).map(|memory| memory.len()));
    too_large(SharedMut::<u64>::zeroed(usize::MAX / 8).map(|memory| memory.len()));
    too_large(SharedMut::from_fn(usize::MAX, |_| 1u8).map(|memory| memory.len()));

    let no_room = |result: Result<usize, Error>| match result {
        Err(error @ Error::SharedMemory { len, .. }) => {
            assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "{error}");
            assert!(len >= 1 << 48, "{len}");
        }
        other => panic!("{other:?}"),
    };
    no_room(SharedMut::<u8>::zeroed(1 << 50).map(|memory| memory.len()));
    no_room(zeros(1 << 46).map(|memory| memory.len()));
    no_room(SharedSlice::from_iter(std::iter::repeat(1u64)).map(|memory| memory.len()));
}

/// What an iterator of unknown length gives.
fn unknown_length(len: u32) -> impl Iterator<Item = u32> {
    (0..).take_while(move |number| *number < len)
}

each_start_method! {
    only [forkserver Forkserver]
    /// Beyond the limit of file sizes, the kernel would end the process by a signal.
    fn a_limit_of_file_sizes_is_an_error_and_no_signal() {
        const LIMIT: usize = 1 << 20;
        let numbers = vec![1u32; LIMIT / 4 + 1];
        let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE)?;
        setrlimit(Resource::RLIMIT_FSIZE, LIMIT as u64, hard)?;
        let refused = |result: Result<usize, Error>| match result {
            Err(error @ Error::SharedMemory { .. }) => {
                assert_eq!(error.raw_os_error(), Some(libc::EFBIG), "{error}");
            }
            other => panic!("{other:?}"),
        };
        refused(SharedSlice::from_slice(&numbers).map(|memory| memory.len()));
        refused(SharedSlice::from_iter(numbers.iter().copied()).map(|memory| memory.len()));
        refused(SharedSlice::from_iter(unknown_length(300_000)).map(|memory| memory.len()));
        refused(SharedMut::from_slice(&numbers).map(|memory| memory.len()));
        refused(SharedMut::<u8>::zeroed(LIMIT).map(|memory| memory.len()));
        refused(zeros(LIMIT / 4).map(|memory| memory.len()));
        refused(Mutex::from_slice(&numbers).map(|_| 0));
        assert_eq!(counts(), (0, 0));
        // What fits, fits.
        assert_eq!(SharedSlice::from_slice(&numbers[..LIMIT / 8])?[..], numbers[..LIMIT / 8]);
        assert_eq!(zeros(LIMIT / 8)?.len(), LIMIT / 8);

        setrlimit(Resource::RLIMIT_FSIZE, soft, hard)?;
        assert_eq!(SharedSlice::from_slice(&numbers)?[..], numbers);
    }

    only [forkserver Forkserver]
    /// The error tells how much it was that did not fit, however it was counted.
    fn a_length_that_was_not_known_is_told_when_it_does_not_fit() {
        let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE)?;
        setrlimit(Resource::RLIMIT_FSIZE, 1 << 20, hard)?;
        match SharedSlice::from_iter(unknown_length(300_000)) {
            Err(Error::SharedMemory { len, .. }) => assert!(len >= 1 << 20, "{len} bytes"),
            other => panic!("{other:?}"),
        }
    }

    only [forkserver Forkserver]
    fn without_a_descriptor_nothing_is_made_and_nothing_left() {
        let refused = |result: Result<usize, Error>| match result {
            Err(error @ Error::Os { .. }) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
            }
            other => panic!("{other:?}"),
        };
        // Numbers are given out from the lowest, so these fill what gaps there are.
        let open = File::open("/dev/null")?;
        let fillers: Vec<_> = (0..20).map(|_| open.try_clone()).collect::<Result<_, _>>()?;
        let highest = fillers.iter().map(AsRawFd::as_raw_fd).max().expect("some");
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, highest as u64 + 1, hard)?;
        let results = [
            zeros(1).map(|memory| memory.len()),
            SharedSlice::from_slice(&[1]).map(|memory| memory.len()),
            SharedSlice::from_iter(0..1).map(|memory| memory.len()),
            SharedMut::<u8>::zeroed(1).map(|memory| memory.len()),
            Mutex::new(1).map(|_| 0),
        ];
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        results.into_iter().for_each(refused);
        assert_eq!(counts(), (0, 0));
        assert_eq!(zeros(1)?.len(), 1);
    }
}

/// The slots of a `ShareableList`: each has its type, and room for so much.
#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
struct Slots {
    text: ArrayString<8>,
    bytes: ArrayVec<u8, 8>,
    float: f64,
    number: i64,
    truth: bool,
    list: ArrayVec<i64, 5>,
}

fn slots() -> Slots {
    Slots {
        text: ArrayString::try_from("howdy").unwrap(),
        bytes: ArrayVec::try_from(&b"HoWdY"[..]).unwrap(),
        float: -273.154,
        number: 100,
        truth: true,
        list: ArrayVec::from([1, 2, 3, 2, 1]),
    }
}

/// Overwrites each slot; what is too long is refused, and harms nobody.
#[process]
fn overwrite(slots: Mutex<Slots>) {
    let mut slots = slots.lock().unwrap();
    let before = *slots;
    assert!(ArrayString::<8>::try_from("encodées").is_err()); // 9 bytes of UTF-8
    assert!(slots.text.push_str("dowdy").is_err());
    assert!(slots.bytes.extend_from_slice(b"6789").is_err());
    assert!(slots.list.push(9).is_err());
    assert_eq!(*slots, before);

    slots.text = ArrayString::try_from("encodés").unwrap(); // 8
    slots.bytes.extend_from_slice(b"678").unwrap();
    slots.float = 2.5;
    slots.number = 42;
    slots.truth = false;
    slots.list[2] = 30;
}

each_start_method! {
    /// `test_shared_memory_ShareableList_basics`
    fn test_shareable_list_basics_of_mixed_types() {
        let shared = Mutex::new(slots())?;
        let copy = *shared.lock().unwrap();
        let other = shared.clone();
        overwrite(other.clone()).spawn()?.join()?;

        let seen = *shared.lock().unwrap();
        assert_eq!((seen.number, seen.float, seen.truth), (42, 2.5, false));
        assert_eq!((seen.text.to_str()?, &seen.bytes[..]), ("encodés", &b"HoWdY678"[..]));
        assert_eq!(seen.list, [1, 2, 30, 2, 1]);
        assert_eq!(*other.lock().unwrap(), seen);
        assert_eq!(copy, slots()); // it is independent
    }
}

/// `test_shared_memory_ShareableList_basics`: `count`, `index`, and an index beyond the end.
#[test]
fn test_shareable_list_basics_of_a_slice() {
    let list = Mutex::new(slots()).unwrap();
    let held = list.lock().unwrap();
    let count = |of: i64| held.list.iter().filter(|number| **number == of).count();
    let index = |of: i64| held.list.iter().position(|number| *number == of);
    assert_eq!((held.list.len(), count(2), count(4)), (5, 2, 0));
    assert_eq!((index(3), index(4)), (Some(2), None));
    assert_eq!(held.list.get(5), None);

    let empty = Mutex::new(ArrayVec::<i64, 0>::new()).unwrap();
    let mut held = empty.lock().unwrap();
    assert!(held.is_empty() && held.push(1).is_err());
    drop(held);
    let beyond = thread::spawn(move || empty.lock().unwrap()[0]).join();
    assert!(beyond.is_err_and(|panic| {
        panic.downcast_ref::<String>().is_some_and(|text| text.contains("index out of bounds"))
    }));
}

// -- Beyond Python's.

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

fn only_memory() -> RawFd {
    let all = memories();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
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
        cannot_be_changed(&SharedSlice::from_iter(0..10_000)?)?;
    }

    fn a_shared_slice_of_a_few_bytes_cannot_be_changed() {
        cannot_be_changed(&SharedSlice::from_iter(0..3)?)?;
    }

    fn a_frozen_array_cannot_be_changed() {
        cannot_be_changed(&SharedMut::from_iter(0..10_000)?.freeze()?)?;
        cannot_be_changed(&SharedMut::from_iter(0..3)?.freeze()?)?;
    }

    only [forkserver Forkserver]
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

/// The values that the types below are tested with.
trait Nth: Copy + PartialEq {
    fn nth(n: usize) -> Self;
}

macro_rules! nth {
    ($($type:ty: $n:ident => $value:expr;)*) => {$(
        impl Nth for $type {
            fn nth($n: usize) -> Self { $value }
        }
    )*};
}

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
struct Padded {
    small: u8,
    large: u64,
    middle: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
#[repr(align(64))]
struct Line(u32);

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
#[repr(align(4096))]
struct Page(u16);

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
#[repr(align(128))]
struct AlignedNothing;

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
enum Direction {
    Left = 3,
    Right = 200,
}

nth! {
    (): _n => ();
    [u64; 0]: _n => [];
    AlignedNothing: _n => Self;
    u8: n => n as u8;
    u128: n => u128::MAX / (n as u128 + 1);
    f32: n => n as f32 / 7.0;
    bool: n => n.is_multiple_of(3);
    (u8, u32): n => (n as u8, !n as u32);
    [u16; 3]: n => [n as u16, 7, !n as u16];
    Padded: n => Self { small: n as u8, large: !n as u64, middle: 12 };
    Line: n => Self(n as u32);
    Page: n => Self(n as u16);
    Direction: n => if n.is_multiple_of(2) { Self::Left } else { Self::Right };
    ArrayString<7>: n => Self::try_from(&*(n % 1000).to_string()).unwrap();
}

const LENGTHS: [usize; 9] = [0, 1, 2, 3, 63, 64, 65, 129, 1_000];

fn is_right<T: Nth>(values: &[T], len: usize) -> bool {
    values.as_ptr().is_aligned()
        && values.len() == len
        && values.iter().enumerate().all(|(n, value)| *value == T::nth(n))
}

/// For each type, a process that says whether it has received what was sent.
macro_rules! types {
    ($($name:ident: $type:ty,)*) => {
        mod receivers {
            use super::*;
            $(
                #[process]
                pub(super) fn $name(
                    slice: SharedSlice<$type>,
                    array: Shared<[$type]>,
                    mut part: SharedMut<$type>,
                    len: usize,
                ) -> (bool, bool, bool) {
                    let part = part.as_mut_slice();
                    (is_right(&slice, len), is_right(&array, len), is_right(part, len))
                }
            )*
        }

        each_start_method! {
            $(
                fn $name() {
                    for len in LENGTHS {
                        let values: Vec<$type> = (0..len).map(Nth::nth).collect();
                        let slices = [
                            SharedSlice::from_slice(&values)?,
                            SharedSlice::from_iter(values.iter().copied())?,
                            SharedSlice::from_iter((0..).map_while(|n| values.get(n).copied()))?,
                            SharedMut::from_slice(&values)?.freeze()?,
                        ];
                        for slice in slices {
                            assert!(is_right(&slice, len));
                            let array = Shared::from_fn(len, Nth::nth)?;
                            let part = SharedMut::from_fn(len, Nth::nth)?;
                            let child = receivers::$name(slice, array, part, len).spawn()?;
                            assert_eq!(child.join()?, (true, true, true), "{len} of them");
                        }
                    }
                }
            )*
        }
    };
}

types! {
    type_of_no_size: (),
    type_of_no_size_in_an_array: [u64; 0],
    type_of_no_size_but_alignment: AlignedNothing,
    type_of_one_byte: u8,
    type_of_16_bytes: u128,
    type_that_is_a_float: f32,
    type_that_is_no_number: bool,
    type_that_is_a_tuple: (u8, u32),
    type_that_is_an_array: [u16; 3],
    type_with_padding: Padded,
    type_aligned_to_a_cache_line: Line,
    type_aligned_to_a_page: Page,
    type_that_is_an_enum: Direction,
    type_that_is_a_text: ArrayString<7>,
}

each_start_method! {
    only [forkserver Forkserver]
    /// Zero bytes each, so there may be as many as can be counted.
    fn an_array_of_no_size_may_have_any_length() {
        const MANY: usize = 1 << 60;
        let array = SharedMut::<[u64; 0]>::zeroed(MANY).unwrap();
        assert_eq!(array.len(), MANY);
        let (tx, rx) = offspring::pipe().unwrap();
        tx.send(array.freeze().unwrap()).unwrap();
        assert_eq!(rx.recv().unwrap().len(), MANY);
    }
}

/// `SharedSlice::collect` takes what comes, whatever the iterator says that it will be.
#[test]
fn a_shared_slice_of_an_iterator_that_is_wrong_about_its_length() {
    struct Wrong(std::ops::Range<u64>, usize);
    impl Iterator for Wrong {
        type Item = u64;
        fn next(&mut self) -> Option<u64> {
            self.0.next()
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.1, Some(self.1))
        }
    }
    for (len, told) in [(10, 0), (0, 10), (100_000, 1), (3, 1_000_000)] {
        let slice = SharedSlice::from_iter(Wrong(0..len, told)).unwrap();
        assert!(slice.iter().copied().eq(0..len), "{len}, told to be {told}");
    }
}

/// More than is written at once; and an iterator that makes memory itself.
#[test]
fn a_shared_slice_of_an_iterator() {
    let long = SharedSlice::from_iter(unknown_length(1_000_000)).unwrap();
    assert!(long.len() == 1_000_000 && (0..).zip(&long).all(|(n, value)| n == *value));

    let nested = SharedSlice::from_iter((1..=3).map(|n| {
        let inner = SharedSlice::from_slice(&vec![n; n]).unwrap();
        inner.iter().sum::<usize>()
    }));
    assert_eq!(nested.unwrap()[..], [1, 4, 9]);
}

each_start_method! {
    only [forkserver Forkserver]
    fn what_panics_while_memory_is_made_leaves_nothing() {
        let five = |n: u32| if n == 5 { panic!("enough") } else { n };
        let panics = |attempt: &dyn Fn()| catch_unwind(AssertUnwindSafe(attempt)).is_err();
        assert!(panics(&|| drop(SharedSlice::from_iter((0..10).map(five)))));
        assert!(panics(&|| drop(SharedMut::from_fn(10, |n| five(n as u32)))));
        assert!(panics(&|| drop(Shared::from_fn(10, |n| AtomicU32::new(five(n as u32))))));
        assert_eq!(counts(), (0, 0));
    }
}

/// A clone, and what arrives in the same process, are the same memory; views of all kinds.
#[test]
fn a_shared_slice_is_a_handle() {
    let slice = SharedSlice::from_slice(&[3, 1, 2]).unwrap();
    let clone = slice.clone();
    assert!(std::ptr::eq(&*slice, &*clone));
    assert_eq!(format!("{clone:?}"), "[3, 1, 2]");
    assert_eq!((&clone).into_iter().max(), Some(&3));
    assert_eq!(AsRef::<[i32]>::as_ref(&clone)[1..], [1, 2]);
    drop(slice);
    let sum: i32 = thread::spawn(move || clone.iter().sum()).join().unwrap();
    assert_eq!(sum, 6);
}

// -- What is received is checked before it is touched.

/// Crosses as what is in it, and wants to be something else there.
macro_rules! disguise {
    ($name:ident: $from:ty => $to:ty) => {
        struct $name {
            from: Option<$from>,
            to: Option<$to>,
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.from.as_ref().expect("what is to be sent").serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$to>::deserialize(deserializer).map(|to| Self { from: None, to: Some(to) })
            }
        }
    };
}

disguise!(SliceOfOther: SharedSlice<u32> => SharedSlice<i32>);
disguise!(SliceAsShared: SharedSlice<u32> => Shared<[u32]>);
disguise!(SharedAsSlice: Shared<[u32]> => SharedSlice<u32>);
disguise!(SharedOfOther: Shared<AtomicU64> => Shared<AtomicI64>);
disguise!(ManyAsOne: Shared<[AtomicU32]> => Shared<AtomicU32>);
disguise!(MutexAsShared: Mutex<u64> => Shared<u64>);
disguise!(SharedAsMutex: Shared<u64> => Mutex<u64>);
disguise!(FileAsSlice: Fd<OwnedFd> => SharedSlice<u32>);
disguise!(Honest: SharedSlice<u32> => SharedSlice<u32>);

macro_rules! crossed {
    ($type:ident, $from:expr) => {{
        let (tx, rx) = offspring::pipe()?;
        tx.send($type { from: Some($from), to: None })?;
        match rx.recv() {
            Ok($type { to, .. }) => Ok(to.expect("what has come")),
            Err(offspring::RecvError::Decode(error)) => Err(error.to_string()),
            Err(other) => panic!("{other:?}"),
        }
    }};
}

macro_rules! refused {
    ($type:ident, $from:expr, $text:literal) => {
        match crossed!($type, $from) {
            Err(error) => assert!(error.contains($text), "{}: {error}", stringify!($type)),
            Ok(_) => panic!("{}: it was taken for what it is not", stringify!($type)),
        }
    };
}

/// What becomes of a file that somebody says is a `$type`, past all types.
macro_rules! forged {
    ($type:ty as $name:literal, $file:expr) => {{
        let (tx, rx) = offspring::pipe::<$type>()?;
        forge(&tx, $name, &$file, [0; 2]);
        match rx.recv() {
            Ok(taken) => Ok(taken),
            Err(offspring::RecvError::Decode(error)) => Err(error.to_string()),
            Err(other) => panic!("{other:?}"),
        }
    }};
}

macro_rules! forgery_refused {
    ($type:ty as $name:literal, $file:expr, $text:expr) => {
        match forged!($type as $name, $file) {
            Err(error) => assert!(error.contains($text), "{}: {error}", $name),
            Ok(_) => panic!("{}: it was taken for what it is not", $name),
        }
    };
}

/// A copy of the bytes of some memory, of which this process has one, in a file of its own.
fn copy_of_memory(len: impl Fn(u64) -> u64, seals: SealFlag) -> OwnedFd {
    let original = File::open(format!("/proc/self/fd/{}", only_memory())).unwrap();
    let size = original.metadata().unwrap().size();
    let mut bytes = vec![0; size as usize];
    original.read_exact_at(&mut bytes, 0).unwrap();
    bytes.resize(len(size) as usize, 0);
    let copy = File::from(memfd_create("forged", MFdFlags::MFD_ALLOW_SEALING).unwrap());
    copy.write_all_at(&bytes, 0).unwrap();
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    copy.into()
}

const ALL_SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE)
    .union(SealFlag::F_SEAL_SEAL);

each_start_method! {
    only [forkserver Forkserver]
    fn what_is_of_another_kind_or_type_is_refused() {
        assert_eq!(crossed!(Honest, SharedSlice::from_iter(0..3)?).map(|s| s.to_vec())?, [0, 1, 2]);

        let slice = || SharedSlice::from_iter(0..3u32);
        refused!(SliceOfOther, slice()?, "what came is no SharedSlice");
        refused!(SliceAsShared, slice()?, "another handle came in place of a Shared");
        let shared = Shared::from_fn(3, |n| n as u32)?;
        refused!(SharedAsSlice, shared, "another handle came in place of a SharedSlice");
        refused!(SharedOfOther, Shared::new(AtomicU64::new(1))?, "what came is no Shared");
        refused!(ManyAsOne, zeros(1)?, "what came is no Shared");
        refused!(MutexAsShared, Mutex::new(1)?, "another handle came in place of a Shared");
        refused!(SharedAsMutex, Shared::new(1)?, "another handle came in place of a Mutex");
        assert_eq!(counts(), (0, 0));
    }

    only [forkserver Forkserver]
    fn what_is_no_memory_of_ours_is_refused() {
        for path in ["/dev/null", "/dev/zero", "/proc/self/exe", "/proc/self/maps", "/"] {
            let file = || File::open(path).map(OwnedFd::from);
            let honest = Fd::new(file()?);
            refused!(FileAsSlice, honest, "another handle came in place of a SharedSlice");
            let text = "it is not shared memory of this library";
            forgery_refused!(SharedSlice<u32> as "SharedSlice", file()?, text);
            forgery_refused!(Shared<[AtomicU32]> as "Shared", file()?, text);
            forgery_refused!(Mutex<[u32]> as "Mutex", file()?, text);
        }
    }

    only [forkserver Forkserver]
    fn memory_that_could_change_or_shrink_is_refused() {
        // A true one first: so that what is refused below is so for its seals and its length.
        let slice = SharedSlice::from_iter(0..1_000u32)?;
        let copy = copy_of_memory(|len| len, ALL_SEALS);
        let taken = forged!(SharedSlice<u32> as "SharedSlice", copy)?;
        assert_eq!(taken[..], slice[..]);
        drop(taken);

        let seals = [SealFlag::empty(), SealFlag::F_SEAL_SHRINK, ALL_SEALS - SealFlag::F_SEAL_WRITE];
        for seals in seals {
            let copy = copy_of_memory(|len| len, seals);
            forgery_refused!(SharedSlice<u32> as "SharedSlice", copy, "it is not shared memory of this library");
        }
        for cut in [1, 100, 1_000, 3_999] {
            let copy = copy_of_memory(|len| len - 64 - cut, ALL_SEALS);
            forgery_refused!(SharedSlice<u32> as "SharedSlice", copy, "it is shorter than what it should hold");
        }
        let copy = copy_of_memory(|_| 100, ALL_SEALS);
        forgery_refused!(SharedSlice<u32> as "SharedSlice", copy, "it is shorter than what it should hold");
        drop(slice);

        let shared = zeros(1_000)?;
        let copy = copy_of_memory(|len| len, SealFlag::empty());
        forgery_refused!(Shared<[AtomicU32]> as "Shared", copy, "it is not shared memory of this library");
        let copy = copy_of_memory(|len| len - 128, SealFlag::F_SEAL_SHRINK);
        forgery_refused!(Shared<[AtomicU32]> as "Shared", copy, "it is shorter than what it should hold");
        drop(shared);
        assert_eq!(counts(), (0, 0));
    }

    only [forkserver Forkserver]
    /// Into text, there is no way.
    fn memory_can_be_serialised_only_while_it_is_sent() {
        struct Text<T>(T);
        impl<T: Serialize> std::fmt::Display for Text<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.serialize(f)
            }
        }
        let to_text = |value: &dyn std::fmt::Display| {
            use std::fmt::Write;
            write!(String::new(), "{value}")
        };
        assert!(to_text(&Text(5)).is_ok());
        assert!(to_text(&Text(zeros(1)?)).is_err());
        assert!(to_text(&Text(SharedSlice::from_slice(&[1])?)).is_err());
        assert!(to_text(&Text(SharedMut::from_slice(&[1])?)).is_err());
    }
}

// -- Nothing is mapped twice, and nothing is left.

type Kinds = (Shared<AtomicU64>, SharedSlice<u32>, Mutex<u64>);

/// Receives, and keeps all or none of it. Says what it has then, and whether all is one.
#[process]
fn collect_memory(from: Receiver<Kinds>, keep: bool) -> (Counts, Counts, bool) {
    let mut kept: Vec<Kinds> = Vec::new();
    for kinds in &from {
        kinds.0.fetch_add(1, Ordering::Relaxed);
        if keep {
            kept.push(kinds);
        }
    }
    let same = kept.windows(2).all(|pair| {
        std::ptr::eq(&*pair[0].0, &*pair[1].0) && std::ptr::eq(&*pair[0].1, &*pair[1].1)
    });
    let with = counts();
    drop(kept);
    (with, counts(), same)
}

/// The same, by several threads at once.
#[process]
fn collect_memory_by_threads(from: Receiver<Kinds>) -> (Counts, Counts) {
    let kept: Vec<Kinds> = thread::scope(|scope| {
        let threads = [0; 4].map(|_| scope.spawn(|| from.iter().collect::<Vec<_>>()));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(kept.len(), TIMES);
    let with = counts();
    drop(kept);
    (with, counts())
}

const TIMES: usize = 1_000;

/// Sends the same memory so often, in processes and out of them.
fn send_often(to: &Sender<Kinds>) -> Result<Kinds, Box<dyn StdError>> {
    let kinds = (Shared::new(AtomicU64::new(0))?, SharedSlice::from_iter(0..128)?, Mutex::new(0)?);
    for _ in 0..TIMES {
        to.send(kinds.clone())?;
    }
    Ok(kinds)
}

each_start_method! {
    fn the_same_memory_a_thousand_times_is_mapped_once() {
        let (tx, rx) = offspring::pipe()?;
        let child = collect_memory(rx, true).spawn()?;
        let (number, ..) = send_often(&tx)?;
        drop(tx);
        assert_eq!(child.join()?, ((3, 3), (0, 0), true));
        assert_eq!(number.load(Ordering::Relaxed), TIMES as u64);
        assert_eq!(counts(), (1, 1));
    }

    fn the_same_memory_a_thousand_times_and_dropped_each_time_leaves_nothing() {
        let (tx, rx) = offspring::pipe()?;
        let child = collect_memory(rx, false).spawn()?;
        let (number, ..) = send_often(&tx)?;
        drop(tx);
        assert_eq!(child.join()?, ((0, 0), (0, 0), true));
        assert_eq!(number.load(Ordering::Relaxed), TIMES as u64);
    }

    fn the_same_memory_by_many_threads_is_mapped_once() {
        let (tx, rx) = offspring::pipe()?;
        let child = collect_memory_by_threads(rx).spawn()?;
        send_often(&tx)?;
        drop(tx);
        assert_eq!(child.join()?, ((3, 3), (0, 0)));
    }

    only [forkserver Forkserver]
    fn ten_thousand_made_and_dropped_leave_nothing() {
        let all = |times: u32| -> Result<(), Error> {
            for n in 0..times {
                let shared = Shared::new(AtomicU32::new(n))?;
                let slice = SharedSlice::from_iter(0..n % 100)?;
                let clones = (shared.clone(), slice.clone());
                assert_eq!((clones.0.load(Ordering::Relaxed), clones.1.len()), (n, n as usize % 100));
                let mutex = Mutex::new(n)?;
                assert_eq!(*mutex.lock().unwrap(), n);
            }
            Ok(())
        };
        all(10)?;
        let before = Holdings::now();
        all(10_000)?;
        assert_eq!(Holdings::now(), before);
        assert_eq!(counts(), (0, 0));
    }

    /// A process that ends with memory in its hands, and one that is killed, leave none either.
    fn a_thousand_crossings_leave_nothing() {
        let keep = zeros(100)?;
        add(keep.clone(), 0).spawn()?.join()?;
        let before = Holdings::now().descriptors;
        for _ in 0..100 {
            let numbers = zeros(10_000)?;
            let children =
                [add(numbers.clone(), 1).spawn()?, add(numbers.clone(), 2).spawn()?];
            children[0].kill()?;
            children.iter().try_for_each(|child| child.wait().map(drop))?;
        }
        assert_eq!(Holdings::now().descriptors, before);
        assert_eq!(counts(), (1, 1));
    }
}

static INHERITED: OnceLock<Shared<AtomicU8>> = OnceLock::new();

#[process]
fn add_to_inherited() -> u8 {
    INHERITED.get().expect("a copy has it").fetch_add(1, Ordering::Relaxed)
}

each_start_method! {
    only [fork Fork]
    fn a_copy_of_the_process_sees_the_same_memory() {
        let number = INHERITED.get_or_init(|| Shared::new(AtomicU8::new(5)).unwrap());
        assert_eq!(add_to_inherited().spawn()?.join()?, 5);
        assert_eq!(number.load(Ordering::Relaxed), 6);
    }
}
