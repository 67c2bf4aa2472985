//! Shared memory.

mod exclusive;
mod inline;
pub(crate) mod object;
pub(crate) mod segment;
mod shareable;
mod shared;
mod slice;

pub use exclusive::{FreezeError, SharedMut, Split, SplitError};
pub use inline::{ArrayString, ArrayVec, CapacityError};
pub use offspring_macros::Shareable;
pub use shareable::{Shareable, Zeroable};
pub use shared::Shared;
pub use slice::SharedSlice;
