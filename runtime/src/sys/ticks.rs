//! A clock that costs next to nothing to look at, and tells no more than whether some microseconds
//! have passed.

/// Less than 20 microseconds, and more than 4, on any processor that there is.
const MOMENT: u64 = 20_000;

/// The ticks so far.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn now() -> u64 {
    // SAFETY: each processor of this architecture counts its cycles; reading that changes nothing.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The ticks so far: nanoseconds.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn now() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Whether no more than a moment has passed since it was `then`. Not so, if it seems to have been
/// later than now, as it may by another processor's count.
#[inline]
pub(crate) fn is_recent(then: u64) -> bool {
    now().wrapping_sub(then) < MOMENT
}
