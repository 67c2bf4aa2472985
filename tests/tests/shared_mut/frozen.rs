//! Arrays that are made read-only.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use nix::libc;
use offspring::shm::{SharedMut, SharedSlice};
use offspring::{Receiver, Sender, pipe, process};
use tests::each_start_method;

use super::{
    Kept, add, add_and_return, count_own_mappings, counts, hold_their_numbers, numbers, parked,
};

/// Sends what it gets back, and keeps what is left of it, mapped, until it is let go.
#[process]
fn give_back_and_keep(kept: Kept, back: Sender<Kept>, until: Receiver<()>) {
    back.send(kept.clone()).unwrap();
    let _ = until.recv();
    drop(kept);
}

#[process]
fn sum(numbers: SharedSlice<u32>) -> u32 {
    numbers.iter().sum()
}

const PART: &str = "a part of an array cannot be made read-only";
const IN_USE: &str = "some process still has the array mapped";

each_start_method! {
    fn a_whole_is_frozen_without_a_copy_and_read_by_children() {
        let (parts, whole) = numbers(1_000).split(4)?;
        for part in parts {
            add(part, 1).spawn()?.join()?;
        }
        let memory = counts();
        let frozen = whole.join().freeze()?;
        assert_eq!(counts(), memory);
        assert!(frozen.iter().copied().eq(1..=1_000));
        assert_eq!(sum(frozen.clone()).spawn()?.join()?, 500_500);
        drop(frozen);
        assert_eq!(counts(), (0, 0));
    }

    /// As it holds them while it moves them; here it is a pipe, with the first of its pages in it.
    fn an_array_of_which_the_kernel_holds_a_page_is_frozen_when_that_is_over() {
        let mut numbers = numbers(10_000);
        let (from, to) = nix::unistd::pipe()?;
        let bytes = numbers.as_mut_slice().as_mut_ptr();
        let bytes = libc::iovec { iov_base: bytes.cast(), iov_len: 4096 };
        // SAFETY: it is the memory of the numbers, which the pipe only reads.
        let held = unsafe { libc::vmsplice(to.as_raw_fd(), &bytes, 1, 0) };
        assert_eq!(held, 4096, "{}", io::Error::last_os_error());
        // Longer than the kernel itself waits for that.
        let release = thread::spawn(move || {
            thread::sleep(Duration::from_millis(400));
            drop((from, to));
        });
        let frozen = numbers.freeze()?;
        release.join().unwrap();
        assert_eq!(sum(frozen).spawn()?.join()?, (0..10_000).sum::<u32>());
    }

    fn a_part_is_not_frozen_and_comes_back() {
        // A part is one even if it has all of the values.
        for n in [1, 3] {
            let (mut parts, whole) = numbers(9).split(n)?;
            let error = parts.pop().expect("some").freeze().unwrap_err();
            assert!(error.to_string().starts_with(PART), "{error}");
            let mut part = error.into_inner().expect("it comes back");
            assert!(hold_their_numbers(std::slice::from_mut(&mut part)));
            let part = add_and_return(part, 0).spawn()?.join()?;
            drop((part, parts));
            assert_eq!(whole.join().freeze()?.len(), 9);
        }
        // And if there is nothing more to join it to.
        let (mut parts, _) = numbers(9).split(1)?;
        let error = parts.remove(0).freeze().unwrap_err();
        assert!(error.to_string().starts_with(PART), "{error}");
        assert_eq!(error.into_inner().expect("it comes back").len(), 9);
        // So is one that was a part before it was split again.
        let (mut parts, whole) = numbers(9).split(1)?;
        let (inner, split) = parts.remove(0).split(2)?;
        drop(inner);
        let part = split.join().freeze().unwrap_err().into_inner().expect("it comes back");
        let whole = whole.join_timeout(Duration::ZERO).unwrap_err();
        drop(part);
        assert_eq!(whole.join().freeze()?.len(), 9);
    }

    fn an_array_that_another_process_has_mapped_is_not_frozen_and_comes_back() {
        let (back, returned) = pipe()?;
        let (let_go, until) = pipe()?;
        let child = give_back_and_keep(Kept::new(numbers(10)), back, until).spawn()?;
        let mut array = Arc::into_inner(returned.recv()?.0).expect("the only one");
        for _ in 0..3 {
            let error = array.freeze().unwrap_err();
            assert!(error.to_string().contains(IN_USE), "{error}");
            array = error.into_inner().expect("it comes back");
            array.as_mut_slice()[0] += 1;
            // Nothing is lost of it: others know it for what it is.
            array = add_and_return(array, 0).spawn()?.join()?;
        }
        drop(let_go);
        child.join()?;
        let frozen = array.freeze()?;
        assert_eq!(frozen[..], [3, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(sum(frozen).spawn()?.join()?, 48);
    }

    only [fork Fork]
    /// A copy of this process has all that this one has, but this.
    fn a_copy_of_this_process_has_no_array_of_its_own() {
        let array = numbers(10);
        let (let_go, until) = pipe()?;
        let child = parked(until).spawn()?;
        assert_eq!(array.freeze()?.len(), 10);
        drop(let_go);
        child.join()?;
    }

    only [fork Fork]
    /// Nor has it one that could not be frozen.
    fn a_copy_of_this_process_has_no_array_that_was_not_frozen() {
        let (back, returned) = pipe()?;
        let (let_go, until) = pipe()?;
        let child = give_back_and_keep(Kept::new(numbers(10)), back, until).spawn()?;
        let array = Arc::into_inner(returned.recv()?.0).expect("the only one");
        assert_eq!(count_own_mappings().spawn()?.join()?, 0);
        let _array = array.freeze().unwrap_err().into_inner().expect("it comes back");
        assert_eq!(counts(), (1, 1));
        assert_eq!(count_own_mappings().spawn()?.join()?, 0);
        drop(let_go);
        child.join()?;
    }

    only [forkserver ForkServer]
    /// A handle that was sent away, and came back by another, still has it mapped here.
    fn an_array_that_has_two_handles_here_is_not_frozen() {
        let (tx, rx) = pipe()?;
        let kept = Kept::new(numbers(10));
        tx.send(kept.clone())?;
        let arrived = Arc::into_inner(rx.recv()?.0).expect("the only one");
        let arrived = arrived.freeze().unwrap_err().into_inner().expect("it comes back");
        drop(kept);
        assert_eq!(arrived.freeze()?.len(), 10);
    }

    only [forkserver ForkServer]
    fn a_frozen_array_stays_what_it_is_when_all_else_is_gone() {
        let frozen = numbers(0).freeze()?;
        assert!(frozen.is_empty());
        let frozen = SharedMut::<u64>::zeroed(100_000)?.freeze()?;
        let (tx, rx) = pipe()?;
        tx.send(frozen)?;
        assert!(rx.recv()?.iter().all(|number| *number == 0));
    }
}
