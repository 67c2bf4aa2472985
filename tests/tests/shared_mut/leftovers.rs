//! Nothing is left of what was dropped, or was in the hands of the killed.

use std::error::Error as StdError;
use std::os::fd::{AsFd, OwnedFd};

use offspring::shm::SharedMut;
use offspring::{Fd, pipe};
use tests::{Holdings, each_start_method};

use super::{add, counts, numbers, take};

each_start_method! {
    only [forkserver ForkServer]
    fn ten_thousand_made_split_and_dropped_leave_nothing() {
        let (tx, rx) = pipe()?;
        let round = |n: usize| -> Result<(), Box<dyn StdError>> {
            let array = SharedMut::<u32>::zeroed(n % 1_000 + 1)?;
            match n % 4 {
                0 => drop(array),
                1 => drop(array.split(3)?),
                2 => {
                    let (parts, whole) = array.chunks(500)?;
                    for part in parts {
                        tx.send(part)?;
                        drop(rx.recv()?);
                    }
                    drop(whole.join());
                }
                _ => drop(array.freeze()?),
            }
            Ok(())
        };
        (0..100).try_for_each(round)?; // until the pipe has its ring
        let before = Holdings::now();
        (0..10_000).try_for_each(round)?;
        assert_eq!(Holdings::now(), before);
        assert_eq!(counts(), (0, 0));
    }

    fn children_that_are_killed_with_parts_leave_nothing() {
        assert_eq!(take(numbers(1)).spawn()?.join()?, 1);
        let before = Holdings::now().descriptors;
        for _ in 0..50 {
            let (parts, whole) = numbers(1_000).split(2)?;
            let children: Vec<_> =
                parts.into_iter().map(|part| add(part, 1).spawn()).collect::<Result<_, _>>()?;
            children[0].kill()?;
            drop(whole.join());
            children.iter().try_for_each(|child| child.wait().map(drop))?;
        }
        assert_eq!(Holdings::now().descriptors, before);
        assert_eq!(counts(), (0, 0));
    }

    only [forkserver ForkServer]
    /// The descriptor of a `Split` is its own: it does not go with what is sent.
    fn a_split_lends_its_descriptor() {
        let (parts, whole) = numbers(10).split(2).unwrap();
        let copy: OwnedFd = whole.as_fd().try_clone_to_owned().unwrap();
        drop(parts);
        assert_eq!(whole.join().len(), 10);
        // Nobody can write to it, so what is read is its end.
        assert_eq!(nix::unistd::read(&copy, &mut [0; 8]), Ok(0));
        drop(Fd::new(copy));
    }
}
