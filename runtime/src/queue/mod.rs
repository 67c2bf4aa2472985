//! The queue, and what can go wrong with it.
//!
//! [`Queue`] is at the crate's root as well; what can go wrong with each operation, and the iterators, are
//! here.
//!
//! | Python | here |
//! |---|---|
//! | `Queue(maxsize)`, `Queue()` | [`Queue::bounded`], [`Queue::unbounded`] |
//! | `JoinableQueue`, `SimpleQueue` | the same [`Queue`] |
//! | `put`, `put_nowait`, `put(timeout=..)` | [`put`](Queue::put), [`try_put`](Queue::try_put), [`put_timeout`](Queue::put_timeout) |
//! | `get`, `get_nowait`, `get(timeout=..)` | [`get`](Queue::get), [`try_get`](Queue::try_get), [`get_timeout`](Queue::get_timeout) |
//! | `qsize`, `empty`, `full` | [`len`](Queue::len), [`is_empty`](Queue::is_empty), [`is_full`](Queue::is_full); exact, at that moment |
//! | `task_done`, `join` | [`task_done`](Queue::task_done), [`join`](Queue::join) |
//! | `close`, `join_thread`, `cancel_join_thread` | not needed: what was put is in the queue, and no thread sends it |
//! | `queue.Full`, `queue.Empty` | [`TryPutError::Full`], [`TryGetError::Empty`], and `Timeout` of the timed forms |
//! | `iter(queue.get, None)` | [`iter`](Queue::iter), [`results`](Queue::results), [`try_iter`](Queue::try_iter) |
//! | – | [`close`](Queue::close) for all, batches, `Disconnected` when nobody is left |
//!
//! How it works is told in the [repository](https://github.com/offspring-rs/offspring/blob/main/runtime/src/queue/README.md).

// handle: `Queue`, typed; batch: many items at once; iter: items one after the other; errors: what each
// operation gives back; core: putting, getting, waking, and
// what goes beside the ring; waiting: sleeping until there is something, or nobody is left; state: what is
// in shared memory, beside the records (`crate::ring`); presence: whether anybody else has the queue.
mod batch;
mod core;
mod errors;
mod handle;
mod iter;
mod presence;
mod state;
#[cfg(test)]
mod tests;
mod waiting;

pub use batch::{GetManyError, PutManyError};
pub use errors::{
    GetError, GetTimeoutError, PutError, PutTimeoutError, QueueJoinError, TooManyDone, TryGetError,
    TryPutError,
};
pub use handle::Queue;
pub use iter::{IntoIter, Iter, Results, TryIter};

pub(crate) use waiting::LOOK_AGAIN;
