//! Who holds a lock: for the words of errors and of `Debug`.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, RwLock};

use super::kernel::{AtomicU64, Thread};
use crate::sys::startup;

/// A thread of a process, as it called itself while it held a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    process: String,
    pid: u32,
    thread: String,
    tid: u32,
}

impl Holder {
    /// The name of its process; of a long name, the first 32 bytes.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name of its thread, as the system knows it: at most 15 bytes. `main` for the main thread.
    pub fn thread(&self) -> &str {
        &self.thread
    }

    /// The system's number of its thread.
    pub fn tid(&self) -> u32 {
        self.tid
    }
}

/// `process 'square-1' (pid 123)`, and the thread, if it is not the main one.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process '{}' (pid {})", self.process, self.pid)?;
        if self.tid != self.pid {
            write!(f, ", thread '{}' ({})", self.thread, self.tid)?;
        }
        Ok(())
    }
}

const PROCESS: std::ops::Range<usize> = 2..6;
const THREAD: std::ops::Range<usize> = 6..8;
const WORDS: usize = 8;

/// A holder's name in shared memory.
///
/// Only the owner of the lock writes it; others read it meanwhile, and may then find two names
/// mixed: it is for people to read.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Record([AtomicU64; WORDS]);

/// What the calling thread writes: its *token*, which no other thread has, its numbers, its names.
#[derive(Clone, Copy)]
struct Own([u64; WORDS]);

thread_local! {
    static OWN: Cell<Own> = const { Cell::new(Own([0; WORDS])) };
}

/// This process's name, if it is somebody's child.
static PROCESS_NAME: RwLock<Option<&'static str>> = RwLock::new(None);

/// Tells the locks what this process is called.
pub(crate) fn name_process(name: &'static str) {
    *PROCESS_NAME.write().unwrap_or_else(PoisonError::into_inner) = Some(name);
    OWN.set(Own([0; WORDS]));
}

fn pack(text: &[u8], words: &mut [u64]) {
    for (word, bytes) in words.iter_mut().zip(text.chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(padded);
    }
}

fn unpack(words: &[AtomicU64]) -> String {
    let bytes: Vec<u8> =
        words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    // A name that was cut off in the middle of a character ends before it.
    String::from_utf8_lossy(&bytes[..len]).trim_end_matches('\u{fffd}').to_owned()
}

impl Own {
    #[inline]
    fn current() -> Self {
        let own = OWN.get();
        // In a copy of its process, the thread has another number.
        if own.0[0] as u32 == Thread::current().tid() { own } else { Self::new() }
    }

    #[cold]
    fn new() -> Self {
        let tid = Thread::current().tid();
        let pid = std::process::id();
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
            .expect("the monotonic clock");
        let mut own = Self([0; WORDS]);
        own.0[0] = (now.tv_nsec() as u64) << 32 | u64::from(tid);
        own.0[1] = u64::from(pid) << 32 | u64::from(tid);
        let process = *PROCESS_NAME.read().unwrap_or_else(PoisonError::into_inner);
        pack(process.unwrap_or("main").as_bytes(), &mut own.0[PROCESS]);
        if tid == pid {
            pack(b"main", &mut own.0[THREAD]);
        } else {
            pack(startup::thread_name().as_bytes(), &mut own.0[THREAD]);
        }
        OWN.set(own);
        own
    }
}

impl Record {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }

    /// Writes the calling thread into the record, unless it is what it holds.
    #[inline]
    pub(crate) fn sign(&self) {
        let own = Own::current();
        if self.0[0].load(Ordering::Relaxed) != own.0[0] {
            self.write(own.0);
        }
    }

    /// Makes this a copy of `other`.
    pub(crate) fn copy(&self, other: &Self) {
        self.write(std::array::from_fn(|index| other.0[index].load(Ordering::Relaxed)));
    }

    fn write(&self, words: [u64; WORDS]) {
        // The token last: whoever is killed before that leaves a record that is nobody's.
        self.0[0].store(0, Ordering::Relaxed);
        for (own, word) in self.0[1..].iter().zip(&words[1..]) {
            own.store(*word, Ordering::Relaxed);
        }
        self.0[0].store(words[0], Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Holder {
        let numbers = self.0[1].load(Ordering::Relaxed);
        Holder {
            process: unpack(&self.0[PROCESS]),
            pid: (numbers >> 32) as u32,
            thread: unpack(&self.0[THREAD]),
            tid: numbers as u32,
        }
    }
}

/// The calling thread.
pub(crate) fn own() -> Holder {
    let record = Record::new();
    record.sign();
    record.read()
}
