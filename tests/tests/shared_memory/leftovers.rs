//! Nothing is mapped twice, and nothing is left.

use std::error::Error as StdError;
use std::os::unix::process::ExitStatusExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::thread;

use nix::libc;
use offspring::shm::{Shared, SharedMut, SharedSlice};
use offspring::sync::Mutex;
use offspring::{Error, Receiver, Sender, process};
use tests::{Holdings, each_start_method};

use super::{Counts, add, counts, holders, inode, memories, zeros};

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

            child.send_signal(signal)?;
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
    let kinds =
        (Shared::new(AtomicU64::new(0))?, SharedSlice::try_from_iter(0..128)?, Mutex::new(0)?);
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

    only [forkserver ForkServer]
    fn ten_thousand_made_and_dropped_leave_nothing() {
        let all = |times: u32| -> Result<(), Error> {
            for n in 0..times {
                let shared = Shared::new(AtomicU32::new(n))?;
                let slice = SharedSlice::try_from_iter(0..n % 100)?;
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
