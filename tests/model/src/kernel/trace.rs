//! What happens, one line a step, if `MODEL_TRACE` is set: for a schedule that is replayed.

use std::panic::Location;
use std::sync::OnceLock;

pub(super) fn enabled() -> bool {
    static ENABLED: OnceLock<bool> = OnceLock::new();
    *ENABLED.get_or_init(|| std::env::var_os("MODEL_TRACE").is_some())
}

#[track_caller]
pub(super) fn line(what: std::fmt::Arguments<'_>) {
    let me = super::me();
    let at = Location::caller();
    let file = at.file().rsplit('/').next().unwrap_or_default();
    let tid = super::world(|world| world.task(me).tid);
    eprintln!("{tid:>3} {file}:{:<4} {what}", at.line());
}

macro_rules! trace {
    ($($format:tt)*) => {
        if crate::kernel::trace::enabled() {
            crate::kernel::trace::line(format_args!($($format)*));
        }
    };
}
pub(crate) use trace;
