//! What no program of ours sends, sent raw into a pipe: it costs one error, and the next sound
//! message is received.
//!
//! The layout is in the README beside the wire's source: kind, flags, two spare bytes, number of
//! descriptors, length of the payload; then the payload.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socket, socketpair,
};
use offspring::{Receiver, duplex, pipe, pipe::RecvError, pipe::TryRecvError, process};
use tests::each_start_method;

const VALUE: u8 = b'v';
const BYTES: u8 = b'b';
const IN_FILE: u8 = 1;
const IN_CARRIER: u8 = 2;

/// A packet, and what goes beside it.
struct Frame {
    what: &'static str,
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

fn header(kind: u8, flags: u8, fds: u32, len: u64) -> Vec<u8> {
    [&[kind, flags, 0, 0], &fds.to_le_bytes()[..], &len.to_le_bytes()].concat()
}

fn frame(what: &'static str, header: Vec<u8>, payload: &[u8], fds: Vec<OwnedFd>) -> Frame {
    Frame { what, bytes: [&header[..], payload].concat(), fds }
}

fn raw_send(to: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) {
    let fds: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &rights[..0] } else { &rights };
    let parts = [IoSlice::new(bytes)];
    let sent = sendmsg::<()>(to.as_raw_fd(), &parts, control, MsgFlags::empty(), None);
    assert_eq!(sent, Ok(bytes.len()));
}

const ALL_SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE)
    .union(SealFlag::F_SEAL_SEAL);

fn memfd(content: &[u8], seals: SealFlag) -> OwnedFd {
    let mut file = File::from(memfd_create("frame", MFdFlags::MFD_ALLOW_SEALING).unwrap());
    file.write_all(content).unwrap();
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    file.into()
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

fn packet_sockets() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
}

/// The sound value that all frames are about, and its bytes.
const SOUND: [u32; 3] = [1, 2, 3];

fn sound_bytes() -> Vec<u8> {
    let numbers = SOUND.iter().flat_map(|number| number.to_le_bytes());
    3u64.to_le_bytes().into_iter().chain(numbers).collect()
}

fn unsound_headers() -> Vec<Frame> {
    let sound = sound_bytes();
    let len = sound.len() as u64;
    let plain = |what, header| frame(what, header, &sound, vec![]);
    vec![
        frame("one byte", vec![VALUE], &[], vec![]),
        frame("fifteen bytes", vec![VALUE; 15], &[], vec![]),
        frame("noise", vec![0xa5; 4000], &[], vec![]),
        frame("zeroes", vec![0; 16], &[], vec![]),
        frame("longer than any packet", vec![VALUE; 150_000], &[], vec![]),
        plain("no such kind", header(0, 0, 0, len)),
        plain("instructions", header(b'I', 0, 0, len)),
        plain("a summons", header(b'S', 0, 0, len)),
        plain("an outcome", header(b'V', 0, 0, len)),
        plain("bytes", header(BYTES, 0, 0, len)),
        plain("a shorter length", header(VALUE, 0, 0, len - 1)),
        plain("a longer length", header(VALUE, 0, 0, len + 1)),
        plain("no length", header(VALUE, 0, 0, 0)),
        plain("the longest length", header(VALUE, 0, 0, u64::MAX)),
        plain("a length of terabytes", header(VALUE, 0, 0, 1 << 42)),
        plain("descriptors that did not come", header(VALUE, 0, 1, len)),
        plain("all descriptors there are", header(VALUE, 0, u32::MAX, len)),
    ]
}

fn unsound_payloads() -> Vec<Frame> {
    let sound = sound_bytes();
    let claim = |numbers: u64| [&numbers.to_le_bytes(), &sound[8..]].concat();
    let whole = |what, payload: &[u8]| {
        frame(what, header(VALUE, 0, 0, payload.len() as u64), payload, vec![])
    };
    vec![
        whole("no payload", &[]),
        whole("cut in a number", &sound[..sound.len() - 1]),
        whole("cut in the length", &sound[..3]),
        whole("trailing bytes", &[&sound[..], b"x"].concat()),
        whole("one number too many", &claim(4)),
        whole("as many as there can be", &claim(u64::MAX)),
        whole("gigabytes of them", &claim(1 << 31)),
        whole("zero, and trailing", &claim(0)),
    ]
}

fn unsound_files() -> Vec<Frame> {
    let sound = sound_bytes();
    let len = sound.len() as u64;
    let sealed = || memfd(&sound, ALL_SEALS);
    let file = |what, len, fds| frame(what, header(VALUE, IN_FILE, 0, len), &[], fds);
    let without = |seal: SealFlag| memfd(&sound, ALL_SEALS - seal);
    vec![
        file("no file", len, vec![]),
        file("not sealed", len, vec![memfd(&sound, SealFlag::empty())]),
        file("may shrink", len, vec![without(SealFlag::F_SEAL_SHRINK)]),
        file("may grow", len, vec![without(SealFlag::F_SEAL_GROW)]),
        file("may change", len, vec![without(SealFlag::F_SEAL_WRITE)]),
        file("too short", len + 1, vec![sealed()]),
        file("too long", len - 1, vec![sealed()]),
        file("much too short", u64::MAX, vec![sealed()]),
        file("empty", 0, vec![memfd(&[], ALL_SEALS)]),
        file("empty, and said not to be", len, vec![memfd(&[], ALL_SEALS)]),
        file("a device", len, vec![null()]),
        file("a file on disk", len, vec![tempfile::tempfile().unwrap().into()]),
        file("a directory", len, vec![File::open("/").unwrap().into()]),
        file("a socket", len, vec![packet_sockets().0]),
        file("a file too many", len, vec![sealed(), sealed()]),
        frame(
            "a file with noise",
            header(VALUE, IN_FILE, 0, 100),
            &[],
            vec![memfd(&[0xa5; 100], ALL_SEALS)],
        ),
    ]
}

fn unsound_descriptors() -> Vec<Frame> {
    let sound = sound_bytes();
    let len = sound.len() as u64;
    let beside =
        |what, flags, count, fds| frame(what, header(VALUE, flags, count, len), &sound, fds);
    let nulls = |count: usize| (0..count).map(|_| null()).collect::<Vec<_>>();
    vec![
        beside("a descriptor that nobody wants", 0, 1, nulls(1)),
        beside("one that was not told of", 0, 0, nulls(1)),
        beside("as many as a packet can carry", 0, 253, nulls(253)),
        beside("fewer than was said", 0, 3, nulls(2)),
        beside("more than was said", 0, 2, nulls(3)),
        beside("no carrier", IN_CARRIER, 300, vec![]),
        beside("a carrier that is a file", IN_CARRIER, 300, nulls(1)),
        beside("an empty carrier, closed", IN_CARRIER, 300, vec![packet_sockets().0]),
        beside("a carrier and far too much", IN_CARRIER, u32::MAX, vec![packet_sockets().0]),
    ]
}

/// Carriers that cannot be emptied, because they do not end. The second of each pair stays with us.
fn endless_carriers() -> Vec<(Frame, Option<OwnedFd>)> {
    let sound = sound_bytes();
    let header = || header(VALUE, IN_CARRIER, 300, sound.len() as u64);
    let (open, other_end) = packet_sockets();
    let (filled, filler) = packet_sockets();
    raw_send(filler.as_fd(), &[0], &[null()]);
    let lonely =
        socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    vec![
        (frame("an empty carrier", header(), &sound, vec![open]), Some(other_end)),
        (frame("a carrier with too few", header(), &sound, vec![filled]), Some(filler)),
        (frame("a carrier without another end", header(), &sound, vec![lonely]), None),
    ]
}

fn all_frames() -> Vec<Frame> {
    let lists = [unsound_headers(), unsound_payloads(), unsound_files(), unsound_descriptors()];
    lists.into_iter().flatten().collect()
}

/// Sends each frame, and a sound value after it; the one must be an error, the other arrive.
fn assert_survives(frames: Vec<Frame>) -> Result<(), Box<dyn std::error::Error>> {
    let (tx, rx) = pipe::<Vec<u32>>()?;
    let (left, right) = duplex::<Vec<u32>, Vec<u32>>()?;
    for (number, frame) in frames.iter().enumerate() {
        let what = frame.what;
        let before = tests::descriptors();
        raw_send(tx.as_fd(), &frame.bytes, &frame.fds);
        tx.send(SOUND.into())?;
        let error = if number % 2 == 0 {
            match rx.recv() {
                Err(RecvError::Decode(error)) => error,
                other => panic!("{what}: {other:?}"),
            }
        } else {
            match rx.try_recv() {
                Err(TryRecvError::Decode(error)) => error,
                other => panic!("{what}: {other:?}"),
            }
        };
        assert!(error.type_name().contains("Vec<u32>"), "{what}: {error}");
        assert_eq!(rx.recv()?, SOUND, "after {what}");

        raw_send(left.as_fd(), &frame.bytes, &frame.fds);
        left.send(SOUND.into())?;
        assert!(matches!(right.recv(), Err(RecvError::Decode(_))), "{what}");
        assert_eq!(right.recv()?, SOUND, "after {what}");

        // As plain bytes it is no sound message either, save for the one that is.
        if what != "bytes" {
            raw_send(tx.as_fd(), &frame.bytes, &frame.fds);
            tx.send_bytes(b"sound")?;
            assert!(matches!(rx.recv_bytes(), Err(RecvError::Decode(_))), "{what}");
            assert_eq!(rx.recv_bytes()?, b"sound", "after {what}");
        }
        assert_eq!(tests::descriptors(), before, "after {what}");
    }
    Ok(())
}

each_start_method! {
    // No child is started here: the case is a process of its own, to count its descriptors.
    only [spawn Spawn]
    fn an_unsound_header_costs_no_other_message() {
        assert_survives(unsound_headers())?;
    }

    only [spawn Spawn]
    fn an_unsound_payload_costs_no_other_message() {
        assert_survives(unsound_payloads())?;
    }

    only [spawn Spawn]
    fn a_file_that_is_not_sealed_or_not_as_long_as_said_costs_no_other_message() {
        assert_survives(unsound_files())?;
    }

    only [spawn Spawn]
    fn descriptors_that_were_not_expected_are_closed() {
        assert_survives(unsound_descriptors())?;
    }

    only [spawn Spawn]
    fn a_carrier_that_does_not_end_costs_no_other_message() {
        let (frames, _held): (Vec<_>, Vec<_>) = endless_carriers().into_iter().unzip();
        assert_survives(frames)?;
    }

    only [spawn Spawn]
    /// A packet of no bytes reads as the end of the stream would.
    fn an_empty_packet_is_not_the_end_of_the_stream() {
        let (tx, rx) = pipe::<Vec<u32>>()?;
        raw_send(tx.as_fd(), &[], &[]);
        tx.send(SOUND.into())?;
        let first = rx.recv();
        assert!(matches!(first, Err(RecvError::Decode(_))), "{first:?}");
        assert_eq!(rx.recv()?, SOUND);
    }
}

/// How many messages were unsound, and how many sound, until the stream ended.
#[process]
fn count(from: Receiver<Vec<u32>>) -> (usize, usize) {
    let mut counts = (0, 0);
    loop {
        match from.recv() {
            Ok(value) => {
                assert_eq!(value, SOUND);
                counts.1 += 1;
            }
            Err(RecvError::Decode(_)) => counts.0 += 1,
            Err(RecvError::Disconnected) => return counts,
            Err(other) => panic!("{other:?}"),
        }
    }
}

each_start_method! {
    fn a_child_survives_all_of_it() {
        let (tx, rx) = pipe()?;
        let child = count(rx).spawn()?;
        let frames = all_frames();
        for frame in &frames {
            raw_send(tx.as_fd(), &frame.bytes, &frame.fds);
            tx.send(SOUND.into())?;
        }
        drop(tx);
        assert_eq!(child.join()?, (frames.len(), frames.len()));
    }
}
