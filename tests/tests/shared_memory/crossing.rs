//! Memory in several processes: Python's `_TestSharedMemory`.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc;
use offspring::shm::Shared;
use offspring::{Receiver, process};
use tests::each_start_method;

use super::{add, counts, memories, zeros};

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

    only [forkserver ForkServer]
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

    only [forkserver ForkServer]
    /// `test_shared_memory_pickle_unpickle_dead_object`: a message keeps what is in it alive.
    fn test_shared_memory_pickle_unpickle_after_the_sender_has_dropped_it() {
        let (tx, rx) = offspring::pipe().unwrap();
        tx.send(Shared::new(AtomicU32::new(7)).unwrap()).unwrap();
        tx.send(Shared::new(AtomicU32::new(8)).unwrap()).unwrap();
        let arrived: [Shared<AtomicU32>; 2] = [rx.recv().unwrap(), rx.recv().unwrap()];
        assert_eq!(arrived.map(|memory| memory.load(Ordering::Relaxed)), [7, 8]);
    }

    only [forkserver ForkServer]
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
