//! Descriptors inside values: a handle serialises as its place in the list that goes beside the bytes.
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

/// What the value that is crossing on this thread has, or brings, in descriptors.
enum Crossing {
    Outward(Vec<OwnedFd>, Moves),
    Inward(Vec<Option<OwnedFd>>),
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
    CROSSING.with_borrow_mut(|crossing| match &mut **crossing {
        Some(Crossing::Outward(_, moves)) => {
            if gone.swap(true, Ordering::SeqCst) {
                return Err(S::Error::custom(format!("this {what} was sent already")));
            }
            moves.0.push(Arc::clone(gone));
            Ok(())
        }
        _ => Err(only_while_sent(what)),
    })
}

fn only_while_sent<E: serde::ser::Error>(what: &str) -> E {
    E::custom(format!(
        "a {what} can be serialised only while it is sent to another process: as an argument, a \
         result, or through a pipe"
    ))
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

/// Runs an encoder, and collects the descriptors of the handles that it comes across.
pub(super) fn collect<R>(encode: impl FnOnce() -> R) -> (R, Vec<OwnedFd>, Moves) {
    match during(Crossing::Outward(Vec::new(), Moves::default()), encode) {
        (result, Some(Crossing::Outward(fds, moves))) => (result, fds, moves),
        (result, _) => (result, Vec::new(), Moves::default()),
    }
}

/// Runs a decoder that may take these descriptors; says how many it left.
pub(super) fn provide<R>(fds: Vec<OwnedFd>, decode: impl FnOnce() -> R) -> (R, usize) {
    match during(Crossing::Inward(fds.into_iter().map(Some).collect()), decode) {
        (result, Some(Crossing::Inward(left))) => (result, left.iter().flatten().count()),
        (result, _) => (result, 0),
    }
}

/// Serialises a handle as its descriptor, for `what` (a type's name, for the error).
///
/// The descriptor is duplicated: the handle may be gone before the value is sent.
pub(crate) fn serialize_fd<S: Serializer>(
    fd: BorrowedFd<'_>,
    what: &str,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let index = CROSSING.with_borrow_mut(|crossing| match &mut **crossing {
        Some(Crossing::Outward(fds, _)) => {
            let copy = sys::fd::duplicate(fd).map_err(|error| {
                S::Error::custom(format!("no descriptor for a copy of a {what}: {error}"))
            })?;
            fds.push(copy);
            Ok((fds.len() - 1) as u32)
        }
        _ => Err(only_while_sent(what)),
    })?;
    index.serialize(serializer)
}

/// The descriptor of a handle that was serialised by [`serialize_fd`].
pub(crate) fn deserialize_fd<'de, D: Deserializer<'de>>(
    what: &str,
    deserializer: D,
) -> Result<OwnedFd, D::Error> {
    let index = u32::deserialize(deserializer)? as usize;
    CROSSING.with_borrow_mut(|crossing| match &mut **crossing {
        Some(Crossing::Inward(fds)) => fds
            .get_mut(index)
            .and_then(Option::take)
            .ok_or_else(|| D::Error::custom(format!("the descriptor of a {what} is missing"))),
        _ => Err(D::Error::custom(format!(
            "a {what} can be deserialised only from what another process has sent"
        ))),
    })
}
