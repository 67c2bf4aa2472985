//! Whatever is sent arrives as it was, and whatever damage arrives is told and harms nothing.

use std::collections::BTreeMap;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::packet::{Kind, RecvFailure, recv, send};
use super::{Fd, decode, encode};
use crate::sys::memfd;
use crate::sys::poll::Wait;
use crate::sys::socket;

const KIND: Kind = Kind(b'x');

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf(Option<i64>, String, f64),
    Bytes(Vec<u8>),
    Branch { left: Box<Tree>, right: Box<Tree>, note: BTreeMap<u16, char> },
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        (any::<Option<i64>>(), any::<String>(), -1e300..1e300)
            .prop_map(|(number, text, float)| Tree::Leaf(number, text, float)),
        any::<Vec<u8>>().prop_map(Tree::Bytes),
    ];
    leaf.prop_recursive(4, 32, 2, |inner| {
        (inner.clone(), inner, any::<BTreeMap<u16, char>>()).prop_map(|(left, right, note)| {
            Tree::Branch { left: Box::new(left), right: Box::new(right), note }
        })
    })
}

/// Sends a payload from another thread, since it may not fit, and gives what is received.
fn through(payload: &[u8]) -> Vec<u8> {
    let (a, b) = socket::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| send(a.as_fd(), KIND, payload, &[], Wait::Forever).unwrap());
        recv(b.as_fd(), Wait::Forever, |packet| {
            assert_eq!(packet.kind, KIND);
            packet.payload.to_vec()
        })
        .unwrap()
    })
}

proptest! {
    #[test]
    fn any_value_comes_back_equal(tree in trees()) {
        let mut bytes = vec![7];
        prop_assert!(encode(&tree, &mut bytes).unwrap().fds().is_empty());
        prop_assert_eq!(decode::<Tree>(&bytes[1..], Vec::new()).unwrap(), tree);
    }

    #[test]
    fn any_bytes_decode_to_a_value_or_an_error(bytes: Vec<u8>) {
        let _ = decode::<Tree>(&bytes, Vec::new());
        let _ = decode::<(String, Vec<Tree>)>(&bytes, Vec::new());
    }

    #[test]
    fn cut_or_lengthened_bytes_are_an_error(tree in trees(), extra in 1usize..20) {
        let mut bytes = Vec::new();
        encode(&tree, &mut bytes).unwrap();
        prop_assert!(decode::<Tree>(&bytes[..bytes.len() - 1], Vec::new()).is_err());
        bytes.extend(std::iter::repeat_n(0, extra));
        prop_assert!(decode::<Tree>(&bytes, Vec::new()).is_err());
    }

    #[test]
    fn garbage_on_a_socket_is_told_and_the_next_packet_is_received(
        garbage in prop::collection::vec(any::<u8>(), 1..200)
    ) {
        let (a, b) = socket::pair().unwrap();
        socket::send(a.as_fd(), &[IoSlice::new(&garbage)], &[], true).unwrap();
        send(a.as_fd(), KIND, b"sound", &[], Wait::Never).unwrap();
        // It may be a packet by chance, but then it is no longer than what came.
        let first = recv(b.as_fd(), Wait::Never, |packet| packet.payload.len());
        prop_assert!(!matches!(first, Ok(len) if len > garbage.len()));
        let next = recv(b.as_fd(), Wait::Never, |packet| packet.payload.to_vec());
        prop_assert_eq!(next.unwrap(), b"sound");
    }

    #[test]
    fn any_header_before_a_payload_is_harmless(header: [u8; 16], files in 0usize..3) {
        let (a, b) = socket::pair().unwrap();
        let file = memfd::create("test").unwrap();
        let fds = vec![file.as_fd(); files];
        socket::send(a.as_fd(), &[IoSlice::new(&header), IoSlice::new(b"payload")], &fds, true)
            .unwrap();
        let _ = recv(b.as_fd(), Wait::Never, |packet| packet.payload.len());
    }
}

#[test]
fn payloads_of_every_size_arrive() {
    for len in [0, 1, 100, 4096, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 1 << 20, 10_000_001] {
        let payload: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
        assert_eq!(through(&payload), payload, "{len} bytes");
    }
}

#[test]
fn descriptors_of_any_number_arrive_in_order() {
    let (a, b) = socket::pair().unwrap();
    for count in [0, 1, 252, 253, 254, 600] {
        let files: Vec<OwnedFd> = (0..count).map(|_| memfd::create("test").unwrap()).collect();
        for (index, file) in files.iter().enumerate() {
            let mut file = std::fs::File::from(file.try_clone().unwrap());
            file.write_all(&(index as u32).to_le_bytes()).unwrap();
        }
        let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        // With and without a file for the payload.
        for payload in [&b"short"[..], &[5; 100_000]] {
            send(a.as_fd(), KIND, payload, &fds, Wait::Never).unwrap();
            let received = recv(b.as_fd(), Wait::Never, |packet| {
                assert_eq!(packet.payload, payload);
                packet.fds
            });
            let received = received.unwrap();
            assert_eq!(received.len(), count);
            for (index, fd) in received.into_iter().enumerate() {
                let mut number = [0; 4];
                std::os::unix::fs::FileExt::read_exact_at(&std::fs::File::from(fd), &mut number, 0)
                    .unwrap();
                assert_eq!(u32::from_le_bytes(number), index as u32);
            }
        }
    }
}

#[test]
fn a_length_beyond_memory_allocates_nothing() {
    let (a, b) = socket::pair().unwrap();
    let mut header = [0; 16];
    header[8..].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
    socket::send(a.as_fd(), &[IoSlice::new(&header)], &[], true).unwrap();
    let received = recv(b.as_fd(), Wait::Never, |_| ());
    assert!(matches!(received, Err(RecvFailure::Corrupt(_))), "{received:?}");
}

#[test]
fn a_file_that_can_still_change_is_not_accepted() {
    let (a, b) = socket::pair().unwrap();
    let file = memfd::create("test").unwrap();
    std::fs::File::from(file.try_clone().unwrap()).write_all(&[1; 100]).unwrap();
    let mut header = [0; 16];
    header[1] = 1;
    header[8] = 100;
    socket::send(a.as_fd(), &[IoSlice::new(&header)], &[file.as_fd()], true).unwrap();
    let received = recv(b.as_fd(), Wait::Never, |_| ());
    assert!(matches!(received, Err(RecvFailure::Corrupt(_))), "{received:?}");
}

#[test]
fn a_file_with_holes_is_not_accepted() {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};

    let (a, b) = socket::pair().unwrap();
    let file = std::fs::File::from(memfd::create("test").unwrap());
    file.set_len(1 << 40).unwrap();
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL)).unwrap();
    let mut header = [0; 16];
    header[1] = 1;
    header[8..].copy_from_slice(&(1u64 << 40).to_le_bytes());
    socket::send(a.as_fd(), &[IoSlice::new(&header)], &[file.as_fd()], true).unwrap();
    let received = recv(b.as_fd(), Wait::Never, |_| ());
    assert!(matches!(received, Err(RecvFailure::Corrupt(_))), "{received:?}");
}

#[test]
fn a_handle_anywhere_but_on_its_way_is_an_error_that_says_so() {
    let (reader, writer) = std::io::pipe().unwrap();
    let error = serde_json::to_string(&Fd::new(writer)).unwrap_err();
    assert!(error.to_string().contains("only while it is sent"), "{error}");
    let error = serde_json::from_str::<Fd<std::io::PipeReader>>("0").unwrap_err();
    assert!(error.to_string().contains("only from what another process has sent"), "{error}");
    drop(reader);
}

#[test]
fn a_descriptor_arrives_once_and_one_too_many_is_an_error() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut bytes = Vec::new();
    let fds = encode(&Fd::new(writer), &mut bytes).unwrap().sent();
    let spare = memfd::create("test").unwrap();
    let mut more: Vec<OwnedFd> = fds.iter().map(|fd| fd.try_clone().unwrap()).collect();
    more.push(spare);
    assert!(decode::<Fd<std::io::PipeWriter>>(&bytes, more).is_err());
    assert!(decode::<Fd<std::io::PipeWriter>>(&bytes, Vec::new()).is_err());

    let mut writer: Fd<std::io::PipeWriter> = decode(&bytes, fds).unwrap();
    writer.write_all(b"x").unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "x");
}

/// Sends through a pipe of its own while it is being encoded.
struct Nested<'a>(&'a OwnedFd);

impl Serialize for Nested<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut inner = Vec::new();
        let fds = encode(&Fd::new(self.0.try_clone().unwrap()), &mut inner).unwrap().sent();
        assert_eq!(fds.len(), 1);
        Fd::new(self.0.try_clone().unwrap()).serialize(serializer)
    }
}

#[test]
fn one_crossing_within_another_does_not_mix_their_descriptors() {
    let file = memfd::create("test").unwrap();
    let mut bytes = Vec::new();
    let fds = encode(&(Nested(&file), Nested(&file)), &mut bytes).unwrap().sent();
    assert_eq!(fds.len(), 2);
    decode::<(Fd<OwnedFd>, Fd<OwnedFd>)>(&bytes, fds).unwrap();
}
