//! Who is measured.

/// What runs a peer's rounds.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Program {
    Binary(&'static str),
    Python,
}

/// One row: a program, or one of its ways to do things.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    pub(crate) variant: &'static str,
    /// The works it takes part in.
    pub(crate) works: &'static [&'static str],
    /// How much of each work's count it does: slow peers do less.
    pub(crate) share: f64,
}

const OURS: Program = Program::Binary(env!("CARGO_BIN_EXE_bench-offspring"));
const RAW: Program = Program::Binary(env!("CARGO_BIN_EXE_bench-raw"));
const THREADS: Program = Program::Binary(env!("CARGO_BIN_EXE_bench-threads"));
const PROCSPAWN: Program = Program::Binary(env!("CARGO_BIN_EXE_bench-procspawn"));
const IPC_CHANNEL: Program = Program::Binary(env!("CARGO_BIN_EXE_bench-ipc-channel"));
const CODEC: Program = Program::Binary(env!("CARGO_BIN_EXE_bench-codec"));

const STARTS: &[&str] = &["A1", "A1s", "A2", "B1"];
const PROCESSES: &[&str] = &["A1", "A1s", "A2", "B1", "I"];
const PIPES: &[&str] = &["E1", "E1p", "E5", "E6", "E7", "E8", "E9"];
const BYTES: &[&str] = &["E5b", "E6b", "E7b", "E8b", "E9b"];

const fn peer(
    name: &'static str,
    program: Program,
    variant: &'static str,
    works: &'static [&'static str],
    share: f64,
) -> Peer {
    Peer { name, program, variant, works, share }
}

/// In the order of the tables. The first in a column that is ours is what the others in it are
/// compared with.
pub(crate) const PEERS: &[Peer] = &[
    peer("ours, forkserver", OURS, "forkserver", PROCESSES, 1.0),
    peer("ours, fork", OURS, "fork", PROCESSES, 0.5),
    peer("ours, spawn", OURS, "spawn", PROCESSES, 0.1),
    peer("ours, the fork server", OURS, "server", &["I"], 1.0),
    peer("ours, pipe", OURS, "pipe", PIPES, 1.0),
    peer("ours, recv_bytes_into", OURS, "into", BYTES, 1.0),
    peer("ours, recv_bytes", OURS, "vec", BYTES, 1.0),
    peer("raw fork and _exit", RAW, "fork", PROCESSES, 0.5),
    peer("raw posix_spawn of itself", RAW, "posix-spawn", PROCESSES, 0.1),
    peer("raw packet socket", RAW, "socket", &["E1", "E1p", "E5b", "E6b", "E7b"], 1.0),
    peer("raw pipe", RAW, "pipe", &["E1", "E1p", "E5b", "E6b", "E7b", "E8b", "E9b"], 1.0),
    peer("procspawn", PROCSPAWN, "", PROCESSES, 0.1),
    peer("ipc-channel", IPC_CHANNEL, "", PIPES, 0.5),
    peer("ipc-channel, bytes", IPC_CHANNEL, "", BYTES, 0.5),
    peer("Python fork", Program::Python, "fork", PROCESSES, 0.05),
    peer("Python forkserver", Program::Python, "forkserver", PROCESSES, 0.02),
    peer("Python spawn", Program::Python, "spawn", PROCESSES, 0.01),
    peer("Python Pipe, send", Program::Python, "values", PIPES, 0.2),
    peer("Python Pipe, send_bytes", Program::Python, "bytes", BYTES, 0.2),
    peer("std::thread", THREADS, "", STARTS, 1.0),
    peer("threads, std mpsc", THREADS, "mpsc", &["E1", "E1p", "E5"], 1.0),
    peer("threads, crossbeam-channel", THREADS, "crossbeam", &["E1", "E1p", "E5"], 1.0),
    peer("bincode 1.3.3, fixed width (ours)", CODEC, "1-fixed", &["codec"], 1.0),
    peer("bincode 1.3.3, variable width", CODEC, "1-variable", &["codec"], 1.0),
    peer("bincode 2.0.1, fixed width", CODEC, "2-fixed", &["codec"], 1.0),
    peer("bincode 2.0.1, variable width", CODEC, "2-variable", &["codec"], 1.0),
];
