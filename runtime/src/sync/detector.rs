//! Finding cycles of threads that wait for each other's locks.
//!
//! A detector is a table in shared memory. Each thread that uses a lock with this detector has a row
//! in it: which locks it holds, and which one it waits for. Before a thread waits, it writes that
//! down, and follows the table from the lock it wants to who holds it, to what that one waits for,
//! and so on. All who are about to wait do so one after the other, under the table's mutex; so the
//! last one to close a cycle finds all the others in it.
//!
//! A row belongs to its thread as a lock does: the kernel marks it when the thread dies, and it is
//! not looked at any more.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;

use super::errors::{Deadlock, Waiting};
use super::holder::{self, Signature};
use super::kernel::{AtomicU32, AtomicU64, Thread};
use super::lock::Subject;
use super::raw::{Guard, RawMutex};
use super::slots::{Occupancy, Slot};
use crate::error::Result;
use crate::shm::object::{Kind, Object};
use crate::shm::segment::{Id, Segment};

/// How many locks of a thread are remembered.
const HELD: usize = 32;
/// How many rows a table has at first.
const FIRST_ROWS: u32 = 16;

/// A lock, as the table knows it; zeros for none.
#[derive(Debug)]
#[repr(C)]
struct LockId([AtomicU64; 2]);

impl LockId {
    fn get(&self) -> [u64; 2] {
        [self.0[0].load(Ordering::SeqCst), self.0[1].load(Ordering::SeqCst)]
    }

    /// Only the row's owner does this, and others look at the first word first.
    fn set(&self, id: [u64; 2]) {
        self.0[1].store(id[1], Ordering::SeqCst);
        self.0[0].store(id[0], Ordering::SeqCst);
    }
}

const NONE: [u64; 2] = [0, 0];

/// A lock, as who holds it or waits for it means it: alone, or together with other readers. One waits
/// for who holds it alone, unless one is a writer who waits for the readers to leave.
fn meant(lock: &Segment, readers: bool) -> [u64; 2] {
    /// No machine runs that many nanoseconds.
    const READERS: u64 = 1 << 63;
    let [made_at, maker] = lock.id().to_words();
    [if readers { made_at | READERS } else { made_at }, maker]
}

/// A text in shared memory, for people to read.
#[derive(Debug)]
#[repr(C)]
struct Text<const WORDS: usize>([AtomicU64; WORDS]);

impl<const WORDS: usize> Text<WORDS> {
    /// Writes the text; of a long one, its end.
    fn set(&self, text: &str) {
        let bytes = &text.as_bytes()[text.len().saturating_sub(WORDS * 8)..];
        let mut padded = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        });
        for word in &self.0 {
            word.store(padded.next().unwrap_or(0), Ordering::Relaxed);
        }
    }

    fn get(&self) -> String {
        let bytes: Vec<u8> =
            self.0.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }
}

/// What the table knows of one thread.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Row {
    owner: Slot,
    who: Signature,
    held: [LockId; HELD],
    /// Which lock it waits for, in words, and where.
    waits_for: LockId,
    lock: Text<20>,
    at: Text<16>,
}

/// What a detector consists of in shared memory, beside its rows.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    /// Held by whoever is about to wait, and by whoever adds a row.
    mutex: RawMutex,
    rows: AtomicU32,
}

impl Kind for State {
    const NAME: &'static str = "DeadlockDetector";
    type Tail = Row;
    const TAIL_MAX: usize = 4096;

    fn tail_len(&self) -> usize {
        self.rows.load(Ordering::SeqCst) as usize
    }

    fn check() -> Result<()> {
        super::check()
    }

    fn is_owned_here(&self, rows: &[Row]) -> bool {
        rows.iter().any(|row| super::slots::any_owned_here(std::slice::from_ref(&row.owner)))
    }
}

/// Finds cycles of threads that wait for each other's locks, in whatever processes they are.
///
/// Locks that were told of one detector, by [`Mutex::detect_deadlocks`] and its like, are watched
/// together. A thread that would close a cycle by waiting for one of them gets an error instead,
/// which names all who are in the cycle: their processes, what each waits for, and where. The
/// others go on waiting, until that thread gives back what it holds.
///
/// Waits with a timeout are not counted, as they end by themselves. A cycle through something else
/// (a pipe, a join, a semaphore) is not seen, nor is one through the 33rd lock that a thread holds at
/// once, or through the 4,097th thread that uses these locks at once.
///
/// It costs some tens of nanoseconds for each lock that is taken, and some microseconds for each wait.
/// For a discipline that costs nothing and cannot fail, see [`lock_all`](crate::sync::lock_all).
///
/// This is a handle: a clone is another handle to the same detector. A lock takes it along when it is
/// sent to another process. Python has none.
///
/// # When a process dies
/// Its threads are in no cycle any more: what they held is poisoned, and whoever waits for that gets
/// it. A process that is killed while it looks for a cycle holds up nobody.
///
/// [`Mutex::detect_deadlocks`]: crate::sync::Mutex::detect_deadlocks
///
/// ```
/// use std::thread;
/// use offspring::sync::{Barrier, DeadlockDetector, LockError, Mutex};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let detector = DeadlockDetector::new()?;
/// let a = Mutex::new('a' as u32)?.detect_deadlocks(&detector);
/// let b = Mutex::new('b' as u32)?.detect_deadlocks(&detector);
/// let both_hold_one = Barrier::new(2)?;
///
/// let take = |first: &Mutex<u32>, second: &Mutex<u32>| {
///     let _first = first.lock().unwrap();
///     both_hold_one.wait().unwrap();
///     match second.lock() {
///         Err(LockError::Deadlock(deadlock)) => deadlock.members().count(),
///         _ => 0,
///     }
/// };
/// let (one, other) = thread::scope(|scope| {
///     let other = scope.spawn(|| take(&b, &a));
///     (take(&a, &b), other.join().unwrap())
/// });
/// assert_eq!(one + other, 2); // one of them was told, of a cycle of two
/// # Ok(())
/// # }
/// ```
pub struct DeadlockDetector {
    object: Object<State, ()>,
}

thread_local! {
    /// The row that the thread had last: of which detector, and which.
    static LAST: Cell<Option<(Id, usize)>> = const { Cell::new(None) };
}

impl DeadlockDetector {
    /// A detector that knows no lock yet.
    ///
    /// # Errors
    /// As [`Mutex::new`](crate::sync::Mutex::new).
    #[track_caller]
    pub fn new() -> Result<Self> {
        let state = State { mutex: RawMutex::new(), rows: AtomicU32::new(FIRST_ROWS) };
        Ok(Self { object: Object::new(state, (), Location::caller())? })
    }

    fn enter(&self) -> Guard<'_> {
        // SAFETY: the segment stays mapped for as long as a handle lives, which the guard borrows.
        unsafe { self.object.state().mutex.enter() }
    }

    /// The calling thread's row. `None` if there is none to be had, or the thread is ending: then
    /// nothing is detected.
    ///
    /// It has one for as long as it holds or waits for something, and likes to take the same again.
    fn row(&self) -> Option<&Row> {
        let tid = Thread::current().tid();
        let (id, rows) = (self.object.id(), self.object.tail());
        let last = LAST.try_with(|last| last.get()).ok()?;
        if let Some((detector, index)) = last
            && detector == id
            && let Some(row) = rows.get(index)
        {
            match row.owner.occupancy() {
                Occupancy::Taken(owner) if owner == tid => return Some(row),
                // SAFETY: the segment stays mapped for as long as a handle lives, and beyond that
                // if a thread of this process owns a row then.
                Occupancy::Free if row.who.is_own() && unsafe { row.owner.take(false) } => {
                    return Some(row);
                }
                _ => {}
            }
        }
        // It may have two detectors, and so another row last.
        let own = rows.iter().position(|row| row.owner.occupancy() == Occupancy::Taken(tid));
        let index = match own {
            Some(index) => index,
            None => self.new_row()?,
        };
        LAST.set(Some((id, index)));
        Some(&self.object.tail()[index])
    }

    #[cold]
    fn new_row(&self) -> Option<usize> {
        if Thread::current().owns_too_many() {
            return None;
        }
        let _inside = self.enter();
        let index = loop {
            let rows = self.object.tail();
            // SAFETY: as in `row`.
            let free = rows.iter().position(|row| unsafe { row.owner.take(false) });
            if let Some(index) = free {
                break index;
            }
            let rows = rows.len();
            self.object.grow_tail(rows * 2).ok()?;
            self.object.state().rows.store(rows as u32 * 2, Ordering::SeqCst);
        };
        let row = &self.object.tail()[index];
        row.who.set(holder::own());
        row.waits_for.set(NONE);
        row.held.iter().for_each(|held| held.set(NONE));
        Some(index)
    }

    /// The thread is about to wait for the lock, until what this gives is dropped.
    pub(super) fn announce(
        &self,
        lock: Subject<'_>,
        at: &Location<'_>,
        readers: bool,
    ) -> Result<Announced<'_>, Deadlock> {
        let Some(row) = self.row() else { return Ok(Announced(None)) };
        let _inside = self.enter();
        row.lock.set(&lock.describe());
        row.at.set(&at.to_string());
        let wanted = meant(lock.segment, readers);
        row.waits_for.set(wanted);
        let announced = Announced(Some(row));
        let mut path = vec![row];
        if self.leads_back(wanted, &mut path, &mut Vec::new()) {
            let cycle = path.iter().map(|row| Waiting {
                who: row.who.get().to_holder(),
                lock: row.lock.get(),
                at: row.at.get(),
            });
            return Err(Deadlock::new(cycle.collect()));
        }
        Ok(announced)
    }

    /// Whether who waits for `wanted` waits for the first in `path`. Then `path` is the cycle.
    fn leads_back<'a>(
        &'a self,
        wanted: [u64; 2],
        path: &mut Vec<&'a Row>,
        seen: &mut Vec<*const Row>,
    ) -> bool {
        for row in self.object.tail() {
            let alive = matches!(row.owner.occupancy(), Occupancy::Taken(_));
            if !alive || !row.held.iter().any(|held| held.get() == wanted) {
                continue;
            }
            if std::ptr::eq(row, path[0]) {
                return true;
            }
            let next = row.waits_for.get();
            if next == NONE || seen.contains(&std::ptr::from_ref(row)) {
                continue;
            }
            seen.push(row);
            path.push(row);
            if self.leads_back(next, path, seen) {
                return true;
            }
            path.pop();
        }
        false
    }

    /// The thread holds the lock now, perhaps with other readers.
    pub(super) fn acquired(&self, lock: &Segment, reads: bool) {
        if let Some(row) = self.row()
            && let Some(free) = row.held.iter().find(|held| held.get() == NONE)
        {
            free.set(meant(lock, reads));
        }
    }

    /// The thread is about to give the lock back.
    pub(super) fn released(&self, lock: &Segment, read: bool) {
        let id = meant(lock, read);
        if let Some(row) = self.row() {
            if let Some(held) = row.held.iter().find(|held| held.get() == id) {
                held.set(NONE);
            }
            row.give_back_if_unused();
        }
    }
}

impl Row {
    fn give_back_if_unused(&self) {
        if self.waits_for.get() == NONE && self.held.iter().all(|held| held.get() == NONE) {
            self.owner.give_back();
        }
    }
}

/// A thread waits; dropped when it does not any longer.
pub(super) struct Announced<'a>(Option<&'a Row>);

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        if let Some(row) = self.0 {
            row.waits_for.set(NONE);
            row.give_back_if_unused();
        }
    }
}

super::handle!(DeadlockDetector);

impl fmt::Debug for DeadlockDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlockDetector").field("made_at", &self.object.place()).finish()
    }
}
