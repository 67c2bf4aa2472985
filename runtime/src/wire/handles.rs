//! Handles inside values: a handle serialises as its place in a list that goes beside the value.
//!
//! What the list says about a handle (what it is, its descriptors, its numbers) never passes through
//! a user's `Serialize` or `Deserialize`, so none can make another handle of it.
//!
//! The list exists only while a value crosses our own wire, on the thread that encodes or decodes
//! it. Anywhere else (into JSON, into a file) a handle has no meaning, and serialising it says so.

use std::cell::RefCell;
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

/// What the value that is crossing on this thread has, or brings, in handles.
enum Crossing {
    Outward(Vec<Handle>, Moves),
    Inward(Vec<Option<Handle>>),
}

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
    pub(crate) fn sent(mut self) {
        self.0.clear();
    }
}

impl Drop for Moves {
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
    let moved = CROSSING.with_borrow_mut(|crossing| match &mut **crossing {
        Some(Crossing::Outward(_, moves)) => {
            if gone.swap(true, Ordering::SeqCst) {
                return Err(format!("this {what} was sent already"));
            }
            moves.0.push(Arc::clone(gone));
            Ok(())
        }
        _ => Err(only_while_sent(what)),
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

thread_local! {
    /// The innermost crossing. A `Serialize` that itself sends something nests one in another.
    ///
    /// Without a destructor, so that it is there in exit handlers: after a crossing it is `None`.
    static CROSSING: RefCell<ManuallyDrop<Option<Crossing>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// Sets the crossing for as long as `body` runs, and gives back what became of it.
fn during<R>(crossing: Crossing, body: impl FnOnce() -> R) -> (R, Option<Crossing>) {
    /// Puts the outer crossing back, even when a user's `Serialize` panics.
    struct Restore(Option<Crossing>);
    impl Drop for Restore {
        fn drop(&mut self) {
            drop(ManuallyDrop::into_inner(CROSSING.replace(ManuallyDrop::new(self.0.take()))));
        }
    }
    let outer = CROSSING.replace(ManuallyDrop::new(Some(crossing)));
    let _restore = Restore(ManuallyDrop::into_inner(outer));
    let result = body();
    (result, CROSSING.with_borrow_mut(|crossing| crossing.take()))
}

/// Runs an encoder, and appends the list of the handles that it comes across. Gives their
/// descriptors, and those that move.
pub(super) fn collect<E>(
    bytes: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(Vec<OwnedFd>, Moves), E> {
    match during(Crossing::Outward(Vec::new(), Moves::default()), || encode(bytes)) {
        (result, Some(Crossing::Outward(handles, moves))) => {
            result.map(|()| (list(handles, bytes), moves))
        }
        (result, _) => result.map(|()| (Vec::new(), Moves::default())),
    }
}

/// The bytes that came are no value with a list of its handles.
pub(super) struct NoList;

/// Runs a decoder that may take the handles that are listed behind the value; says how many it left.
pub(super) fn provide<R>(
    bytes: &[u8],
    fds: Vec<OwnedFd>,
    decode: impl FnOnce(&[u8]) -> R,
) -> Result<(R, usize), NoList> {
    let (bytes, handles) = unlist(bytes, fds).ok_or(NoList)?;
    let crossing = Crossing::Inward(handles.into_iter().map(Some).collect());
    Ok(match during(crossing, || decode(bytes)) {
        (result, Some(Crossing::Inward(left))) => (result, left.iter().flatten().count()),
        (result, _) => (result, 0),
    })
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
    let place = CROSSING.with_borrow_mut(|crossing| match &mut **crossing {
        Some(Crossing::Outward(handles, _)) => {
            let fds = fds.into_iter().map(sys::fd::duplicate).collect::<Result<_, _>>();
            let fds =
                fds.map_err(|error| format!("no descriptor for a copy of a {what}: {error}"))?;
            handles.push(Handle { what: number_of(what), fds, numbers });
            Ok((handles.len() - 1) as u32)
        }
        _ => Err(only_while_sent(what)),
    });
    place.map_err(S::Error::custom)?.serialize(serializer)
}

/// The handle of the type `what` that was serialised by [`serialize_handle`]. It has a descriptor at
/// least.
pub(crate) fn deserialize_handle<'de, D: Deserializer<'de>>(
    what: &str,
    deserializer: D,
) -> Result<Handle, D::Error> {
    let place = u32::deserialize(deserializer)? as usize;
    let handle = CROSSING.with_borrow_mut(|crossing| match &mut **crossing {
        Some(Crossing::Inward(handles)) => {
            let handle = handles.get_mut(place).ok_or_else(|| format!("a {what} is missing"))?;
            match handle.take_if(|handle| handle.what == number_of(what)) {
                Some(handle) => Ok(handle),
                None if handle.is_some() => {
                    Err(format!("another handle came in place of a {what}"))
                }
                None => Err(format!("one handle came for two {what}s")),
            }
        }
        _ => Err(format!("a {what} can be deserialised only from what another process has sent")),
    });
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
