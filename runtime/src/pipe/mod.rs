//! Pipes: typed messages between processes, and between threads.
//!
//! [`pipe()`] and [`duplex()`] make them; [`Sender`], [`Receiver`] and [`Duplex`] are their ends. All five are at
//! the crate's root as well; what can go wrong with each operation, and the iterators, are here.
//!
//! | Python | here |
//! |---|---|
//! | `Pipe(duplex=False)`, `Pipe()` | [`pipe()`], [`duplex()`] |
//! | `send`, `recv` | [`send`](Sender::send), [`recv`](Receiver::recv) |
//! | `poll(timeout)` | [`poll`](Receiver::poll), [`try_recv`](Receiver::try_recv), [`recv_timeout`](Receiver::recv_timeout) |
//! | `send_bytes`, `recv_bytes`, `recv_bytes_into` | the same |
//! | `EOFError`, `BrokenPipeError` | [`RecvError::Disconnected`], [`SendError::Disconnected`] |
//! | `connection.wait` | [`wait`](crate::wait()) |
//!
//! How it works is told in the [repository](https://github.com/offspring-rs/offspring/blob/main/runtime/src/pipe/README.md).

// end: one end, untyped, and how it crosses to another process; sending, receiving: what it does; memory:
// what both ends share: for each direction a ring; bell: what makes the socket readable while there is
// something in the ring; sender, receiver, duplex: the typed faces of an end; iter: values one after the
// other; errors: what each operation gives back.
use std::io;

mod bell;
mod duplex;
mod end;
mod errors;
mod iter;
mod memory;
mod receiver;
mod receiving;
mod sender;
mod sending;
#[cfg(test)]
mod tests;

pub use duplex::Duplex;
pub use errors::{
    RecvError, RecvIntoError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};
pub use iter::{IntoIter, Iter, Results, TryIter};
pub use receiver::Receiver;
pub use sender::Sender;

use crate::error::{Error, Result};
use end::{End, Face};

/// A one-way pipe for messages of type `T`. Python's `Pipe(duplex=False)`, the other way round:
/// the sender is first, as in `std::sync::mpsc`.
///
/// Both ends can be cloned, used by many threads, and sent to other processes. Each message
/// arrives whole, once, at one of the receivers, and those of one sender in their order. Up to a MiB of
/// messages fits into a pipe; of messages with handles in them and of those of more than 64 KiB, which
/// go through a socket, fewer than 300. Then [`send`](Sender::send) waits for a receiver, until half of
/// the room is free again.
///
/// # Cost
/// Messages go through shared memory, and no system call is made while both sides are awake. An end has
/// two descriptors in each process, and memory only when it is used: a page for the first few messages.
/// Whoever borrows a sender's descriptor ([`AsFd`](std::os::fd::AsFd)) has that process's messages go
/// through the socket from then on, which is slower; whoever borrows a receiver's costs it a system call
/// for each time that the pipe becomes empty.
///
/// # When a process dies
/// What it has sent is there to be received; of what it was just sending, nothing is. When the
/// last sender is gone, wherever it was, receivers get what is left and then
/// [`Disconnected`](RecvError::Disconnected). A receiver that is killed costs at most the message that it
/// had just taken. When the last receiver is gone, senders get
/// [`Disconnected`](SendError::Disconnected) and their value back: at their next `send`, or within a tenth of
/// a second while they wait for room.
///
/// # Errors
/// [`Error::Os`] if the system has no descriptors left.
///
/// ```
/// use offspring::{Sender, process};
///
/// #[process]
/// fn count(numbers: Sender<u64>) {
///     (0..1000).for_each(|n| numbers.send(n).unwrap());
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (tx, rx) = offspring::pipe()?;
/// count(tx).spawn()?;
/// assert_eq!(rx.iter().sum::<u64>(), 499_500); // ends when every sender is gone
/// # Ok(())
/// # }
/// ```
pub fn pipe<T>() -> Result<(Sender<T>, Receiver<T>)> {
    let (a, b) = ends([Face::Sender, Face::Receiver])?;
    Ok((Sender::new(a), Receiver::new(b)))
}

/// A two-way pipe: what one end sends, the other receives. Python's `Pipe()`.
///
/// Each end holds until it is dropped everywhere, and otherwise all is as with [`pipe`].
///
/// # Errors
/// [`Error::Os`] if the system has no descriptors left.
///
/// ```
/// use offspring::{Duplex, process};
///
/// #[process]
/// fn double(numbers: Duplex<u64, u32>) {
///     while let Ok(number) = numbers.recv() {
///         numbers.send(u64::from(number) * 2).unwrap();
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (here, there) = offspring::duplex()?;
/// let child = double(there).spawn()?;
/// here.send(21)?;
/// assert_eq!(here.recv()?, 42);
/// drop(here); // the child's `recv` fails, and it ends
/// child.join()?;
/// # Ok(())
/// # }
/// ```
pub fn duplex<A, B>() -> Result<(Duplex<A, B>, Duplex<B, A>)> {
    let (a, b) = ends([Face::Duplex, Face::Duplex])?;
    Ok((Duplex::new(a), Duplex::new(b)))
}

fn ends(faces: [Face; 2]) -> Result<(End, End)> {
    End::pair(faces).map_err(|error| Error::os("make a pipe", io::Error::from(error)))
}
