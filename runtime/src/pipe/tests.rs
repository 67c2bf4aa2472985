//! A pipe does what a `VecDeque` does, whatever is sent and received in whatever order; and its
//! descriptor can be read just when there is something to receive.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Receiver, RecvError, Sender, TryRecvError, TrySendError, pipe};
use crate::wire::Fd;

type Message = (u32, Vec<u8>, Option<Fd<std::os::fd::OwnedFd>>);

#[derive(Debug, Clone)]
enum Step {
    TrySend(usize),
    SendFile(usize),
    Recv,
    TryRecv,
    RecvAll,
    Look,
    /// Somebody borrows the descriptor.
    Watch,
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        20 => 0..200usize,
        10 => 200..5000usize,
        10 => 5000..70_000usize,
        1 => 70_000..2_200_000usize,
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => sizes().prop_map(Step::TrySend),
        5 => sizes().prop_map(Step::SendFile),
        20 => Just(Step::Recv),
        15 => Just(Step::TryRecv),
        2 => Just(Step::RecvAll),
        10 => Just(Step::Look),
        1 => Just(Step::Watch),
    ]
}

struct Pair {
    tx: Sender<Message>,
    rx: Receiver<Message>,
    model: VecDeque<(u32, usize, bool)>,
    made: u32,
    watched: bool,
}

impl Pair {
    fn new() -> Self {
        let (tx, rx) = pipe().unwrap();
        Self { tx, rx, model: VecDeque::new(), made: 0, watched: false }
    }

    fn try_send(&mut self, size: usize, with_file: bool) {
        self.made += 1;
        let file = with_file.then(|| crate::sys::fd::null().unwrap().into());
        match self.tx.try_send((self.made, vec![self.made as u8; size], file)) {
            Ok(()) => self.model.push_back((self.made, size, with_file)),
            // It may be full of less than it takes at most, but not of nothing.
            Err(TrySendError::Full(_)) => assert!(!self.model.is_empty()),
            Err(other) => panic!("{other}"),
        }
    }

    fn expect(&mut self, (number, bytes, file): Message) {
        let expected = self.model.pop_front().expect("nothing is left");
        assert_eq!((number, bytes.len(), file.is_some()), expected);
        assert!(bytes.iter().all(|byte| *byte == number as u8));
    }

    fn try_recv(&mut self) -> bool {
        match self.rx.try_recv() {
            Ok(message) => self.expect(message),
            Err(TryRecvError::Empty) => {
                assert!(self.model.is_empty());
                return false;
            }
            Err(other) => panic!("{other}"),
        }
        true
    }

    fn is_readable(&self) -> bool {
        let mut fds = [PollFd::new(self.rx.as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
    }

    /// For who has borrowed the descriptor once, without asking for it again.
    fn agree(&self) {
        if self.watched {
            let mut fds = [PollFd::new(self.rx.socket(), PollFlags::POLLIN)];
            let readable = nix::poll::poll(&mut fds, PollTimeout::ZERO).unwrap() > 0;
            assert_eq!(readable, !self.model.is_empty());
        }
    }

    fn does(&mut self, step: &Step) {
        match *step {
            Step::TrySend(size) => self.try_send(size, false),
            Step::SendFile(size) => self.try_send(size, true),
            Step::Recv if self.model.is_empty() => {}
            Step::Recv => {
                let message = self.rx.recv().unwrap();
                self.expect(message);
            }
            Step::TryRecv => drop(self.try_recv()),
            Step::RecvAll => while self.try_recv() {},
            Step::Look => {
                assert_eq!(self.rx.poll(Duration::ZERO).unwrap(), !self.model.is_empty());
            }
            Step::Watch => {
                self.watched = true;
                assert_eq!(self.is_readable(), !self.model.is_empty());
            }
        }
        self.agree();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn messages_come_out_as_they_went_in(steps in vec(steps(), 1..200)) {
        let mut pair = Pair::new();
        steps.iter().for_each(|step| pair.does(step));
        let Pair { tx, .. } = std::mem::replace(&mut pair, Pair::new());
        drop(tx);
    }

    #[test]
    fn what_is_left_is_received_before_the_end(steps in vec(steps(), 1..60)) {
        let mut pair = Pair::new();
        steps.iter().for_each(|step| pair.does(step));
        let Pair { tx, rx, mut model, .. } = pair;
        drop(tx);
        while let Some((number, ..)) = model.pop_front() {
            assert_eq!(rx.recv().unwrap().0, number);
        }
        prop_assert!(rx.poll(Duration::ZERO).unwrap());
        prop_assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
    }
}
