//! The pool: workers that wait for tasks.
//!
//! [`Pool`], its [`PoolBuilder`], [`Job`], [`TaskError`], [`as_completed`], [`wait_any`] and [`wait_any_timeout`]
//! are at the crate's root as well; the other kinds of maps, what errors hold, and what a pool tells of itself, are here.
//!
//! | Python | here |
//! |---|---|
//! | `Pool(n)`, `ProcessPoolExecutor(n)` | [`Pool::new`], [`Pool::builder`] |
//! | `apply`, `apply_async`, `submit` | [`apply`](Pool::apply), [`submit`](Pool::submit) |
//! | `map`, `starmap`, `map_async` | [`map`](Pool::map), [`map_async`](Pool::map_async); [`map_settled`](Pool::map_settled) for all outcomes |
//! | `imap`, `imap_unordered` | [`imap`](Pool::imap), [`imap_unordered`](Pool::imap_unordered) |
//! | `chunksize`, `buffersize` | [`Mapper::chunk_size`], [`Mapper::window`] |
//! | `AsyncResult`, `Future` | [`Job`], [`MapJob`] |
//! | `as_completed`, `wait(.., FIRST_COMPLETED)` | [`as_completed`], [`wait_any`], [`wait_any_timeout`] |
//! | `close`, `terminate`, `join` | [`close`](Pool::close), [`terminate`](Pool::terminate), [`join`](Pool::join) |
//!
//! How it works is told in the [repository](https://github.com/offspring-rs/offspring/blob/main/runtime/src/pool/README.md).

// The face: pool, builder, job, completed, map, map_job, lazy, error, stats, timeline; handle: what both
// kinds of jobs have in common. feed: tasks on their way in. core: what all handles share: waiting, and the
// thread that looks after the workers. dispatch: which tasks there are, who has them, what becomes of them;
// batch: those of one call. crew: the workers, as the parent knows them; worker: a worker's own side.
// board, desk, arena, reply: what both sides see.
mod arena;
mod batch;
mod board;
mod builder;
mod completed;
mod core;
mod crew;
mod desk;
mod dispatch;
mod error;
mod feed;
mod handle;
mod job;
mod lazy;
mod map;
mod map_job;
#[allow(clippy::module_inception)]
mod pool;
mod reply;
mod stats;
#[cfg(test)]
mod tests;
mod timeline;
mod worker;

pub use builder::PoolBuilder;
pub use completed::{AsCompleted, as_completed, wait_any, wait_any_timeout};
pub use error::{Overrun, PoolError, Task, TaskError, TaskPanic, WorkerDeath};
pub use job::Job;
pub use lazy::{Imap, ImapUnordered};
pub use map::Mapper;
pub use map_job::MapJob;
pub use pool::Pool;
pub use stats::{PoolStats, SlowTask, WorkerStats};
pub use worker::is_overdue;

/// The most bytes of a chunk in the arena; a task of more than half of that travels beside it.
const CHUNK_MAX: usize = 1 << 20;
/// How many bytes of tasks go into one chunk.
const ROOM: usize = 64 << 10;
