//! The bare mechanisms: `fork`, `posix_spawn`, packet sockets and pipes, with no library around
//! them. What is above these figures is what a library costs, or saves.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use benches::{Round, measure, memory, message};
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("end") => return,
        Some("idle") => return wait_for_end(),
        _ => {}
    }
    let round = Round::from_args();
    match (round.work.as_str(), round.variant.as_str()) {
        ("I", "fork") => idle_fork(),
        ("I", _) => idle_exec(),
        ("E1", "pipe") => round_trips_pipe(&round),
        ("E1", _) => round_trips_socket(&round),
        (work, "pipe") if work.starts_with('E') => one_way_pipe(&round),
        (work, _) if work.starts_with('E') => one_way_socket(&round),
        (_, "fork") => measure::starts(&round, || forked(|| ()), wait),
        _ => {
            let start = || this_program("end").spawn().unwrap();
            measure::starts(&round, start, |mut child| assert!(child.wait().unwrap().success()));
        }
    }
}

/// A child that does `work` and ends.
fn forked(work: impl FnOnce()) -> Pid {
    // SAFETY: this program never has a second thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            work();
            // SAFETY: it ends the process, whatever state that is in.
            unsafe { nix::libc::_exit(0) }
        }
    }
}

fn wait(child: Pid) {
    waitpid(child, None).unwrap();
}

/// This program once more. `std` uses `posix_spawn` for it.
fn this_program(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(role);
    command
}

fn wait_for_end() {
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn idle_exec() {
    let mut command = this_program("idle");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    memory::figures(child.id());
    drop(child.stdin.take());
    child.wait().unwrap();
}

fn idle_fork() {
    let (mut ready, mut ready_there) = io::pipe().unwrap();
    let (mut end_there, end) = io::pipe().unwrap();
    // Its own copy of our end would keep the stream from ending.
    let number = end.as_raw_fd();
    let child = forked(|| {
        // SAFETY: the copy of `end` in this process is never used.
        unsafe { nix::libc::close(number) };
        ready_there.write_all(&[1]).unwrap();
        let _ = end_there.read(&mut [0]);
    });
    ready.read_exact(&mut [0]).unwrap();
    memory::figures(child.as_raw().cast_unsigned());
    drop(end);
    wait(child);
}

fn socket_pair() -> (OwnedFd, OwnedFd) {
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

fn round_trips_socket(round: &Round) {
    let (here, there) = socket_pair();
    let trips = round.count + round.count / 10;
    let child = forked(|| {
        let mut ping = [0; message::PING_LEN];
        for _ in 0..trips {
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

fn round_trips_pipe(round: &Round) {
    let (mut here_in, mut there_out) = io::pipe().unwrap();
    let (mut there_in, mut here_out) = io::pipe().unwrap();
    let trips = round.count + round.count / 10;
    let child = forked(|| {
        let mut ping = [0; message::PING_LEN];
        for _ in 0..trips {
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

fn one_way_socket(round: &Round) {
    let (tx, rx) = socket_pair();
    let receive = |buffer: &mut [u8]| {
        let len = receive(&rx, buffer);
        message::look(&buffer[..len])
    };
    one_way(round, |bytes| send(&tx, bytes), receive);
}

fn one_way_pipe(round: &Round) {
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
