//! Shared memory.

mod inline;
pub(crate) mod object;
pub(crate) mod segment;
mod shareable;

pub use inline::{ArrayString, ArrayVec, CapacityError};
pub use offspring_macros::Shareable;
pub use shareable::Shareable;
