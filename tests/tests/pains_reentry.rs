//! What makes a program enter as a child cannot be had from outside: not by its environment
//! variable, and not by a socket that is not its parent's.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};

use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recvmsg, send, sendmsg, socketpair,
};
use offspring::{Builder, Fd, JoinError, Stdio, process};
use tests::family::not_tested;

const MARKER: &str = "OFFSPRING_REENTRY";
const NONCE: [u8; 16] = *b"0123456789abcdef";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A program that says what it was given, with this in the variable.
fn elsewhere(marker: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elsewhere"));
    command.args(["spawn", "report"]).env(MARKER, marker);
    command
}

/// Makes descriptor 3 this, or closed.
fn set_third(fd: Option<&Fd<OwnedFd>>) {
    // SAFETY: whatever owned the number before does so no longer: this process is about to become
    // another program, or (of `run_from_here`) never looks at it again.
    let done = unsafe {
        match fd {
            Some(fd) => libc::dup2(fd.as_fd().as_raw_fd(), 3),
            None => libc::close(3),
        }
    };
    assert!(done >= 0 || fd.is_none(), "{}", io::Error::last_os_error());
}

/// Becomes that program: its parent is this process's.
#[process]
fn become_it(marker: String, third: Option<Fd<OwnedFd>>) {
    set_third(third.as_ref());
    panic!("{}", elsewhere(&marker).exec());
}

/// Runs that program as a child of this process, which has not made the socket.
#[process]
fn run_from_here(marker: String, third: Option<Fd<OwnedFd>>) -> Option<i32> {
    set_third(third.as_ref());
    elsewhere(&marker).status().unwrap().code()
}

/// What the program printed, and how it ended.
fn run_with(marker: &str, third: Option<OwnedFd>) -> (String, ExitStatus) {
    let child = Builder::new()
        .stdout(Stdio::piped())
        .spawn(become_it(marker.into(), third.map(Fd::new)))
        .unwrap();
    let output = child.join_with_output().unwrap();
    let status = match output.result {
        Err(JoinError::Exited(exit)) => exit.status(),
        other => panic!("{other:?}"),
    };
    (String::from_utf8(output.stdout).unwrap(), status)
}

fn sockets(kind: SockType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).unwrap()
}

/// A packet as the library writes it: see the README beside the wire's source.
fn packet(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A summons to be a child (0) or a fork server (1).
fn summons(role: u8, nonce: &[u8; 16]) -> Vec<u8> {
    packet(b'S', &[&[role], &nonce[..], &[0; 8]].concat())
}

fn write(socket: &OwnedFd, packet: &[u8]) {
    assert_eq!(send(socket.as_raw_fd(), packet, MsgFlags::empty()), Ok(packet.len()));
}

/// Sends a sound summons, with the lifeline that belongs to it. The other end is to be kept.
fn summon(socket: &OwnedFd, role: u8, nonce: &[u8; 16]) -> OwnedFd {
    let (tied, held) = io::pipe().unwrap();
    let mut bytes = summons(role, nonce);
    bytes[4] = 1; // one descriptor
    let fds = [tied.as_raw_fd()];
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[io::IoSlice::new(&bytes)],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::empty(),
        None,
    );
    assert_eq!(sent, Ok(bytes.len()));
    held.into()
}

/// The next packet, or nothing if the other end has closed without one.
fn read(socket: &OwnedFd) -> Vec<u8> {
    let mut bytes = [0; 1000];
    let mut parts = [io::IoSliceMut::new(&mut bytes)];
    let mut control = cmsg_space!([i32; 4]);
    let received =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty());
    let len = received.unwrap().bytes;
    bytes[..len].to_vec()
}

fn assert_main_ran(what: &str, marker: &str, third: Option<OwnedFd>) {
    let state = if third.is_some() { "open" } else { "closed" };
    let (printed, status) = run_with(marker, third);
    assert!(status.success(), "{what}: {status}");
    let wanted = format!("main ran; {MARKER} is not set; descriptor 3 is {state}\n");
    assert_eq!(printed, wanted, "{what}");
}

#[test]
fn the_variable_alone_does_nothing() {
    for marker in ["", "1", "nonsense", &hex(&NONCE)] {
        assert_main_ran("closed", marker, None);
        assert_main_ran("a file", marker, Some(File::open("/proc/self/exe").unwrap().into()));
        assert_main_ran("a file", marker, Some(File::open("/dev/null").unwrap().into()));
        assert_main_ran("a pipe", marker, Some(io::pipe().unwrap().0.into()));
    }
}

#[test]
fn a_socket_without_a_summons_does_nothing() {
    let marker = hex(&NONCE);
    for kind in [SockType::Stream, SockType::Datagram, SockType::SeqPacket] {
        let (ours, theirs) = sockets(kind);
        assert_main_ran("a silent socket", &marker, Some(theirs));
        drop(ours);
        assert_main_ran("a socket whose other end is gone", &marker, Some(sockets(kind).1));
    }
    // What could not be a summons, and what could be if the program were less careful.
    let sound = summons(0, &NONCE);
    let garbage = [
        vec![0],
        vec![b'S'; 3],
        packet(b'S', b""),
        packet(b'I', &sound[16..]),
        summons(7, &NONCE),
        sound[..sound.len() - 1].to_vec(),
        [&sound[..], b"x"].concat(),
        vec![0xff; 5000],
    ];
    for garbage in garbage {
        let (ours, theirs) = sockets(SockType::SeqPacket);
        write(&ours, &garbage);
        assert_main_ran(&format!("{garbage:?}"), &marker, Some(theirs));
    }
    // A summons over anything but the kind of socket that the library makes.
    for kind in [SockType::Stream, SockType::Datagram] {
        let (ours, theirs) = sockets(kind);
        write(&ours, &sound);
        assert_main_ran("the wrong kind", &marker, Some(theirs));
    }
}

#[test]
fn a_summons_by_somebody_else_than_the_parent_runs_nothing() {
    for role in [0, 1] {
        let (ours, theirs) = sockets(SockType::SeqPacket);
        let _lifeline = summon(&ours, role, &NONCE);
        let child = Builder::new()
            .stdout(Stdio::piped())
            .spawn(run_from_here(hex(&NONCE), Some(Fd::new(theirs))))
            .unwrap();
        let output = child.join_with_output().unwrap();
        assert_eq!(output.result.unwrap(), Some(1));
        assert_eq!(output.stdout, b"");
        assert_eq!(read(&ours), b"", "it must not have answered");
    }
}

#[test]
fn a_summons_by_another_build_is_refused() {
    for role in [0, 1] {
        let (ours, theirs) = sockets(SockType::SeqPacket);
        // With a fingerprint that no program has.
        let _lifeline = summon(&ours, role, &NONCE);
        let (printed, status) = run_with(&hex(&NONCE), Some(theirs));
        assert_eq!((printed.as_str(), status.code()), ("", Some(1)));
        assert_eq!(read(&ours).first(), Some(&b'N'));
    }
}

#[test]
fn a_summons_that_is_meant_for_another_process_runs_nothing() {
    for role in [0, 1] {
        let (ours, theirs) = sockets(SockType::SeqPacket);
        let _lifeline = summon(&ours, role, b"fedcba9876543210");
        let (printed, status) = run_with(&hex(&NONCE), Some(theirs));
        assert_eq!((printed.as_str(), status.code()), ("", Some(1)));
        assert_eq!(read(&ours), b"", "it must not have answered");
    }
}

/// The program runs nothing but its steps; what they print must be `wanted`.
fn assert_steps(method: &str, steps: &[&str], wanted: &str) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_elsewhere")).arg(method).args(steps).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(77) {
        return not_tested(&steps.join(" "), printed);
    }
    assert_eq!((printed.trim(), output.status.code()), (wanted, Some(0)), "{method}: {output:?}");
}

#[test]
fn the_variable_set_within_the_program_changes_nothing() {
    for method in ["forkserver", "spawn", "fork"] {
        for marker in ["", "1", &hex(&NONCE)] {
            assert_steps(method, &[&format!("marker={marker}")], "all is well");
            assert_steps(method, &[&format!("marker-for-child={marker}")], "all is well");
        }
    }
}
