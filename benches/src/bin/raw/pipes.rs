//! E: packet sockets and pipes.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use benches::{Round, measure, message};
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType};

use crate::{forked, wait};

pub(crate) fn socket_pair() -> (OwnedFd, OwnedFd) {
    socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .unwrap()
}

fn send(fd: &OwnedFd, bytes: &[u8]) {
    let sent = socket::send(fd.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL).unwrap();
    assert_eq!(sent, bytes.len());
}

fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> usize {
    socket::recv(fd.as_raw_fd(), buffer, MsgFlags::empty()).unwrap()
}

pub(crate) fn round_trips_socket(round: &Round) {
    let (here, there) = socket_pair();
    let child = forked(|| {
        let mut ping = [0; message::PING_LEN];
        for _ in 0..round.trips() {
            receive(&there, &mut ping);
            send(&there, &ping);
        }
    });
    let mut ping = [1; message::PING_LEN];
    measure::round_trips(round, || {
        send(&here, &ping);
        receive(&here, &mut ping);
    });
    wait(child);
}

pub(crate) fn round_trips_pipe(round: &Round) {
    let (mut here_in, mut there_out) = io::pipe().unwrap();
    let (mut there_in, mut here_out) = io::pipe().unwrap();
    let child = forked(|| {
        let mut ping = [0; message::PING_LEN];
        for _ in 0..round.trips() {
            there_in.read_exact(&mut ping).unwrap();
            there_out.write_all(&ping).unwrap();
        }
    });
    let mut ping = [1; message::PING_LEN];
    measure::round_trips(round, || {
        here_out.write_all(&ping).unwrap();
        here_in.read_exact(&mut ping).unwrap();
    });
    wait(child);
}

pub(crate) fn one_way_socket(round: &Round) {
    let (tx, rx) = socket_pair();
    let receive = |buffer: &mut [u8]| {
        let len = receive(&rx, buffer);
        message::look(&buffer[..len])
    };
    one_way(round, |bytes| send(&tx, bytes), receive);
}

pub(crate) fn one_way_pipe(round: &Round) {
    let (mut rx, mut tx): (PipeReader, PipeWriter) = io::pipe().unwrap();
    let receive = |buffer: &mut [u8]| {
        rx.read_exact(buffer).unwrap();
        message::look(buffer)
    };
    one_way(round, |bytes| tx.write_all(bytes).unwrap(), receive);
}

fn one_way(round: &Round, mut send: impl FnMut(&[u8]), mut receive: impl FnMut(&mut [u8]) -> u64) {
    let (mut seen, mut seen_there) = io::pipe().unwrap();
    let bytes = message::bytes(round.message_len());
    let child = forked(|| {
        let mut buffer = vec![0; bytes.len()];
        let acknowledge = |sum: u64| seen_there.write_all(&sum.to_le_bytes()).unwrap();
        measure::receive_one_way(round.parts(), || receive(&mut buffer), acknowledge);
    });
    let acknowledged = || {
        let mut sum = [0; 8];
        seen.read_exact(&mut sum).unwrap();
        u64::from_le_bytes(sum)
    };
    measure::send_one_way(round, || send(bytes), acknowledged);
    wait(child);
}
