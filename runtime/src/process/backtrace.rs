//! The backtrace of a panic, without the frames that say nothing of it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::env;
use std::fmt::Write;

/// What std's own frames end with, from the panic on.
const PANIC: &str = "__rust_end_short_backtrace";
/// What is called by this crate, and calls the work.
const WORK: &str = "offspring_begin_short_backtrace";

/// Runs the work, in a frame that is found again.
#[inline(never)]
pub(super) fn offspring_begin_short_backtrace<R>(work: impl FnOnce() -> R) -> R {
    let result = work();
    // So that it stays a frame of its own: the call before is not the last thing done.
    std::hint::black_box(());
    result
}

/// That of this place, if backtraces are enabled: as std prints them, whole with `RUST_BACKTRACE=full`.
pub(super) fn capture() -> Option<String> {
    let backtrace = Backtrace::capture();
    if backtrace.status() != BacktraceStatus::Captured {
        return None;
    }
    let whole = backtrace.to_string();
    Some(if env::var_os("RUST_BACKTRACE").is_some_and(|how| how == "full") {
        whole
    } else {
        short(&whole)
    })
}

/// The frames between the panic and the work, and between the work and who called it. Where those are not
/// found, as in a program without symbols, nothing is left out.
fn short(whole: &str) -> String {
    let mut frames: Vec<&str> = Vec::new();
    let mut rest = whole;
    while !rest.is_empty() {
        let next = rest.match_indices('\n').map(|(at, _)| at + 1).find(|at| is_frame(&rest[*at..]));
        let (frame, behind) = rest.split_at(next.unwrap_or(rest.len()));
        frames.push(frame);
        rest = behind;
    }
    let begin = frames.iter().position(|frame| frame.contains(PANIC)).map_or(0, |at| at + 1);
    let end = frames.iter().position(|frame| frame.contains(WORK)).unwrap_or(frames.len());
    if begin == 0 && end == frames.len() || begin >= end {
        return whole.to_owned();
    }
    let mut text = String::new();
    for (number, frame) in frames[begin..end].iter().enumerate() {
        let name = frame.split_once(": ").map_or(*frame, |(_, name)| name);
        // A `String` takes all.
        let _ = write!(text, "{number:>4}: {name}");
    }
    text + "note: frames of std and offspring are left out; `RUST_BACKTRACE=full` shows them\n"
}

/// Whether a frame begins here: by its number.
fn is_frame(text: &str) -> bool {
    let digits = text.trim_start_matches(' ').trim_start_matches(|c: char| c.is_ascii_digit());
    digits.starts_with(": ") && digits.len() < text.trim_start_matches(' ').len()
}

#[cfg(test)]
mod tests {
    use super::short;

    const WHOLE: &str = "   0: hook
   1: std::sys::backtrace::__rust_end_short_backtrace
             at ./library/std/src/sys/backtrace.rs:1
   2: core::panicking::panic_fmt
   3: parser::parse
             at ./src/main.rs:12
      inlined::into
   4: offspring::process::backtrace::offspring_begin_short_backtrace
  10: main
";

    #[test]
    fn what_is_not_of_the_work_is_left_out() {
        let short = short(WHOLE);
        assert!(
            short.starts_with("   0: core::panicking::panic_fmt\n   1: parser::parse\n"),
            "{short}"
        );
        assert!(short.contains("      inlined::into\nnote: "), "{short}");
    }

    #[test]
    fn without_symbols_nothing_is_left_out() {
        let whole = "   0: <unknown>\n   1: <unknown>\n";
        assert_eq!(short(whole), whole);
        assert_eq!(short(""), "");
    }
}
