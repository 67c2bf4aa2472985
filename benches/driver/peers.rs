//! Who is measured.

/// What runs a peer's rounds.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Program {
    Binary(&'static str),
    Python,
}

/// One row: a program, or one of its ways to do things. If it is much faster or slower in some works
/// than in others, it is there once more, with another share, for those.
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

/// Queues: what one consumer can have, what several can, plain bytes, round trips, and what
/// each peer takes part in.
const ONE_TO_ONE: &[&str] = &["F1", "F4", "F11"];
const MANY_TO_MANY: &[&str] = &["F1", "F2", "F3", "F4", "F11"];
const QUEUE_BYTES: &[&str] = &["F5b", "F6b", "F7b"];
const ANSWERS: &[&str] = &["F9", "F9p", "F10", "F10p"];
const OUR_QUEUES: &[&str] =
    &["F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F9p", "F10", "F10p", "F11"];
const PYTHON_QUEUES: &[&str] =
    &["F1", "F2", "F3", "F4", "F5", "F6", "F7", "F9", "F9p", "F10", "F10p"];
const IPC_QUEUES: &[&str] = &["F1", "F4", "F5", "F6", "F7", "F9", "F9p", "F10", "F10p", "F11"];
const PIPE_QUEUES: &[&str] =
    &["F1", "F2", "F3", "F4", "F5b", "F6b", "F7b", "F9", "F9p", "F10", "F10p", "F11"];

/// What has a mutex; a semaphore; a condition variable; a barrier.
const MUTEX: &[&str] = &["G1", "G2", "G6", "S3", "S3p"];
const SEMAPHORE: &[&str] = &["G3", "G4", "S1", "S1p"];
const PTHREAD: &[&str] = &["G1", "G2", "G5", "G6", "S3", "S3p", "S4", "S4p", "S5", "S5p"];
const FUTEX: &[&str] =
    &["G1", "G2", "G3", "G4", "S1", "S1p", "S2", "S2p", "S4", "S4p", "S5", "S5p"];
const PYTHON_LOCKS: &[&str] = &[
    "G1", "G2", "G3", "G4", "G6", "S1", "S1p", "S2", "S2p", "S3", "S3p", "S4", "S4p", "S5", "S5p",
    "M1",
];
const OUR_LOCKS: &[&str] = &[
    "G1", "G2", "G3", "G4", "G5", "G6", "S1", "S1p", "S2", "S2p", "S3", "S3p", "S4", "S4p", "S5",
    "S5p", "M1", "M2", "M2s",
];
const SEGMENTS: &[&str] = &["M1", "M2", "M2s"];
const H1: &[&str] = &["H1"];
/// Pools: what does not take longer with slow ones, or not much; what does, where they do a share;
/// what has values in memory that is handed over; fresh workers; a worker that waits; and what the bare
/// mechanisms take part in.
const MAPS: &[&str] = &["C1", "C3", "C4", "C5", "C6"];
const SINGLE_TASKS: &[&str] = &["C2", "D1", "D1p", "D3", "D3p"];
const LARGE: &[&str] = &["C5", "C6"];
const FRESH: &[&str] = &["B2"];
const WAITING: &[&str] = &["Iw"];
const BARE: &[&str] = &["C1", "C2"];
const MAILBOX: &[&str] = &["D1", "D1p", "D3", "D3p"];
const OUR_POOL: &[&str] =
    &["B2", "C1", "C2", "C3", "C4", "C5", "C6", "D1", "D1p", "D3", "D3p", "Iw"];

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
    peer("ours, Pool", OURS, "pool", OUR_POOL, 1.0),
    peer("ours, Pool, SharedSlice of a Vec in, SharedMut out", OURS, "pool-shared", LARGE, 1.0),
    peer("ours, Pool, fork", OURS, "pool-fork", WAITING, 1.0),
    peer("ours, Pool, spawn", OURS, "pool-spawn", WAITING, 1.0),
    peer("ours, Pool, spawn", OURS, "pool-spawn", FRESH, 0.2),
    peer("ours, Queue", OURS, "queue", OUR_QUEUES, 1.0),
    peer("ours, Queue, serialize_bytes", OURS, "queue", QUEUE_BYTES, 1.0),
    peer("ours", OURS, "locks", OUR_LOCKS, 1.0),
    peer("ours, SharedSlice of a Vec", OURS, "copied", H1, 1.0),
    peer("ours, SharedMut, frozen", OURS, "born", H1, 1.0),
    peer("ours, SharedMut, moved", OURS, "moved", H1, 1.0),
    peer("ours, a Vec", OURS, "vec", H1, 1.0),
    peer("raw fork and _exit", RAW, "fork", PROCESSES, 0.5),
    peer("raw posix_spawn of itself", RAW, "posix-spawn", PROCESSES, 0.1),
    peer("raw packet socket", RAW, "socket", &["E1", "E1p", "E5b", "E6b", "E7b"], 1.0),
    peer("raw pipe", RAW, "pipe", &["E1", "E1p", "E5b", "E6b", "E7b", "E8b", "E9b"], 1.0),
    peer("raw pipe", RAW, "pipe", PIPE_QUEUES, 1.0),
    peer("raw pipe", RAW, "pipe", &["F8"], 5.0),
    peer("raw ring", RAW, "ring", ANSWERS, 1.0),
    peer("raw ring", RAW, "ring", ONE_TO_ONE, 10.0),
    peer("raw cursor", RAW, "cursor", BARE, 1.0),
    peer("raw mailbox", RAW, "futex", MAILBOX, 1.0),
    peer("raw mailbox, spinning", RAW, "spin", &["D1", "D3"], 1.0),
    peer("raw pthread", RAW, "pthread", PTHREAD, 1.0),
    peer("raw pthread, robust", RAW, "robust", MUTEX, 1.0),
    peer("raw sem_t", RAW, "sem", SEMAPHORE, 1.0),
    peer("raw futex", RAW, "futex", FUTEX, 1.0),
    peer("raw memfd", RAW, "memfd", SEGMENTS, 1.0),
    peer("raw memfd, written", RAW, "written", H1, 1.0),
    peer("raw memfd, born there", RAW, "born", H1, 1.0),
    peer("raw pipe of 1 MiB", RAW, "pipe", H1, 1.0),
    peer("limit: mapped before, only summed", RAW, "mapped", H1, 1.0),
    peer("procspawn", PROCSPAWN, "", PROCESSES, 0.1),
    peer("procspawn, Pool", PROCSPAWN, "", H1, 1.0),
    peer("procspawn, Pool", PROCSPAWN, "", MAPS, 1.0),
    peer("procspawn, Pool", PROCSPAWN, "", SINGLE_TASKS, 0.2),
    peer("procspawn, Pool", PROCSPAWN, "", WAITING, 1.0),
    peer("ipc-channel", IPC_CHANNEL, "", PIPES, 0.5),
    peer("ipc-channel", IPC_CHANNEL, "", IPC_QUEUES, 0.5),
    peer("ipc-channel, bytes", IPC_CHANNEL, "", BYTES, 0.5),
    peer("ipc-channel, bytes", IPC_CHANNEL, "", QUEUE_BYTES, 0.5),
    peer("ipc-channel, IpcSharedMemory", IPC_CHANNEL, "copied", &["M1", "M2", "M2s", "H1"], 1.0),
    peer("ipc-channel, IpcSharedMemory, born there", IPC_CHANNEL, "born", H1, 1.0),
    peer("ipc-channel, Vec", IPC_CHANNEL, "values", H1, 1.0),
    peer("Python fork", Program::Python, "fork", PROCESSES, 0.05),
    peer("Python forkserver", Program::Python, "forkserver", PROCESSES, 0.02),
    peer("Python spawn", Program::Python, "spawn", PROCESSES, 0.01),
    peer("Python Pool, fork", Program::Python, "pool-fork", MAPS, 1.0),
    peer("Python Pool, fork", Program::Python, "pool-fork", SINGLE_TASKS, 0.1),
    peer("Python Pool, fork", Program::Python, "pool-fork", FRESH, 0.1),
    peer("Python Pool, fork", Program::Python, "pool-fork", WAITING, 1.0),
    peer("Python Pool, forkserver", Program::Python, "pool-forkserver", MAPS, 1.0),
    peer("Python Pool, forkserver", Program::Python, "pool-forkserver", SINGLE_TASKS, 0.1),
    peer("Python Pool, forkserver", Program::Python, "pool-forkserver", FRESH, 0.02),
    peer("Python Pool, forkserver", Program::Python, "pool-forkserver", WAITING, 1.0),
    peer("Python Pool, spawn", Program::Python, "pool-spawn", MAPS, 1.0),
    peer("Python Pool, spawn", Program::Python, "pool-spawn", SINGLE_TASKS, 0.1),
    peer("Python Pool, spawn", Program::Python, "pool-spawn", FRESH, 0.01),
    peer("Python Pool, spawn", Program::Python, "pool-spawn", WAITING, 1.0),
    peer("Python ProcessPoolExecutor", Program::Python, "futures", MAPS, 1.0),
    peer("Python ProcessPoolExecutor", Program::Python, "futures", SINGLE_TASKS, 0.1),
    peer("Python ProcessPoolExecutor", Program::Python, "futures", FRESH, 0.02),
    peer("Python ProcessPoolExecutor", Program::Python, "futures", WAITING, 1.0),
    peer("loky", Program::Python, "loky", MAPS, 1.0),
    peer("loky", Program::Python, "loky", SINGLE_TASKS, 0.1),
    peer("loky", Program::Python, "loky", WAITING, 1.0),
    peer("mpire", Program::Python, "mpire", MAPS, 1.0),
    peer("mpire", Program::Python, "mpire", SINGLE_TASKS, 0.1),
    peer("mpire", Program::Python, "mpire", FRESH, 0.05),
    peer("mpire", Program::Python, "mpire", WAITING, 1.0),
    peer("Python Pipe, send", Program::Python, "values", PIPES, 0.2),
    peer("Python Pipe, send_bytes", Program::Python, "bytes", BYTES, 0.2),
    peer("Python Queue", Program::Python, "Queue", PYTHON_QUEUES, 0.2),
    peer("Python Queue", Program::Python, "Queue", &["F11"], 0.02),
    peer("Python SimpleQueue", Program::Python, "SimpleQueue", PYTHON_QUEUES, 0.2),
    peer("Python SimpleQueue", Program::Python, "SimpleQueue", &["F11"], 0.2),
    peer("Python multiprocessing", Program::Python, "locks", PYTHON_LOCKS, 0.2),
    peer("Python SharedMemory", Program::Python, "shared", SEGMENTS, 0.2),
    peer("Python SharedMemory, copied into", Program::Python, "copied", H1, 1.0),
    peer("Python SharedMemory, born there", Program::Python, "born", H1, 1.0),
    peer("Python Pipe, pickled", Program::Python, "pickled", H1, 1.0),
    peer("std::thread", THREADS, "", STARTS, 1.0),
    peer("threads, rayon", THREADS, "rayon", MAPS, 1.0),
    peer("threads, rayon", THREADS, "rayon", SINGLE_TASKS, 1.0),
    peer("threads, std mpsc", THREADS, "mpsc", &["E1", "E1p", "E5"], 1.0),
    peer("threads, std mpsc", THREADS, "mpsc", ANSWERS, 1.0),
    peer("threads, std mpsc", THREADS, "mpsc", ONE_TO_ONE, 10.0),
    peer("threads, crossbeam-channel", THREADS, "crossbeam", &["E1", "E1p", "E5"], 1.0),
    peer("threads, crossbeam-channel", THREADS, "crossbeam", ANSWERS, 1.0),
    peer("threads, crossbeam-channel", THREADS, "crossbeam", MANY_TO_MANY, 10.0),
    peer(
        "threads, std",
        THREADS,
        "std",
        &["G1", "G2", "G5", "S3", "S3p", "S4", "S4p", "S5", "S5p"],
        1.0,
    ),
    peer(
        "threads, parking_lot",
        THREADS,
        "parking_lot",
        &["G1", "G2", "G5", "G6", "S3", "S3p"],
        1.0,
    ),
    peer("threads, Arc", THREADS, "arc", H1, 1.0),
    peer("bincode 1.3.3, fixed width (ours)", CODEC, "1-fixed", &["codec"], 1.0),
    peer("bincode 1.3.3, variable width", CODEC, "1-variable", &["codec"], 1.0),
    peer("bincode 2.0.1, fixed width", CODEC, "2-fixed", &["codec"], 1.0),
    peer("bincode 2.0.1, variable width", CODEC, "2-variable", &["codec"], 1.0),
];
