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

/// What goes with a value beside its bytes. Most values have nothing, and cost nothing here.
///
/// Dropped before the message was [`sent`](Self::sent), it lets the sender have back the handles that
/// can be in one process only.
#[derive(Debug, Default)]
pub(crate) struct Attached(Option<Box<Parts>>);

#[derive(Debug)]
struct Parts {
    fds: Vec<OwnedFd>,
    /// Says for each of the handles that can be in one process only that it is gone.
    moves: Vec<Arc<AtomicBool>>,
}

impl Attached {
    #[inline]
    pub(crate) fn fds(&self) -> &[OwnedFd] {
        self.0.as_ref().map_or(&[], |parts| &parts.fds)
    }

    pub(crate) fn take_fds(&mut self) -> Vec<OwnedFd> {
        self.0.as_mut().map(|parts| std::mem::take(&mut parts.fds)).unwrap_or_default()
    }

    /// The message is on its way: what moves is somebody else's from now on. Gives the descriptors.
    #[inline]
    pub(crate) fn sent(mut self) -> Vec<OwnedFd> {
        let Some(parts) = &mut self.0 else { return Vec::new() };
        parts.moves.clear();
        self.take_fds()
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.moves.iter().for_each(|gone| gone.store(false, Ordering::SeqCst));
    }
}

/// Puts a handle that can be in one process only into the message; `gone` then says that it is not
/// here any more. An error if it says so already, or nothing is being sent.
pub(crate) fn serialize_move<S: Serializer>(
    gone: &Arc<AtomicBool>,
    what: &str,
) -> Result<(), S::Error> {
    let moved = CROSSING.with(|crossing| {
        if crossing.way.get() != Way::Outward {
            return Err(only_while_sent(what));
        }
        if gone.swap(true, Ordering::SeqCst) {
            return Err(format!("this {what} was sent already"));
        }
        UNDER_WAY.with_borrow_mut(|lists| lists.moves.push(Arc::clone(gone)));
        crossing.moves.set(crossing.moves.get() + 1);
        Ok(())
    });
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
/// (Each part is a cell of its own, as a processor waits when it loads together what was just stored apart.)
#[derive(Debug)]
struct Crossing {
    way: Cell<Way>,
    /// Which of the handles that are under way are its own: the last ones, from one to the other.
    first: Cell<u32>,
    end: Cell<u32>,
    /// How many that move are under way, its own and those of the crossings around it.
    moves: Cell<u32>,
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
    static CROSSING: Crossing = const {
        Crossing {
            way: Cell::new(Way::None),
            first: Cell::new(0),
            end: Cell::new(0),
            moves: Cell::new(0),
        }
    };

    /// Without a destructor, so that it is there in exit handlers: after a crossing it has no memory.
    static UNDER_WAY: RefCell<ManuallyDrop<Lists>> =
        const { RefCell::new(ManuallyDrop::new(Lists { handles: Vec::new(), moves: Vec::new() })) };
}

/// A crossing, until it is dropped, be it because a user's `Serialize` panics. It keeps how it was
/// in the one around it.
struct Begun {
    way: Way,
    first: u32,
    end: u32,
    moves: u32,
}

impl Begun {
    #[inline]
    fn new(way: Way) -> Self {
        CROSSING.with(|crossing| {
            let (end, moves) = (crossing.end.get(), crossing.moves.get());
            Self { way: crossing.way.replace(way), first: crossing.first.replace(end), end, moves }
        })
    }

    /// These handles come in with it.
    #[cold]
    fn bring(&self, handles: Vec<Handle>) {
        CROSSING.with(|crossing| crossing.end.set(crossing.end.get() + handles.len() as u32));
        UNDER_WAY.with_borrow_mut(|lists| lists.handles.extend(handles.into_iter().map(Some)));
    }

    /// Whether it has handles, or had some.
    #[inline]
    fn has_any(&self) -> bool {
        CROSSING.with(|own| own.end.get() != self.end || own.moves.get() != self.moves)
    }

    /// Its handles, and those that move.
    #[cold]
    fn take(&self) -> (Vec<Option<Handle>>, Vec<Arc<AtomicBool>>) {
        let own = UNDER_WAY.with_borrow_mut(|lists| {
            let handles = lists.handles.split_off(self.end as usize);
            let moves = lists.moves.split_off(self.moves as usize);
            if self.way == Way::None {
                **lists = Lists { handles: Vec::new(), moves: Vec::new() };
            }
            (handles, moves)
        });
        CROSSING.with(|crossing| {
            crossing.end.set(self.end);
            crossing.moves.set(self.moves);
        });
        own
    }
}

impl Drop for Begun {
    #[inline]
    fn drop(&mut self) {
        if self.has_any() {
            let (_, moves) = self.take();
            drop(Parts { fds: Vec::new(), moves }); // they stay here
        }
        CROSSING.with(|crossing| {
            crossing.way.set(self.way);
            crossing.first.set(self.first);
        });
    }
}

/// Runs an encoder, and appends the list of the handles that it comes across. Gives what goes with
/// the bytes.
#[inline]
pub(super) fn collect<E>(
    bytes: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Attached, E> {
    let crossing = Begun::new(Way::Outward);
    encode(bytes)?;
    if !crossing.has_any() {
        return Ok(Attached(None));
    }
    let (handles, moves) = crossing.take();
    let fds = list(handles.into_iter().flatten().collect(), bytes);
    Ok(Attached(Some(Box::new(Parts { fds, moves }))))
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

/// Runs decoders of bytes that came without handles.
#[inline]
pub(super) fn provide_none(decode: impl FnOnce()) {
    let _crossing = Begun::new(Way::Inward);
    decode();
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
    if CROSSING.with(|crossing| crossing.way.get()) != Way::Outward {
        return Err(S::Error::custom(only_while_sent(what)));
    }
    let fds = fds.into_iter().map(sys::fd::duplicate).collect::<Result<_, _>>();
    let fds = fds.map_err(|error| {
        S::Error::custom(format!("no descriptor for a copy of a {what}: {error}"))
    })?;
    let handle = Handle { what: number_of(what), fds, numbers };
    UNDER_WAY.with_borrow_mut(|lists| lists.handles.push(Some(handle)));
    let place = CROSSING.with(|crossing| {
        let end = crossing.end.get();
        crossing.end.set(end + 1);
        end - crossing.first.get()
    });
    place.serialize(serializer)
}

/// The handle of the type `what` that was serialised by [`serialize_handle`]. It has a descriptor at
/// least.
pub(crate) fn deserialize_handle<'de, D: Deserializer<'de>>(
    what: &str,
    deserializer: D,
) -> Result<Handle, D::Error> {
    let place = u32::deserialize(deserializer)? as usize;
    let (way, first, end) =
        CROSSING.with(|crossing| (crossing.way.get(), crossing.first.get(), crossing.end.get()));
    let handle = match way {
        Way::Inward => UNDER_WAY.with_borrow_mut(|lists| {
            let own = &mut lists.handles[first as usize..end as usize];
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
