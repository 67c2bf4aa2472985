//! How a value crosses: the codec, the packets, and the descriptors that travel with a value.
//!
//! The layout and what happens on each kind of damage is in `README.md` beside this file.

mod codec;
mod complete;
mod descriptor;
pub(crate) mod endpoint;
pub(crate) mod foreign;
mod handles;
mod packet;
mod scratch;

pub use codec::{DecodeError, EncodeError};
pub(crate) use codec::{decode, decode_each, encode};
pub use descriptor::Fd;
pub(crate) use handles::{
    Attached, Handle, deserialize_fd, deserialize_handle, serialize_fd, serialize_handle,
    serialize_move,
};
pub(crate) use packet::{
    INLINE_MAX, Kind, Next, Package, Packet, Parcel, RecvFailure, SendFailure, next, next_tag,
    prepare, recv, recv_then, send,
};
pub(crate) use scratch::Scratch;

#[cfg(test)]
mod tests;
