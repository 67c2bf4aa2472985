//! Waiting for the parts to come back.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use offspring::pipe;
use offspring::shm::Split;
use tests::each_start_method;

use super::{add_and_return, hold, hold_their_numbers, numbers};

fn is_readable(split: &Split<u32>) -> bool {
    let mut fds = [PollFd::new(split.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
}

each_start_method! {
    fn join_waits_for_a_part_wherever_it_is() {
        let (started, has_started) = pipe()?;
        let (let_go, until) = pipe()?;
        let (mut parts, whole) = numbers(10).split(3)?;
        let child = hold(parts.pop().expect("three"), started, until).spawn()?;
        has_started.recv()?;
        let (tx, rx) = pipe()?;
        tx.send(parts.pop().expect("two"))?;

        // In a child, in a message, here.
        let whole = whole.join_timeout(Duration::from_millis(1)).unwrap_err();
        drop(let_go);
        let sources = [parts.pop().expect("one"), rx.recv()?];
        let whole = sources.into_iter().fold(whole, |whole, part| {
            let whole = whole.join_timeout(Duration::from_millis(1)).unwrap_err();
            drop(part);
            whole
        });
        assert!(hold_their_numbers(&mut [whole.join()]));
        assert!(child.is_alive()); // but has it no more
        child.kill()?;
    }

    /// What is returned to nobody is a part until its child is reaped.
    fn a_result_that_nobody_asks_for_goes_with_its_child() {
        let (parts, whole) = numbers(10).split(2)?;
        for part in parts {
            let child = add_and_return(part, 1).spawn()?;
            child.wait()?;
        }
        assert!(offspring::active_children().is_empty());
        assert!(whole.join().as_mut_slice().iter().copied().eq(1..=10));
    }

    /// What nobody receives any more, nobody has.
    fn join_does_not_wait_for_a_message_that_nobody_can_receive() {
        let (tx, rx) = pipe()?;
        let (parts, whole) = numbers(10).split(3)?;
        for part in parts {
            tx.send(part)?;
        }
        assert!(rx.recv()?.len() == 4);
        let whole = whole.join_timeout(Duration::ZERO).unwrap_err();
        drop(rx);
        assert!(hold_their_numbers(&mut [whole.join()]));
    }

    only [forkserver ForkServer]
    fn join_timeout_waits_no_shorter_than_it_is_told_and_gives_it_back() {
        let (parts, mut whole) = numbers(10).split(1)?;
        for millis in [0, 1, 30] {
            let timeout = Duration::from_millis(millis);
            let start = Instant::now();
            whole = whole.join_timeout(timeout).unwrap_err();
            assert!(start.elapsed() >= timeout);
        }
        drop(parts);
        // Longer than anything.
        assert!(hold_their_numbers(&mut [whole.join_timeout(Duration::MAX).unwrap()]));
    }

    fn a_split_is_readable_when_it_is_free() {
        let (started, has_started) = pipe()?;
        let (let_go, until) = pipe()?;
        let (mut parts, whole) = numbers(10).split(2)?;
        let child = hold(parts.pop().expect("two"), started, until).spawn()?;
        has_started.recv()?;
        assert!(!is_readable(&whole));
        drop(parts);
        assert!(!is_readable(&whole));
        assert_eq!(offspring::wait_timeout(&[&whole, &child], Duration::ZERO)?, []);
        drop(let_go);
        assert_eq!(offspring::wait(&[&child, &whole])?, [1]);
        assert!(is_readable(&whole));
        assert_eq!(whole.join().len(), 10);
        child.kill()?;
    }
}
