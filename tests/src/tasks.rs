//! Tasks for pools, and a place where they stop until the case lets them go on.

use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{Signal, raise};
use offspring::sync::Event;
use offspring::{Receiver, Sender, TaskError, pipe, process};

/// Multiplies a number by itself.
#[process]
pub fn square(x: u64) -> u64 {
    x * x
}

/// The first squares.
pub fn squares(count: u64) -> Vec<u64> {
    (0..count).map(|x| x * x).collect()
}

/// The process that it is run by.
#[process]
pub fn pid() -> u32 {
    std::process::id()
}

/// Keeps a worker busy.
#[process]
pub fn nap(millis: u64) -> u64 {
    thread::sleep(Duration::from_millis(millis));
    millis
}

/// Gives back what it was given.
#[process]
pub fn echo(text: String) -> String {
    text
}

/// A text of so many bytes, which no other length has.
pub fn text(len: usize) -> String {
    let pattern: String =
        (0..251).map(|at| char::from(b'!' + ((at * 7 + len) % 93) as u8)).collect();
    let mut text = pattern.repeat(len / pattern.len() + 1);
    text.truncate(len);
    text
}

/// Panics, with this text.
#[process]
pub fn fail(text: String) -> u64 {
    panic!("{text}");
}

/// Calls `exit`.
#[process]
pub fn exit(code: i32) -> u64 {
    std::process::exit(code)
}

/// Sends itself a signal that ends it.
#[process]
pub fn die(signal: i32) -> u64 {
    raise(Signal::try_from(signal).unwrap()).unwrap();
    unreachable!("signal {signal} ends it");
}

/// Stops where it was told to; gives its process number.
#[process]
pub fn hold(arrivals: Sender<u32>, open: Event) -> u32 {
    let pid = std::process::id();
    arrivals.send(pid).unwrap();
    open.wait();
    pid
}

static STOP: OnceLock<(Sender<u32>, Event)> = OnceLock::new();

/// An initializer: tells workers where [`held`] stops.
#[process]
pub fn equip(arrivals: Sender<u32>, open: Event) {
    STOP.set((arrivals, open)).unwrap();
}

/// Stops where its worker was told to, and multiplies a number by itself; it needs no handle.
#[process]
pub fn held(x: u64) -> u64 {
    let (arrivals, open) = STOP.get().unwrap();
    arrivals.send(std::process::id()).unwrap();
    open.wait();
    x * x
}

/// Where tasks stop until the case lets them go on.
#[derive(Debug)]
pub struct Stop {
    tell: Sender<u32>,
    told: Receiver<u32>,
    open: Event,
}

impl Stop {
    /// A closed one.
    pub fn new() -> offspring::Result<Self> {
        let (tell, told) = pipe()?;
        Ok(Self { tell, told, open: Event::new()? })
    }

    /// A task that stops here.
    pub fn hold(&self) -> hold {
        hold(self.tell.clone(), self.open.clone())
    }

    /// The initializer for workers whose [`held`] is to stop here.
    pub fn equip(&self) -> equip {
        equip(self.tell.clone(), self.open.clone())
    }

    /// Waits until one more stops here; gives its process number.
    pub fn arrival(&self) -> u32 {
        self.told.recv().unwrap()
    }

    /// How many have come that nobody has [waited for](Self::arrival).
    pub fn others(&self) -> usize {
        std::iter::from_fn(|| self.told.try_recv().ok()).count()
    }

    /// Lets all go on.
    pub fn open(&self) {
        self.open.set();
    }

    /// Lets nobody who comes from now on go on.
    pub fn close(&self) {
        self.open.clear();
    }
}

/// Kills a child of this process, or this process itself, and waits until it has ended. If the child
/// has ended, and another process has its number, nothing is done to that one.
pub fn kill(pid: u32) {
    let Some(process) = crate::pidfd(pid) else { return };
    let own = std::process::id();
    if pid != own && !crate::is_child_of(pid, own) {
        return;
    }
    // SAFETY: it sends a signal, and touches no memory.
    unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, 0, 0);
    }
    offspring::wait(&[&process]).unwrap();
}

/// The signal that has ended the worker which had a task, and its process number.
#[track_caller]
pub fn died(outcome: Result<impl Sized, TaskError>) -> (Option<i32>, u32) {
    match outcome.map(drop) {
        Err(TaskError::WorkerDied(death)) => (death.status().signal(), death.pid()),
        other => panic!("{other:?}"),
    }
}

/// SIGKILL.
pub const KILLED: Option<i32> = Some(libc::SIGKILL);
