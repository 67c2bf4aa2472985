//! The codec: values to bytes and back. Everything about bincode is in this file.

use std::any::type_name;
use std::borrow::Cow;
use std::os::fd::OwnedFd;

use bincode::Options;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::complete::Complete;
use super::handles::{self, Attached};

/// Fixed-width integers: on our messages 1.2 to 2.6 times as fast as the variable-width form.
/// Both sides are one program, so neither the width nor the byte order can differ.
fn options() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding()
}

/// A value could not be turned into bytes.
///
/// Its own `Serialize` said no, it holds something that the wire format cannot describe (a sequence
/// of unknown length, as `#[serde(flatten)]` makes; a field that `skip_serializing_if` leaves out), or the system had no descriptor left for a handle
/// in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("a `{type_name}` could not be encoded: {reason}")]
pub struct EncodeError {
    type_name: Cow<'static, str>,
    reason: String,
}

/// Bytes could not be turned back into the value they should have been.
///
/// Its own `Deserialize` said no, or the bytes are not what this program sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("a `{type_name}` could not be decoded: {reason}")]
pub struct DecodeError {
    type_name: Cow<'static, str>,
    reason: String,
}

impl EncodeError {
    /// The type of the value, as Rust writes it.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// What was wrong with it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl DecodeError {
    pub(crate) fn new<T: ?Sized>(reason: impl Into<String>) -> Self {
        Self { type_name: type_name::<T>().into(), reason: reason.into() }
    }

    /// The type that was expected, as Rust writes it.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// What was wrong with it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Appends the encoded value to `bytes`, and gives what goes with it.
///
/// When it fails, `bytes` is as long as before.
#[inline]
pub(crate) fn encode<T: Serialize>(
    value: &T,
    bytes: &mut Vec<u8>,
) -> Result<Attached, EncodeError> {
    let start = bytes.len();
    handles::collect(bytes, |bytes| options().serialize_into(bytes, &Complete(value))).map_err(
        |error| {
            bytes.truncate(start);
            EncodeError { type_name: type_name::<T>().into(), reason: error.to_string() }
        },
    )
}

/// The value that these bytes are, which must be used up exactly.
#[inline]
fn value_of<T: DeserializeOwned>(bytes: &[u8]) -> bincode::Result<T> {
    // The limit bounds what a length inside the bytes may claim, and so what is allocated for it.
    options().with_limit(bytes.len() as u64).reject_trailing_bytes().deserialize(bytes)
}

/// As [`decode`], for many values that came without descriptors: they cross together.
#[inline]
pub(crate) fn decode_each<'a, T: DeserializeOwned>(
    all: impl Iterator<Item = &'a [u8]>,
    mut each: impl FnMut(Result<T, DecodeError>),
) {
    handles::provide_none(|| {
        for bytes in all {
            each(value_of(bytes).map_err(|error| DecodeError::new::<T>(error.to_string())));
        }
    });
}

/// The value that these bytes and descriptors are; both must be used up exactly.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    fds: Vec<OwnedFd>,
) -> Result<T, DecodeError> {
    match handles::provide(bytes, fds, value_of) {
        Err(handles::NoList) => {
            Err(DecodeError::new::<T>("the descriptors that came with it are not its handles'"))
        }
        Ok((Ok(_), left)) if left > 0 => {
            Err(DecodeError::new::<T>(format!("{left} handles came with it that it does not use")))
        }
        Ok((Ok(value), _)) => Ok(value),
        Ok((Err(error), _)) => Err(DecodeError::new::<T>(error.to_string())),
    }
}
