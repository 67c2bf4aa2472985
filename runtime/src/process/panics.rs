//! Panics in the work: noted where they happen, so that the parent can be told.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::panic::PanicHookInfo;

use super::panic_report::PanicReport;
use super::{backtrace, identity};

thread_local! {
    /// Whether this thread runs the work.
    static NOTING: Cell<bool> = const { Cell::new(false) };
    /// The last panic on it.
    static NOTED: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
}

/// What to do about a panic besides noting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// Print it, as the default hook would if it knew the process's name.
    Print,
    /// Leave it to the hook that was there: a forked child has its parent's.
    Previous,
}

/// Has the panics of the work noted. `aborting` is called with each, where panics abort.
pub(super) fn install_hook(report: Report, aborting: fn(PanicReport)) {
    if std::thread::panicking() {
        return; // forked by a destructor, in the middle of the parent's panic: it cannot be changed
    }
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !NOTING.get() {
            return previous(info);
        }
        let noted = note(info);
        match report {
            Report::Print => print(&noted),
            Report::Previous => previous(info),
        }
        if cfg!(panic = "abort") {
            aborting(noted);
        } else {
            let _ = NOTED.try_with(|last| last.replace(Some(noted)));
        }
    }));
}

fn note(info: &PanicHookInfo<'_>) -> PanicReport {
    PanicReport {
        message: message(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: backtrace::capture(),
    }
}

fn print(report: &PanicReport) {
    let location = report.location.as_deref().unwrap_or("an unknown place");
    let backtrace = report.backtrace.as_ref().map_or_else(
        || "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace".into(),
        |backtrace| format!("stack backtrace:\n{backtrace}"),
    );
    // Not `eprintln!`, which panics if it cannot be written.
    let _ = writeln!(
        std::io::stderr().lock(),
        "\nprocess '{}' (pid {}) panicked at {location}:\n{}\n{backtrace}",
        identity::current().name(),
        std::process::id(),
        report.message,
    );
}

fn message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "(the panic's payload is no text)".to_owned(),
    }
}

/// Runs the work, noting its panics.
pub(super) fn noted<R>(work: impl FnOnce() -> R) -> R {
    NOTING.set(true);
    let result = backtrace::offspring_begin_short_backtrace(work);
    NOTING.set(false);
    result
}

/// What is known of the panic whose payload this is.
pub(super) fn describe(payload: Box<dyn Any + Send>) -> PanicReport {
    NOTING.set(false);
    let said = message(&*payload);
    // Its destructor could panic in its turn.
    std::mem::forget(payload);
    match NOTED.try_with(RefCell::take) {
        // The last one noted may have been another, that was caught before this one was resumed.
        Ok(Some(noted)) if noted.message == said => noted,
        _ => PanicReport { message: said, location: None, backtrace: None },
    }
}
