//! Memory that several processes see: values, slices, and arrays that are written in place.
//!
//! | to | use | in Python |
//! |---|---|---|
//! | count, flag, or otherwise change numbers without a lock | [`Shared<AtomicU64>`](Shared), [`Shared<[AtomicU8]>`](Shared), a [`Shared`] struct of atomics | `Value(.., lock=False)`, `RawValue`, `RawArray` |
//! | change a value under a lock | [`Mutex<i64>`](crate::sync::Mutex), a `Mutex` of a struct | `Value`, `synchronized(Structure)` |
//! | change an array under a lock | [`Mutex<[f64]>`](crate::sync::Mutex::from_slice), [`RwLock<[f64]>`](crate::sync::RwLock) | `Array` |
//! | keep a few values of mixed types | a `Mutex` of a struct that derives [`Shareable`], with [`ArrayString`] for text and [`ArrayVec`] for lists | `ShareableList` |
//! | let many read a large slice | [`SharedSlice`] | `SharedMemory` with an array on it |
//! | let many write a large array, each its part | [`SharedMut`] | `SharedMemory` with an array on it, `RawArray` |
//! | copy out | `*mutex.lock().unwrap()`, `slice.to_vec()` | `sharedctypes.copy` |
//!
//! All of them are handles that cross to other processes as arguments, results, or through a pipe.
//!
//! # Where the memory is
//!
//! In files without a name, which only the processes that have a handle can reach. Nothing is in
//! `/dev/shm`, no helper keeps track, and nothing is left when the last handle is gone, even if all
//! who had one were killed. A handle takes a descriptor in each process; a process that receives the
//! same memory several times maps it once.
//!
//! All of it is allocated when it is made: if there is too little, that is an
//! [`Error::SharedMemory`](crate::Error::SharedMemory) there and then, and not a process that is
//! killed when it first touches it. (Memory that is asked for is compared with what the system and
//! the process's cgroups have left; of two processes that ask at the same moment, both may be let
//! through.)
//!
//! # What can be in it
//!
//! Plain data: see [`Shareable`]. What a handle receives is checked: that it is memory of this kind, of
//! these types, of this build of the program, and as long as it says.
//!
//! ```
//! use offspring::{process, shm::{ArrayString, Shareable}, sync::Mutex};
//!
//! #[derive(Shareable)]
//! struct Progress {
//!     done: u64,
//!     failed: bool,
//!     current: ArrayString<64>,
//! }
//!
//! #[process]
//! fn work(progress: Mutex<Progress>) {
//!     for file in ["a.txt", "b.txt"] {
//!         let mut progress = progress.lock().unwrap();
//!         progress.current = file.try_into().unwrap();
//!         progress.done += 1;
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let progress =
//!     Mutex::new(Progress { done: 0, failed: false, current: ArrayString::new() })?;
//! work(progress.clone()).spawn()?.join()?;
//! let progress = progress.lock().unwrap();
//! assert_eq!((progress.done, progress.current.to_str()?), (2, "b.txt"));
//! # Ok(())
//! # }
//! ```

mod exclusive;
mod freeze;
mod header;
mod inline;
pub(crate) mod object;
pub(crate) mod segment;
mod shareable;
mod shared;
mod slice;
mod split;

pub use exclusive::SharedMut;
pub use freeze::FreezeError;
pub use inline::{ArrayString, ArrayVec, CapacityError};
pub use offspring_macros::{Shareable, Zeroable};
pub use shareable::{Shareable, Zeroable};
pub use shared::Shared;
pub use slice::SharedSlice;
pub use split::{Split, SplitError};
