//! Looking whether something can be received: Python's `_TestPoll`.

use std::time::{Duration, Instant};

use offspring::{Duplex, Receiver, Sender, pipe::RecvError, process};
use tests::each_start_method;

const LONG: Duration = Duration::from_secs(600);

#[process]
fn send_nothing(to: Sender<()>) {
    to.send_bytes(b"").unwrap();
}

each_start_method! {
    /// `test_empty_string`
    fn test_empty_string_can_be_received_as_often_as_one_looks() {
        let (to, from) = offspring::pipe()?;
        assert!(!from.poll(Duration::ZERO)?);
        send_nothing(to.clone()).spawn()?.join()?;
        assert!(from.poll(Duration::ZERO)?);
        assert!(from.poll(Duration::ZERO)?);
        assert_eq!(from.recv_bytes()?, b"");
        assert!(!from.poll(Duration::ZERO)?);
        drop(to);
        assert!(from.poll(Duration::ZERO)?);
        assert!(matches!(from.recv_bytes(), Err(RecvError::Disconnected)));
    }
}

const STRINGS: [&[u8]; 10] = [b"hello", b"", b"a", b"b", b"", b"bye", b"", b"lop", b"", b""];

#[process]
fn send_strings(to: Sender<()>) {
    for string in STRINGS {
        to.send_bytes(string).unwrap();
    }
}

each_start_method! {
    /// `test_strings`
    fn test_strings_come_in_order_with_the_empty_ones() {
        let (to, from) = offspring::pipe()?;
        let child = send_strings(to).spawn()?;
        for string in STRINGS {
            assert!(from.poll(LONG)?);
            assert_eq!(from.recv_bytes()?, string);
        }
        assert!(matches!(from.recv_bytes(), Err(RecvError::Disconnected)));
        child.join()?;
    }
}

/// Receives one message, and looks for more.
#[process]
fn take_one(from: Receiver<()>, begin: Receiver<()>) -> Vec<u8> {
    begin.recv().unwrap();
    assert!(from.poll(LONG).unwrap());
    let message = from.recv_bytes().unwrap();
    assert!(from.poll(LONG).unwrap());
    message
}

each_start_method! {
    /// `test_boundaries`
    fn test_boundaries_are_kept_when_one_looks_and_another_receives() {
        let (to, from) = offspring::pipe()?;
        let (begin, begun) = offspring::pipe()?;
        let child = take_one(from.clone(), begun).spawn()?;
        to.send_bytes(b"first")?;
        to.send_bytes(b"second")?;
        drop(to);
        begin.send(())?;
        assert_eq!(child.join()?, b"first");
        assert_eq!(from.recv_bytes()?, b"second");
        assert!(matches!(from.recv_bytes(), Err(RecvError::Disconnected)));
    }
}

#[process]
fn send_a_b_cd(begin: Duplex<(), ()>) {
    begin.recv().unwrap();
    begin.send_bytes(b"a").unwrap();
    begin.send_bytes(b"b").unwrap();
    begin.send_bytes(b"cd").unwrap();
}

each_start_method! {
    /// `test_dont_merge`
    fn test_dont_merge_three_messages() {
        let (here, there) = offspring::duplex()?;
        let child = send_a_b_cd(there).spawn()?;
        assert!(!here.poll(Duration::ZERO)?);
        let (before, timeout) = (Instant::now(), Duration::from_millis(100));
        assert!(!here.poll(timeout)?);
        assert!(before.elapsed() >= timeout);

        here.send(())?;
        assert_eq!(here.recv_bytes()?, b"a");
        assert!(here.poll(LONG)? && here.poll(LONG)?);
        assert_eq!(here.recv_bytes()?, b"b");
        assert!(here.poll(LONG)? && here.poll(LONG)? && here.poll(Duration::ZERO)?);
        assert_eq!(here.recv_bytes()?, b"cd");
        child.join()?;
    }
}
