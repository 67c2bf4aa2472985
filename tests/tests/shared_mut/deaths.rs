//! Parts of processes that are killed.

use std::thread;
use std::time::Duration;

use nix::libc;
use offspring::shm::SharedMut;
use offspring::{JoinError, Sender, pipe, process};
use tests::each_start_method;

use super::{Array, have_added, numbers, serve};

/// Counts each number up, one after the other, again and again.
#[process]
fn count_up(mut part: Array, started: Sender<()>) {
    for round in 0u32.. {
        for number in part.as_mut_slice() {
            *number += 1;
        }
        if round == 10 {
            started.send(()).unwrap();
        }
    }
}

/// Passes its part on to one who is not its child.
#[process]
fn pass_on(mut part: Array, to: Sender<Array>) {
    part.as_mut_slice().fill(77);
    to.send(part).unwrap();
    thread::park();
}

each_start_method! {
    fn a_part_of_a_killed_process_is_free_at_once_with_what_it_has_written() {
        let (started, has_started) = pipe()?;
        let (parts, whole) = SharedMut::<u32>::zeroed(2_000)?.split(2)?;
        let children: Vec<_> = parts
            .into_iter()
            .map(|part| count_up(part, started.clone()).spawn())
            .collect::<Result<_, _>>()?;
        has_started.recv()?;
        has_started.recv()?;
        let mut whole = whole;
        for child in &children {
            whole = whole.join_timeout(Duration::ZERO).unwrap_err();
            child.kill()?;
        }
        let mut whole = whole.join();
        for part in whole.as_mut_slice().chunks(1_000) {
            let (first, last) = (part[0], part[999]);
            assert!(last > 10 && (first == last || first == last + 1), "{first} {last}");
            assert!(part.is_sorted_by(|one, next| one >= next));
        }
        for child in children {
            match child.join() {
                Err(JoinError::Exited(exit)) => assert_eq!(exit.signal(), Some(libc::SIGKILL)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn a_part_that_a_killed_process_has_passed_on_is_not_free() {
        let (to, from) = pipe()?;
        let (mut parts, whole) = numbers(10).split(2)?;
        let child = pass_on(parts.pop().expect("two"), to).spawn()?;
        drop(parts);
        let mut part = from.recv()?;
        child.kill()?;
        child.wait()?;
        let whole = whole.join_timeout(Duration::ZERO).unwrap_err();
        assert_eq!(*part.as_mut_slice(), [77; 5]);
        drop(part);
        assert_eq!(*whole.join().as_mut_slice(), [0, 1, 2, 3, 4, 77, 77, 77, 77, 77]);
    }

    /// As if it were dropped at any other point: in a message, in the hands of a child's child.
    fn parts_of_processes_that_are_killed_at_any_moment_come_back() {
        let rounds = if tests::long() { 1_000 } else { 30 };
        for round in 0..rounds {
            let ((tx, rx), (back, returned)) = (pipe()?, pipe()?);
            let (mut parts, whole) = numbers(1_000).chunks(100)?;
            let children = [
                serve(rx.clone(), back.clone()).spawn()?,
                serve(rx, back.clone()).spawn()?,
                pass_on(parts.pop().expect("ten"), back).spawn()?,
            ];
            let deep = have_added(parts.pop().expect("nine"), 1, 2).spawn()?;
            for part in parts {
                tx.send(part)?;
            }
            for _ in 0..round % 8 {
                drop(returned.recv()?);
            }
            for child in &children {
                child.kill()?;
            }
            deep.kill()?;
            drop(deep.join()); // it may have returned its part before
            drop((tx, returned));
            let mut whole = whole.join();
            let untouched_or_changed =
                |(n, value): (u32, &u32)| *value == n || *value == n + 1 || *value == 77;
            assert!((0..).zip(whole.as_mut_slice()).all(|(n, v)| untouched_or_changed((n, v))));
        }
    }
}
