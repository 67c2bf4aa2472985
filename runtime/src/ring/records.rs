//! The records, one after the other, that producers append and consumers take.
//!
//! Two mutexes, one for each side; who is killed under one of them leaves nothing to be mended, since
//! each operation comes about by the store of one number, a [`Position`], after everything else:
//! the queue's `README.md` goes through the steps.
//!
//! Who takes both mutexes takes that of the producers first, or does not wait for it.

#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::store::{FIRST, Store};
use crate::error::Error;
use crate::sync::raw::{Guard, RawMutex, Taken};
use crate::sys::poll::Wait;

/// How long those that do not wait wait for each other.
const MOMENT: Duration = Duration::from_secs(1);
/// Records begin at multiples of this, in bytes.
const UNIT: usize = 16;
/// A ring of more than this gives memory back when it is empty.
const KEPT: usize = 4 << 20;

/// How far a side of the ring has come, as one number: where, in units, and how many items. Both go
/// round at 2³², which is a multiple of every length of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) at: u32,
    pub(crate) count: u32,
}

impl Position {
    #[inline]
    fn load(word: &AtomicU64) -> Self {
        let word = word.load(Ordering::SeqCst);
        Self { at: (word >> 32) as u32, count: word as u32 }
    }

    #[inline]
    fn store(self, word: &AtomicU64, order: Ordering) {
        word.store(u64::from(self.at) << 32 | u64::from(self.count), order);
    }

    #[inline]
    fn after(self, units: u32, items: u32) -> Self {
        Self { at: self.at.wrapping_add(units), count: self.count.wrapping_add(items) }
    }
}

/// A number on a cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
struct Line(AtomicU64);

/// What the users of one side have to themselves.
#[derive(Debug)]
#[repr(C, align(64))]
struct Side {
    mutex: RawMutex,
    /// How far this side has come: the same as the tail, or the head, unless somebody has died with
    /// the mutex. It is here so that the line with that, which the other side looks at, is only
    /// written to.
    own: AtomicU64,
    /// How far the other side had come when this one last looked. It may be further now.
    other: AtomicU64,
}

impl Side {
    const fn new() -> Self {
        Self { mutex: RawMutex::new(), own: AtomicU64::new(0), other: AtomicU64::new(0) }
    }

    /// How far this side has come, which everybody is told by `line`.
    #[inline]
    fn position(&self, taken: Taken, line: &Line) -> Position {
        if taken == Taken::FromTheDead {
            Position::load(&line.0).store(&self.own, Ordering::Relaxed);
        }
        Position::load(&self.own)
    }

    /// Tells everybody how far this side has come.
    #[inline]
    fn publish(&self, position: Position, line: &Line) {
        position.store(&self.own, Ordering::Relaxed);
        position.store(&line.0, Ordering::SeqCst);
    }
}

/// What a ring consists of in shared memory, beside its records. All zeros are one that is empty, takes
/// any number of records, and has no memory for one yet.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct State {
    put: Side,
    tail: Line,
    get: Side,
    head: Line,
    /// The number of the next record that travels beside the ring.
    next_tag: AtomicU32,
    /// How many records it takes; 0 for any number.
    capacity: u32,
    /// How much of the file may have memory, in bytes. Changed under both mutexes.
    allocated: AtomicU64,
    /// How long the ring is, in units; 0 before there is memory. Changed under both mutexes.
    len: AtomicU32,
}

impl State {
    /// With memory that is there already. `None` for any number of records.
    pub(crate) fn new(capacity: Option<u32>) -> Self {
        Self {
            put: Side::new(),
            tail: Line(AtomicU64::new(0)),
            get: Side::new(),
            head: Line(AtomicU64::new(0)),
            next_tag: AtomicU32::new(0),
            capacity: capacity.unwrap_or(0),
            allocated: AtomicU64::new(FIRST as u64),
            len: AtomicU32::new((FIRST / UNIT) as u32),
        }
    }

    pub(crate) fn capacity(&self) -> Option<u32> {
        (self.capacity > 0).then_some(self.capacity)
    }

    /// How many records are in it.
    pub(crate) fn count(&self) -> u32 {
        let mut head = Position::load(&self.head.0);
        loop {
            // The head first: it never overtakes a tail that is read after it. And again, or all that
            // was put between the two would count.
            let tail = Position::load(&self.tail.0);
            let again = Position::load(&self.head.0);
            if head == again {
                return tail.count.wrapping_sub(head.count);
            }
            head = again;
        }
    }

    /// Whether nothing is in it.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // The head first, as above.
        let head = self.head.0.load(Ordering::SeqCst);
        self.tail.0.load(Ordering::SeqCst) == head
    }

    pub(crate) fn is_full(&self) -> bool {
        self.capacity > 0 && self.count() >= self.capacity
    }

    /// How many records were ever put, going round at 2³².
    pub(crate) fn ever_put(&self) -> u32 {
        Position::load(&self.tail.0).count
    }

    /// How many bytes of its memory have records in them, more or less.
    pub(crate) fn used(&self) -> usize {
        let head = Position::load(&self.head.0);
        Position::load(&self.tail.0).at.wrapping_sub(head.at) as usize * UNIT
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// An item, whose bytes follow.
    Item,
    /// The same, of another kind: plain bytes.
    Bytes,
    /// An item that travels beside the ring, with this number.
    Beside(u16),
}

const ITEM: u32 = 1;
const BESIDE: u32 = 2;
/// Nothing: the record after it would not fit into what is left of a piece.
const FILLER: u32 = 3;
const BYTES: u32 = 4;

/// What comes before the bytes of a record.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Header {
    /// How many bytes follow.
    len: u64,
    kind: u32,
    tag: u32,
}

const _: () = assert!(size_of::<Header>() == UNIT);

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

/// A ring, as one process sees it.
#[derive(Clone, Copy)]
pub(crate) struct Ring<'a> {
    pub(crate) state: &'a State,
    pub(crate) store: &'a Store,
}

/// Why a side was not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotInTime;

/// Why there is no room for a record.
#[derive(Debug)]
pub(crate) enum NoRoom {
    /// The ring would have to have so many bytes, and must not.
    Full(usize),
    /// There is no memory.
    Failed(Error),
}

fn failed(error: io::Error) -> NoRoom {
    NoRoom::Failed(Error::os("map the memory of a ring", error))
}

impl<'a> Ring<'a> {
    /// Takes the mutex of the producers.
    #[inline]
    pub(crate) fn producing(self, wait: Wait) -> Result<Producing<'a>, NotInTime> {
        let State { put, tail, .. } = self.state;
        // SAFETY: the state stays mapped for as long as it is borrowed, and the guard is not leaked.
        let (inside, taken) = unsafe { put.mutex.enter_within(wait) }.ok_or(NotInTime)?;
        Ok(Producing { ring: self, at: put.position(taken, tail), _inside: inside })
    }

    /// Takes the mutex of the consumers.
    #[inline]
    pub(crate) fn consuming(self, wait: Wait) -> Result<Consuming<'a>, NotInTime> {
        let State { get, head, .. } = self.state;
        // SAFETY: as above.
        let (inside, taken) = unsafe { get.mutex.enter_within(wait) }.ok_or(NotInTime)?;
        Ok(Consuming { ring: self, at: get.position(taken, head), _inside: inside })
    }

    /// Takes one of the mutexes: who does not wait waits for a [`MOMENT`], as nobody has it for longer.
    #[inline]
    pub(crate) fn patiently<S>(
        self,
        enter: impl Fn(Self, Wait) -> Result<S, NotInTime>,
        wait: Wait,
    ) -> Result<S, NotInTime> {
        match wait {
            Wait::Never => {
                enter(self, Wait::Never).or_else(|NotInTime| enter(self, Wait::at_most(MOMENT)))
            }
            wait => enter(self, wait),
        }
    }

    /// The place of a record, in bytes.
    #[inline]
    fn offset(self, at: u32) -> usize {
        let len = self.state.len.load(Ordering::Relaxed);
        (at & len.wrapping_sub(1)) as usize * UNIT
    }

    #[inline]
    fn header(self, at: u32) -> io::Result<NonNull<Header>> {
        Ok(self.store.at(self.offset(at), UNIT)?.cast())
    }
}

/// The side of the producers, to oneself.
pub(crate) struct Producing<'a> {
    ring: Ring<'a>,
    /// Up to where it has written; everybody sees what was [published](Self::publish).
    at: Position,
    _inside: Guard<'a>,
}

/// Where a record is to go.
pub(crate) struct Place {
    start: NonNull<u8>,
    /// How long its item is.
    payload: usize,
    /// Up to where the ring is written then.
    after: Position,
}

impl Producing<'_> {
    #[inline]
    fn head(&self, fresh: bool) -> Position {
        let State { put, head, .. } = self.ring.state;
        if !fresh {
            return Position::load(&put.other);
        }
        let head = Position::load(&head.0);
        head.store(&put.other, Ordering::Relaxed);
        head
    }

    /// Whether there are as many items as there may be.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        let capacity = self.ring.state.capacity;
        let full = |head: Position| self.at.count.wrapping_sub(head.count) >= capacity;
        capacity > 0 && full(self.head(false)) && full(self.head(true))
    }

    /// Makes room for a record with so many bytes; writing it cannot fail then.
    ///
    /// # Errors
    /// If the ring is as long as it may be, or there is no memory.
    #[inline]
    pub(crate) fn reserve(&self, payload: usize) -> Result<Place, NoRoom> {
        let filler = self.make_room(payload)?;
        let mut filled = 0;
        while filled < filler {
            filled += self.fill(self.at.at.wrapping_add(filled)).map_err(failed)?;
        }
        let from = self.ring.offset(self.at.at.wrapping_add(filler));
        let start = self.ring.store.at(from, UNIT + payload).map_err(failed)?;
        let after = self.at.after(filler + 1 + units(payload) as u32, 1);
        Ok(Place { start, payload, after })
    }

    /// Makes what is left of a piece a filler; gives its units.
    #[cold]
    fn fill(&self, at: u32) -> io::Result<u32> {
        let from = self.ring.offset(at);
        let left = Store::piece(from).1 - from;
        let header = Header { len: (left - UNIT) as u64, kind: FILLER, tag: 0 };
        // SAFETY: it is within the ring's memory, aligned, and between the tail and the head, so
        // that nobody but who has the producers' mutex reads or writes it.
        unsafe { self.ring.header(at)?.write(header) };
        Ok((left / UNIT) as u32)
    }

    /// Has the ring take a record of so many bytes; gives the units of filler before it.
    #[inline]
    fn make_room(&self, payload: usize) -> Result<u32, NoRoom> {
        loop {
            let len = self.ring.state.len.load(Ordering::Relaxed) as usize;
            let needed = 1 + units(payload);
            // From piece to piece, until one has enough left.
            let mut filler = 0;
            while filler + needed <= len {
                let from = self.ring.offset(self.at.at.wrapping_add(filler as u32));
                let left = (Store::piece(from).1 - from) / UNIT;
                if needed <= left {
                    break;
                }
                filler += left;
            }
            let used = |head: Position| self.at.at.wrapping_sub(head.at) as usize;
            let fits = |head| used(head) + filler + needed <= len;
            if fits(self.head(false)) || fits(self.head(true)) {
                return Ok(filler as u32);
            }
            self.grow(used(self.head(false)) + filler + needed)?;
        }
    }

    /// Writes the record, which nobody sees yet.
    #[inline]
    pub(crate) fn write(&mut self, place: Place, what: What, payload: &[u8]) {
        assert_eq!(payload.len(), place.payload);
        let (kind, tag) = match what {
            What::Item => (ITEM, 0),
            What::Bytes => (BYTES, 0),
            What::Beside(tag) => (BESIDE, u32::from(tag)),
        };
        // SAFETY: so much is mapped there, and between the tail and the head, so that nobody but who
        // has the producers' mutex reads or writes it.
        unsafe {
            place.start.cast().write(Header { len: payload.len() as u64, kind, tag });
            let to = place.start.add(UNIT);
            to.copy_from_nonoverlapping(NonNull::from(payload).cast(), payload.len());
        }
        self.at = place.after;
    }

    /// Has everybody see what was written.
    #[inline]
    pub(crate) fn publish(&self) {
        self.ring.state.put.publish(self.at, &self.ring.state.tail);
    }

    /// A number that no item that travels beside the ring has had for long.
    pub(crate) fn new_tag(&self) -> u16 {
        self.ring.state.next_tag.fetch_add(1, Ordering::SeqCst) as u16
    }

    /// Nothing was sent with the number that was last given.
    pub(crate) fn take_tag_back(&self) {
        self.ring.state.next_tag.fetch_sub(1, Ordering::SeqCst);
    }

    /// Makes the ring so long that so many units fit into it: twice, and twice again. A record keeps its
    /// position, but those in every second round of the ring so far are to be in its new half: they are
    /// copied there, where nobody looks before the ring is said to be longer.
    #[cold]
    fn grow(&self, units: usize) -> Result<(), NoRoom> {
        let Ring { state, store } = self.ring;
        if units * UNIT > store.max() {
            return Err(NoRoom::Full(units * UNIT));
        }
        // No consumer waits for anything while it has its mutex.
        let others = self.ring.consuming(Wait::Forever);
        let others = others.map_err(|NotInTime| failed(io::ErrorKind::Deadlock.into()))?;
        while (state.len.load(Ordering::SeqCst) as usize) < units {
            let len = state.len.load(Ordering::SeqCst);
            let bytes = len as usize * UNIT;
            let longer = if len == 0 { FIRST } else { bytes * 2 };
            if longer > store.max() {
                return Err(NoRoom::Full(longer));
            }
            state.allocated.fetch_max(longer as u64, Ordering::SeqCst);
            store.grow(bytes, longer).map_err(NoRoom::Failed)?;
            let mut at = others.at.at;
            while at != self.at.at {
                let from = self.ring.offset(at);
                let left = self.at.at.wrapping_sub(at) as usize * UNIT;
                let count = left.min(Store::piece(from).1 - from);
                if at & len != 0 {
                    let old = store.at(from, count).map_err(failed)?;
                    let new = store.at(bytes + from, count).map_err(failed)?;
                    // SAFETY: both are mapped; this thread has both mutexes, and so all of the
                    // memory; the old one is in the first half, the new one in the second.
                    unsafe { new.copy_from_nonoverlapping(old, count) };
                }
                at = at.wrapping_add((count / UNIT) as u32);
            }
            state.len.store((longer / UNIT) as u32, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// The side of the consumers, to oneself.
pub(crate) struct Consuming<'a> {
    ring: Ring<'a>,
    /// Up to where it has taken; the room is free that was [published](Self::publish).
    at: Position,
    _inside: Guard<'a>,
}

/// A record that is next to be taken.
pub(crate) struct Record<'a> {
    pub(crate) what: What,
    pub(crate) payload: &'a [u8],
    /// Where the ring goes on after it.
    pub(crate) after: Position,
}

impl<'a> Consuming<'a> {
    /// The record that is next to be taken, if there is one.
    ///
    /// # Errors
    /// `InvalidData` if what is there is no record.
    #[inline]
    pub(crate) fn next(&self) -> io::Result<Option<Record<'_>>> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidData);
        let Ring { state, store } = self.ring;
        let mut head = self.at;
        let mut tail = Position::load(&state.get.other);
        if tail.count == head.count {
            tail = Position::load(&state.tail.0);
            tail.store(&state.get.other, Ordering::Relaxed);
            if tail.count == head.count {
                return Ok(None);
            }
            // Else it would go round and round.
            if tail.at.wrapping_sub(head.at) > state.len.load(Ordering::Relaxed) {
                return Err(wrong());
            }
        }
        loop {
            // SAFETY: it is mapped, and any bytes are a header.
            let Header { len, kind, tag } = unsafe { self.ring.header(head.at)?.read() };
            let len =
                usize::try_from(len).ok().filter(|len| *len <= store.max()).ok_or_else(wrong)?;
            let start = store.at(self.ring.offset(head.at), UNIT + len)?;
            let units = 1 + units(len) as u32;
            if units > tail.at.wrapping_sub(head.at) {
                return Err(wrong()); // it goes beyond what was written
            }
            let what = match kind {
                ITEM => What::Item,
                BYTES => What::Bytes,
                BESIDE => What::Beside(tag as u16),
                FILLER => {
                    head = head.after(units, 0);
                    continue;
                }
                _ => return Err(wrong()),
            };
            // SAFETY: they are mapped, and between the head and the tail, where nobody writes; only
            // who has the consumers' mutex, which this borrows, can move the head.
            let payload = unsafe { slice::from_raw_parts(start.add(UNIT).as_ptr(), len) };
            return Ok(Some(Record { what, payload, after: head.after(units, 1) }));
        }
    }

    /// The records before this are taken.
    #[inline]
    pub(crate) fn take(&mut self, after: Position) {
        self.at = after;
    }

    /// Frees the room of what was taken.
    #[inline]
    pub(crate) fn publish(&self) {
        self.ring.state.get.publish(self.at, &self.ring.state.head);
    }

    /// Gives memory back, if there is much of it, and nothing in it.
    #[inline]
    pub(crate) fn tidy(&self) {
        let len = self.ring.state.len.load(Ordering::Relaxed) as usize * UNIT;
        if len > KEPT && self.ring.state.count() == 0 {
            self.shrink();
        }
    }

    #[cold]
    fn shrink(&self) {
        let Ring { state, store } = self.ring;
        // Who produces just now has use for the memory.
        let Ok(others) = self.ring.producing(Wait::Never) else { return };
        if others.at == self.at {
            state.len.store((KEPT / UNIT) as u32, Ordering::SeqCst);
            store.give_back(KEPT, state.allocated.load(Ordering::SeqCst) as usize);
            state.allocated.store(KEPT as u64, Ordering::SeqCst);
        }
    }
}
