//! The time that all processes of a machine agree on.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The monotonic clock, in nanoseconds.
#[inline]
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock");
    Duration::from(now).as_nanos() as u64
}
