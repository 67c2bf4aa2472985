//! The pool: workers that wait for tasks.
//!
//! - [`pool`], [`builder`], [`job`], [`map`], [`lazy`], [`error`], [`stats`], [`timeline`]: the face
//! - [`feed`]: tasks on their way in
//! - [`mod@core`]: what all handles share: waiting, and the thread that looks after the workers
//! - [`dispatch`]: which tasks there are, who has them, what becomes of them, and of those that are not done;
//!   [`batch`]: those of one call
//! - [`crew`]: the workers, as the parent knows them; [`worker`]: a worker's own side
//! - [`board`], [`desk`], [`arena`], [`reply`]: what both sides see

mod arena;
mod batch;
mod board;
mod builder;
mod core;
mod crew;
mod desk;
mod dispatch;
mod error;
mod feed;
mod job;
mod lazy;
mod map;
#[allow(clippy::module_inception)]
mod pool;
mod reply;
mod stats;
mod timeline;
mod worker;

pub use builder::PoolBuilder;
pub use error::{PoolError, Task, TaskError, TaskPanic, WorkerDeath};
pub use job::{AsCompleted, Job, as_completed, wait_any};
pub use lazy::{Imap, ImapUnordered};
pub use map::{MapJob, Mapper};
pub use pool::Pool;
pub use stats::{PoolStats, SlowTask, WorkerStats};
pub use worker::is_overdue;

/// The most bytes of a chunk in the arena; a task of more than half of that travels beside it.
const CHUNK_MAX: usize = 1 << 20;
/// How many bytes of tasks go into one chunk.
const ROOM: usize = 64 << 10;
