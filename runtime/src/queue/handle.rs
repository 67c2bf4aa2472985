//! The typed face of a queue.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::core::{Core, GetProblem};
use super::errors::{
    GetError, GetTimeoutError, Problem, PutError, PutTimeoutError, QueueJoinError, TooManyDone,
    TryGetError, TryPutError,
};
use crate::error::{Error, Result};
use crate::sys::poll::Wait;
use crate::wire::{self, Scratch};

const NAME: &str = "Queue";
/// The most items that a queue can be bounded to.
const MAX_CAPACITY: usize = 1 << 31;

/// A queue in shared memory: any number of processes and threads put items into it, and any number get
/// them out. Python's `Queue`, `JoinableQueue` and `SimpleQueue`.
///
/// An item is in the queue when [`put`](Self::put) returns, and stays there whatever becomes of the
/// process that has put it. Each item is got once. Those of one producer are got in the order in which
/// it has put them. What crosses in a pipe can be put: also ends of pipes, locks, files, other queues.
///
/// This is a handle: a clone is another handle to the same queue, and so is what arrives when a handle
/// is sent to another process. A handle can be moved to another thread, but not be shared by two: clone
/// it for each. So the queue knows when the last other handle is gone, and tells who waits in vain.
/// (In Python, a process waits for ever then.)
///
/// # When a process dies
/// A producer that is killed costs at most the item that it was just putting, of which nothing is ever
/// seen; a consumer at most the one that it had just taken (with the batches, as many as these hold). All
/// others carry on, and another is woken for what the killed one was woken for. (If that other was just
/// about to fall asleep in the same few instructions, it notices within half a second.)
/// When all others are gone, or wait in vain as well (without a timeout, and with all handles that their
/// processes have), who waits is told so within half a second:
/// [`Disconnected`](GetError::Disconnected). A queue that lies in itself is never left.
///
/// # Memory
/// What is in the queue takes as much memory as it takes encoded, in a file without a name, which grows
/// as it is needed, also if the queue is bounded: that counts items, not bytes. What is more than 4 MiB
/// is given back when the queue is empty. A queue has seven descriptors in each process. A single item of more
/// than a MiB is in a file of its own, and does not hold up others while it is copied. Items with
/// handles in them go through a socket: if some 270 of them are in a queue, or as many descriptors as
/// one process may have open, [`put`](Self::put) waits, or says so.
///
/// ```
/// use offspring::{Queue, process};
///
/// #[process]
/// fn produce(queue: Queue<u64>, from: u64) {
///     for number in from..from + 100 {
///         queue.put(number).unwrap();
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = Queue::bounded(10)?;
/// produce(queue.clone(), 0).spawn()?;
/// produce(queue.clone(), 100).spawn()?;
/// let sum: u64 = queue.iter().sum(); // ends when both producers have
/// assert_eq!(sum, (0..200).sum());
/// # Ok(())
/// # }
/// ```
pub struct Queue<T> {
    pub(super) core: Arc<Core>,
    /// Not shared by threads: how many handles there are says how many can use it.
    of_one_thread: PhantomData<Cell<()>>,
    items: PhantomData<fn(T) -> T>,
}

// What a panic interrupts has put its item, or has not.
impl<T> UnwindSafe for Queue<T> {}
impl<T> RefUnwindSafe for Queue<T> {}

impl<T> Queue<T> {
    /// A queue that takes up to `capacity` items; then [`put`](Self::put) waits until one is got.
    /// Python's `Queue(maxsize)`.
    ///
    /// # Errors
    /// [`Error::Os`] if there are no descriptors left, [`Error::SharedMemory`] if there is no memory,
    /// [`Error::TooLarge`] for more than 2³¹ items.
    ///
    /// # Panics
    /// If `capacity` is 0: nothing could ever be put.
    #[track_caller]
    pub fn bounded(capacity: usize) -> Result<Self> {
        assert!(capacity > 0, "a queue for 0 items takes none");
        if capacity > MAX_CAPACITY {
            let what = "items of a bounded queue";
            return Err(Error::TooLarge { what: what.into(), len: capacity, max: MAX_CAPACITY });
        }
        Core::create(Some(capacity as u32), Location::caller()).map(Self::of)
    }

    /// A queue that takes as many items as there is memory for. Python's `Queue()`.
    ///
    /// # Errors
    /// As [`bounded`](Self::bounded).
    ///
    /// ```
    /// use offspring::{Queue, process};
    ///
    /// #[process]
    /// fn put_much(queue: Queue<Vec<u8>>) {
    ///     for _ in 0..100 {
    ///         queue.put(vec![7; 100_000]).unwrap(); // ten megabytes, and nobody gets any
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let queue = Queue::unbounded()?;
    /// put_much(queue.clone()).spawn()?.join()?; // it ends all the same
    /// assert_eq!(queue.len(), 100);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn unbounded() -> Result<Self> {
        Core::create(None, Location::caller()).map(Self::of)
    }

    fn of(core: Arc<Core>) -> Self {
        Self { core, of_one_thread: PhantomData, items: PhantomData }
    }

    /// How many items are in it now. Python's `qsize`.
    pub fn len(&self) -> usize {
        self.core.state().count() as usize
    }

    /// Whether nothing is in it now. Python's `empty`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is bounded, and has as many items as it takes. Python's `full`.
    pub fn is_full(&self) -> bool {
        self.core.state().is_full()
    }

    /// How many items it takes; `None` if it is not bounded. Python's `maxsize`.
    pub fn capacity(&self) -> Option<usize> {
        self.core.state().capacity().map(|capacity| capacity as usize)
    }

    /// Whether the other is a handle to the same queue.
    ///
    /// ```
    /// use offspring::Queue;
    ///
    /// let queue = Queue::<u32>::unbounded()?;
    /// assert!(queue.same_queue(&queue.clone()));
    /// assert!(!queue.same_queue(&Queue::unbounded()?));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn same_queue(&self, other: &Self) -> bool {
        self.core.object().id() == other.core.object().id()
    }

    /// Closes it, for all: nothing more can be put, and who gets is told when it has got what is left. It
    /// can be called more than once. Python's `shutdown()`, which its processes' queues lack.
    ///
    /// ```
    /// use offspring::{queue::GetError, queue::PutError, Queue};
    ///
    /// let queue = Queue::unbounded()?;
    /// queue.put("last").unwrap();
    /// queue.close();
    /// assert!(matches!(queue.put("too late"), Err(PutError::Closed("too late"))));
    /// # let queue: Queue<String> = Queue::unbounded()?;
    /// # queue.put("last".to_owned()).unwrap();
    /// # queue.close();
    /// assert_eq!(queue.get().unwrap(), "last");
    /// assert!(matches!(queue.get(), Err(GetError::Closed)));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn close(&self) {
        self.core.close();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.core.state().is_closed()
    }

    /// Says that one more of the items that were got is done: see [`join`](Self::join).
    ///
    /// # Errors
    /// [`TooManyDone`] if all items that were ever put are done already. Python's `ValueError`.
    pub fn task_done(&self) -> Result<(), TooManyDone> {
        if self.core.task_done() { Ok(()) } else { Err(TooManyDone) }
    }

    /// Waits until [`task_done`](Self::task_done) was called for every item that was put. Python's
    /// `JoinableQueue.join`.
    ///
    /// An item whose consumer was killed before it was done is never done: where that may happen, use
    /// [`join_timeout`](Self::join_timeout).
    ///
    /// # Errors
    /// [`QueueJoinError::Disconnected`] if nobody is left who could do them.
    ///
    /// ```
    /// use offspring::{Queue, process};
    ///
    /// #[process]
    /// fn work(tasks: Queue<u32>) {
    ///     for _task in tasks.iter() {
    ///         tasks.task_done().unwrap();
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tasks = Queue::unbounded()?;
    /// let worker = work(tasks.clone()).spawn()?;
    /// for task in 0..10 {
    ///     tasks.put(task)?;
    /// }
    /// tasks.join()?;
    /// assert!(tasks.is_empty());
    /// tasks.close();
    /// worker.join()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn join(&self) -> Result<(), QueueJoinError> {
        self.join_within(Wait::Forever)
    }

    /// As [`join`](Self::join), for at most `timeout`.
    ///
    /// # Errors
    /// As [`join`](Self::join), and [`QueueJoinError::Timeout`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), QueueJoinError> {
        self.join_within(Wait::at_most(timeout))
    }

    fn join_within(&self, wait: Wait) -> Result<(), QueueJoinError> {
        self.core.join(wait).map_err(|problem| match problem {
            GetProblem::TimedOut => QueueJoinError::Timeout,
            _ => QueueJoinError::Disconnected,
        })
    }

    /// Whether [`get`](Self::get) would return at once; if not, the [bell](Self::bell) will be rung.
    pub(crate) fn listen(&self) -> bool {
        self.core.listen()
    }

    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.core.bell()
    }
}

impl<T: Serialize> Queue<T> {
    /// Puts an item into the queue, waiting while it is full. When it returns, the item is there.
    ///
    /// # Errors
    /// The value comes back if the queue is closed, if it is full and nobody is left who could get
    /// something, if the value cannot be encoded, or if there is no memory for it.
    #[inline]
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_within(&value, Wait::Forever).map_err(|problem| PutError::new(value, problem))
    }

    /// Puts an item into the queue if there is room for it now. Python's `put_nowait`.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`TryPutError::Full`].
    #[inline]
    pub fn try_put(&self, value: T) -> Result<(), TryPutError<T>> {
        self.put_within(&value, Wait::Never).map_err(|problem| TryPutError::new(value, problem))
    }

    /// Puts an item into the queue if there is room for it before `timeout` has passed.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`PutTimeoutError::Timeout`].
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
        self.put_within(&value, Wait::at_most(timeout))
            .map_err(|problem| PutTimeoutError::new(value, problem))
    }

    #[inline]
    pub(super) fn put_within(&self, value: &T, wait: Wait) -> Result<(), Problem> {
        let mut scratch = Scratch::new();
        let attached = wire::encode(value, &mut scratch.0).map_err(Problem::Encode)?;
        self.core.put(&scratch.0, attached.fds(), wait).map_err(Problem::Put)?;
        attached.sent();
        Ok(())
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Gets the next item, waiting until there is one.
    ///
    /// # Errors
    /// [`GetError::Closed`] if the queue is closed and nothing is left;
    /// [`GetError::Disconnected`] if nothing is left, and nobody who could put something. If what came
    /// cannot be decoded, that item is gone, and the next may be got.
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        Ok(self.get_within(Wait::Forever)?)
    }

    /// Gets the next item, if there is one now. Python's `get_nowait`.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`TryGetError::Empty`], also if nobody else is left.
    #[inline]
    pub fn try_get(&self) -> Result<T, TryGetError> {
        Ok(self.get_within(Wait::Never)?)
    }

    /// Gets the next item, if one comes before `timeout` has passed.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`GetTimeoutError::Timeout`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError> {
        Ok(self.get_within(Wait::at_most(timeout))?)
    }

    #[inline]
    pub(super) fn get_within(&self, wait: Wait) -> Result<T, GetProblem> {
        self.core.get(wait, wire::decode)?.map_err(GetProblem::Decode)
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.core))
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        self.core.leave();
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .field("made_at", &self.core.place())
            .finish()
    }
}

/// Only on its way to another process.
impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shared = self.core.share().map_err(|error| {
            S::Error::custom(format!("no descriptor for a handle to a queue: {error}"))
        })?;
        wire::serialize_handle(NAME, shared.fds(), [0; 2], serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let handle = wire::deserialize_handle(NAME, deserializer)?;
        Core::adopt(handle.fds).map(Self::of).map_err(D::Error::custom)
    }
}
