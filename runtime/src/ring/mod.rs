//! A ring of records in memory that several processes see: what queues and pipes have in common.
//!
//! - [`records`]: the state of a ring, its two sides, and how a record comes and goes by one store
//! - [`store`]: the memory of the records, which grows and shrinks
//!
//! Who waits for records or for room, and how it is woken, is the business of whoever has a ring.

mod records;
mod store;

pub(crate) use records::{Consuming, NoRoom, NotInTime, Producing, Ring, State, What};
#[cfg(test)]
pub(crate) use records::{Position, Record};
pub(crate) use store::{FIRST, Store};
