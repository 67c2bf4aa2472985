//! Who holds a lock: for the words of errors and of `Debug`.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::kernel::{AtomicU64, Thread};
use crate::sys::{startup, threads};

/// A thread of a process, as it called itself while it held a lock.
///
/// `Display` tells in words who it is. Python has none.
///
/// ```
/// use std::{process, time::Duration};
/// use offspring::sync::{LockTimeoutError, Mutex};
///
/// let mutex = Mutex::new(7)?;
/// let _held = mutex.lock().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(|| match mutex.lock_timeout(Duration::from_millis(10)) {
///         Err(LockTimeoutError::Timeout { holder: Some(holder), .. }) => {
///             assert_eq!(holder.pid(), process::id());
///         }
///         other => panic!("{other:?}"),
///     });
/// });
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The number of its process; 0 if it was killed in the moment in which it took the lock, before
    /// it could write down who it was.
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
        if self.pid == 0 {
            // Killed in the very moment in which it took the lock, before it could say who it is.
            return f.write_str("a process that had just taken it");
        }
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

/// A thread's name in shared memory, behind its *token*, which no other thread has.
///
/// Any thread may write it while another reads it, which may then find two names mixed: it is for
/// people to read.
#[derive(Debug)]
#[repr(C, align(64))]
struct Record([AtomicU64; WORDS]);

/// What the calling thread writes: its token, its numbers, its names.
#[derive(Clone, Copy)]
struct Own([u64; WORDS]);

thread_local! {
    static TOKEN: Cell<u64> = const { Cell::new(0) };
    static OWN: Cell<Own> = const { Cell::new(Own([0; WORDS])) };
}

/// This process's name, if it is somebody's child.
static PROCESS_NAME: RwLock<Option<&'static str>> = RwLock::new(None);

/// Tells the locks what this process is called.
pub(crate) fn name_process(name: &'static str) {
    *PROCESS_NAME.write().unwrap_or_else(PoisonError::into_inner) = Some(name);
    TOKEN.set(0);
}

fn pack(text: &[u8], words: &mut [u64]) {
    for (word, bytes) in words.iter_mut().zip(text.chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(padded);
    }
}

fn unpack(words: &[u64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    // A name that was cut off in the middle of a character ends before it.
    String::from_utf8_lossy(&bytes[..len]).trim_end_matches('\u{fffd}').to_owned()
}

/// The calling thread's token: its number, and something that no other thread of this number has.
#[inline]
pub(crate) fn token() -> u64 {
    let token = TOKEN.get();
    // In a copy of its process, the thread has another number.
    if token as u32 == Thread::current().tid() { token } else { new_token() }
}

#[cold]
fn new_token() -> u64 {
    let tid = Thread::current().tid();
    let pid = std::process::id();
    let now =
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("the monotonic clock");
    let token = (now.tv_nsec() as u64) << 32 | u64::from(tid);
    let mut own = [token, u64::from(pid) << 32 | u64::from(tid), 0, 0, 0, 0, 0, 0];
    let process = *PROCESS_NAME.read().unwrap_or_else(PoisonError::into_inner);
    pack(process.unwrap_or("main").as_bytes(), &mut own[PROCESS]);
    if tid == pid {
        pack(b"main", &mut own[THREAD]);
    } else {
        pack(startup::thread_name().as_bytes(), &mut own[THREAD]);
    }
    OWN.set(Own(own));
    TOKEN.set(token);
    token
}

impl Record {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }

    #[inline]
    fn token(&self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    #[cold]
    fn write(&self, words: [u64; WORDS]) {
        // The token last: whoever is killed before that leaves a record that is nobody's.
        self.0[0].store(0, Ordering::Relaxed);
        for (own, word) in self.0[1..].iter().zip(&words[1..]) {
            own.store(*word, Ordering::Relaxed);
        }
        self.0[0].store(words[0], Ordering::Relaxed);
    }

    fn words(&self) -> [u64; WORDS] {
        std::array::from_fn(|index| self.0[index].load(Ordering::Relaxed))
    }
}

/// The threads that have had a lock of late, and those that have tried, by name, so that each need
/// only say its token.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Names {
    /// Written by who has the lock, so that nobody disturbs another.
    holders: Table,
    /// Written by anybody at any time: a name may be gone when it is looked for.
    comers: Table,
}

impl Names {
    pub(crate) const fn new() -> Self {
        Self { holders: Table::new(), comers: Table::new() }
    }

    /// Sees to it that the calling thread, which has this token, can be found, most likely, if it
    /// dies before it is among the holders. `before` stays.
    #[inline]
    pub(crate) fn sign_in(&self, token: u64, before: u64) {
        if self.holders.first(token).token() != token {
            self.comers.sign(token, before);
        }
    }

    /// Sees to it that the calling thread, which has the lock and this token, is among its holders.
    /// `before` stays.
    #[inline]
    pub(crate) fn sign(&self, token: u64, before: u64) {
        self.holders.sign(token, before);
    }

    /// Who of the holders has this token.
    pub(crate) fn holder(&self, token: u64) -> Name {
        self.holders.find(token).unwrap_or(Name::of_thread(token as u32))
    }

    /// Who has tried with this token, if that can be told.
    pub(crate) fn comer(&self, token: u64) -> Option<Name> {
        self.holders.find(token).or_else(|| self.comers.find(token))
    }
}

/// Names by their tokens; the later ones take the places of earlier ones.
#[derive(Debug)]
#[repr(C)]
struct Table([Record; NAMES]);

const NAMES: usize = 16;

impl Table {
    const fn new() -> Self {
        Self([const { Record::new() }; NAMES])
    }

    /// Where a thread's name is most often.
    #[inline]
    fn first(&self, token: u64) -> &Record {
        &self.0[token as u32 as usize % NAMES]
    }

    /// Where else it may be, which is never the same place. Threads come with numbers in a row: these
    /// places of neighbours are far apart.
    #[inline]
    fn second(&self, token: u64) -> &Record {
        let far = (token as u32).wrapping_mul(0x9e37_79b1) >> 16;
        let beyond = 1 + far as usize % (NAMES - 1);
        &self.0[(token as u32 as usize + beyond) % NAMES]
    }

    #[inline]
    fn sign(&self, token: u64, before: u64) {
        if self.first(token).token() != token {
            self.sign_anew(token, before);
        }
    }

    #[cold]
    fn sign_anew(&self, token: u64, before: u64) {
        let [first, second] = [self.first(token), self.second(token)];
        if second.token() == token {
            return;
        }
        let taken = before != 0 && first.token() == before;
        (if taken { second } else { first }).write(OWN.get().0);
    }

    fn find(&self, token: u64) -> Option<Name> {
        let places = [self.first(token), self.second(token)];
        let found = places.into_iter().map(Record::words).find(|words| words[0] == token);
        found.filter(|_| token != 0).map(Name)
    }
}

/// A thread's name, taken out of the memory that others write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name([u64; WORDS]);

impl Name {
    /// One that was killed before it had written down who it is.
    pub(crate) const UNKNOWN: Self = Self([0; WORDS]);

    /// One of whom no more than its number is known.
    const fn of_thread(tid: u32) -> Self {
        Self([0, tid as u64, 0, 0, 0, 0, 0, 0])
    }

    pub(crate) fn is_known(&self) -> bool {
        self.0[0] != 0
    }

    /// Whether the thread has ended, or is ending; false if that is not to be told.
    pub(crate) fn has_ended(&self) -> bool {
        threads::has_ended((self.0[1] >> 32) as u32, self.0[1] as u32).unwrap_or(false)
    }

    pub(crate) fn to_holder(self) -> Holder {
        let numbers = self.0[1];
        Holder {
            process: unpack(&self.0[PROCESS]),
            pid: (numbers >> 32) as u32,
            thread: unpack(&self.0[THREAD]),
            tid: numbers as u32,
        }
    }
}

/// One name in shared memory, on its own.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Signature(Record);

impl Signature {
    pub(crate) const fn new() -> Self {
        Self(Record::new())
    }

    /// Writes this name.
    pub(crate) fn set(&self, name: Name) {
        self.0.write(name.0);
    }

    pub(crate) fn get(&self) -> Name {
        Name(self.0.words())
    }

    /// Whether it is the calling thread's name.
    pub(crate) fn is_own(&self) -> bool {
        self.0.token() == token()
    }
}

/// The calling thread.
pub(crate) fn own() -> Name {
    token();
    Name(OWN.get().0)
}
