//! Handles inside values: a handle serialises as its place in a list that goes beside the value.
//!
//! What the list says about a handle (what it is, its descriptors, its numbers) never passes through
//! a user's `Serialize` or `Deserialize`, so none can make another handle of it.
//!
//! The list exists only while a value crosses our own wire, on the thread that encodes or decodes
//! it. Anywhere else (into JSON, into a file) a handle has no meaning, and serialising it says so.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sys;

/// A handle on its way: what only the library's own code sees of it.
#[derive(Debug)]
pub(crate) struct Handle {
    /// Which type's it is.
    what: u64,
    /// One or more.
    pub(crate) fds: Vec<OwnedFd>,
    /// What else there is to say.
    pub(crate) numbers: [u64; 2],
}

/// One handle in the list behind a value: what it is, how many descriptors, its numbers.
const RECORD: usize = 4 * 8;

/// The name of a type as a number (FNV-1a).
const fn number_of(what: &str) -> u64 {
    let bytes = what.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// Appends the list of handles to the bytes of their value, if there are any; gives all their
/// descriptors.
fn list(handles: Vec<Handle>, bytes: &mut Vec<u8>) -> Vec<OwnedFd> {
    if handles.is_empty() {
        return Vec::new();
    }
    for Handle { what, fds, numbers: [first, second] } in &handles {
        for number in [*what, fds.len() as u64, *first, *second] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    bytes.extend_from_slice(&(handles.len() as u64).to_le_bytes());
    handles.into_iter().flat_map(|handle| handle.fds).collect()
}

/// What [`list`] has appended, as handles again, and the bytes before it; `None` if it is no list of
/// these descriptors.
fn unlist(bytes: &[u8], fds: Vec<OwnedFd>) -> Option<(&[u8], Vec<Handle>)> {
    if fds.is_empty() {
        return Some((bytes, Vec::new()));
    }
    let (bytes, count) = bytes.split_last_chunk()?;
    let count = usize::try_from(u64::from_le_bytes(*count)).ok()?;
    let start = bytes.len().checked_sub(count.checked_mul(RECORD)?)?;
    let (bytes, records) = bytes.split_at(start);
    let mut fds = fds.into_iter();
    let mut handles = Vec::with_capacity(count);
    for record in records.chunks_exact(RECORD) {
        let mut numbers = record
            .chunks_exact(8)
            .map(|number| u64::from_le_bytes(number.try_into().expect("eight bytes")));
        let mut number = || numbers.next().expect("four numbers");
        let (what, own, numbers) = (number(), number(), [number(), number()]);
        let own = usize::try_from(own).ok().filter(|own| (1..=fds.len()).contains(own))?;
        handles.push(Handle { what, fds: fds.by_ref().take(own).collect(), numbers });
    }
    fds.next().is_none().then_some((bytes, handles))
}

/// The handles that can be in one process only and are in a message, until it has been sent.
///
/// Dropped before [`sent`](Self::sent) was called, it lets the sender have them back.
#[derive(Debug, Default)]
pub(crate) struct Moves(Vec<Arc<AtomicBool>>);

impl Moves {
    /// The message is on its way: they are somebody else's from now on.
    #[inline]
    pub(crate) fn sent(mut self) {
        if !self.0.is_empty() {
            self.0.clear();
        }
    }
}

impl Drop for Moves {
    #[inline]
    fn drop(&mut self) {
        self.0.iter().for_each(|gone| gone.store(false, Ordering::SeqCst));
    }
}

/// Puts a handle that can be in one process only into the message; `gone` then says that it is not
/// here any more. An error if it says so already, or nothing is being sent.
pub(crate) fn serialize_move<S: Serializer>(
    gone: &Arc<AtomicBool>,
    what: &str,
) -> Result<(), S::Error> {
    let moved = match CROSSING.get() {
        crossing if crossing.way != Way::Outward => Err(only_while_sent(what)),
        _ if gone.swap(true, Ordering::SeqCst) => Err(format!("this {what} was sent already")),
        crossing => {
            UNDER_WAY.with_borrow_mut(|lists| lists.moves.push(Arc::clone(gone)));
            CROSSING.set(Crossing { moves: crossing.moves + 1, ..crossing });
            Ok(())
        }
    };
    // Here, as an error of a user's serialiser runs a user's code.
    moved.map_err(S::Error::custom)
}

fn only_while_sent(what: &str) -> String {
    format!(
        "a {what} can be serialised only while it is sent to another process: as an argument, a \
         result, through a pipe or a queue"
    )
}

/// Which way the value goes that is crossing on this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    None,
    Outward,
    Inward,
}

/// What is crossing. Most values have no handles: they are done with this alone, and touch no list.
#[derive(Debug, Clone, Copy)]
struct Crossing {
    way: Way,
    /// Which of the handles that are under way are its own: the last ones, from one to the other.
    first: u32,
    end: u32,
    /// How many that move are under way, its own and those of the crossings around it.
    moves: u32,
}

/// The handles of all crossings on this thread, one in the other, from the outermost to the innermost.
#[derive(Debug)]
struct Lists {
    /// `None` is one that was taken by the value that comes in.
    handles: Vec<Option<Handle>>,
    moves: Vec<Arc<AtomicBool>>,
}

thread_local! {
    /// The innermost crossing. A `Serialize` that itself sends something nests one in another.
    static CROSSING: Cell<Crossing> =
        const { Cell::new(Crossing { way: Way::None, first: 0, end: 0, moves: 0 }) };

    /// Without a destructor, so that it is there in exit handlers: after a crossing it has no memory.
    static UNDER_WAY: RefCell<ManuallyDrop<Lists>> =
        const { RefCell::new(ManuallyDrop::new(Lists { handles: Vec::new(), moves: Vec::new() })) };
}

/// A crossing, until it is dropped, be it because a user's `Serialize` panics.
struct Begun {
    outer: Crossing,
}

impl Begun {
    #[inline]
    fn new(way: Way) -> Self {
        let outer = CROSSING.get();
        CROSSING.set(Crossing { way, first: outer.end, end: outer.end, moves: outer.moves });
        Self { outer }
    }

    /// These handles come in with it.
    #[cold]
    fn bring(&self, handles: Vec<Handle>) {
        let crossing = CROSSING.get();
        let end = crossing.end + handles.len() as u32;
        UNDER_WAY.with_borrow_mut(|lists| lists.handles.extend(handles.into_iter().map(Some)));
        CROSSING.set(Crossing { end, ..crossing });
    }

    /// Whether it has handles, or had some.
    #[inline]
    fn has_any(&self) -> bool {
        let (outer, own) = (self.outer, CROSSING.get());
        own.end != outer.end || own.moves != outer.moves
    }

    /// Its handles, and those that move.
    #[cold]
    fn take(&self) -> (Vec<Option<Handle>>, Moves) {
        let outer = self.outer;
        let own = UNDER_WAY.with_borrow_mut(|lists| {
            let handles = lists.handles.split_off(outer.end as usize);
            let moves = lists.moves.split_off(outer.moves as usize);
            if outer.way == Way::None {
                **lists = Lists { handles: Vec::new(), moves: Vec::new() };
            }
            (handles, Moves(moves))
        });
        CROSSING.set(Crossing { end: outer.end, moves: outer.moves, ..CROSSING.get() });
        own
    }
}

impl Drop for Begun {
    #[inline]
    fn drop(&mut self) {
        if self.has_any() {
            drop(self.take());
        }
        CROSSING.set(self.outer);
    }
}

/// Runs an encoder, and appends the list of the handles that it comes across. Gives their
/// descriptors, and those that move.
#[inline]
pub(super) fn collect<E>(
    bytes: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(Vec<OwnedFd>, Moves), E> {
    let crossing = Begun::new(Way::Outward);
    encode(bytes)?;
    if !crossing.has_any() {
        return Ok((Vec::new(), Moves::default()));
    }
    let (handles, moves) = crossing.take();
    Ok((list(handles.into_iter().flatten().collect(), bytes), moves))
}

/// The bytes that came are no value with a list of its handles.
pub(super) struct NoList;

/// Runs a decoder that may take the handles that are listed behind the value; says how many it left.
#[inline]
pub(super) fn provide<R>(
    bytes: &[u8],
    fds: Vec<OwnedFd>,
    decode: impl FnOnce(&[u8]) -> R,
) -> Result<(R, usize), NoList> {
    let crossing = Begun::new(Way::Inward);
    if fds.is_empty() {
        return Ok((decode(bytes), 0));
    }
    let (bytes, handles) = unlist(bytes, fds).ok_or(NoList)?;
    crossing.bring(handles);
    let result = decode(bytes);
    let (left, _) = crossing.take();
    Ok((result, left.iter().flatten().count()))
}

/// Serialises a handle of the type `what`, which has these descriptors, one or more, and numbers.
///
/// The descriptors are duplicated: the handle may be gone before the value is sent.
pub(crate) fn serialize_handle<'a, S: Serializer>(
    what: &str,
    fds: impl IntoIterator<Item = BorrowedFd<'a>>,
    numbers: [u64; 2],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let crossing = CROSSING.get();
    if crossing.way != Way::Outward {
        return Err(S::Error::custom(only_while_sent(what)));
    }
    let fds = fds.into_iter().map(sys::fd::duplicate).collect::<Result<_, _>>();
    let fds = fds.map_err(|error| {
        S::Error::custom(format!("no descriptor for a copy of a {what}: {error}"))
    })?;
    let handle = Handle { what: number_of(what), fds, numbers };
    UNDER_WAY.with_borrow_mut(|lists| lists.handles.push(Some(handle)));
    CROSSING.set(Crossing { end: crossing.end + 1, ..crossing });
    (crossing.end - crossing.first).serialize(serializer)
}

/// The handle of the type `what` that was serialised by [`serialize_handle`]. It has a descriptor at
/// least.
pub(crate) fn deserialize_handle<'de, D: Deserializer<'de>>(
    what: &str,
    deserializer: D,
) -> Result<Handle, D::Error> {
    let place = u32::deserialize(deserializer)? as usize;
    let crossing = CROSSING.get();
    let handle = match crossing.way {
        Way::Inward => UNDER_WAY.with_borrow_mut(|lists| {
            let own = &mut lists.handles[crossing.first as usize..crossing.end as usize];
            let handle = own.get_mut(place).ok_or_else(|| format!("a {what} is missing"))?;
            match handle.take_if(|handle| handle.what == number_of(what)) {
                Some(handle) => Ok(handle),
                None if handle.is_some() => {
                    Err(format!("another handle came in place of a {what}"))
                }
                None => Err(format!("one handle came for two {what}s")),
            }
        }),
        _ => Err(format!("a {what} can be deserialised only from what another process has sent")),
    };
    handle.map_err(D::Error::custom)
}

/// As [`serialize_handle`], for a handle that is nothing but a descriptor.
pub(crate) fn serialize_fd<S: Serializer>(
    fd: BorrowedFd<'_>,
    what: &str,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serialize_handle(what, [fd], [0; 2], serializer)
}

/// As [`deserialize_handle`], for one that was serialised by [`serialize_fd`].
pub(crate) fn deserialize_fd<'de, D: Deserializer<'de>>(
    what: &str,
    deserializer: D,
) -> Result<OwnedFd, D::Error> {
    let mut handle = deserialize_handle(what, deserializer)?;
    Ok(handle.fds.swap_remove(0))
}
