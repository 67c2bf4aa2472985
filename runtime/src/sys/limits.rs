//! Resource limits.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Limits this process's address space, in bytes; never above what it is allowed already.
pub(crate) fn limit_address_space(bytes: u64) -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_AS)?;
    let bytes = bytes.min(hard);
    setrlimit(Resource::RLIMIT_AS, bytes, bytes)
}
