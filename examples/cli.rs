//! What the examples of real work have in common on the command line: numbers among the arguments,
//! one line for whatever goes wrong, and an end by Ctrl-C.

use std::error::Error;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, thread};

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How many processes an example starts at the most.
pub const MOST: usize = 1_000;

/// The program `name`: reads its arguments, runs, and says in one line what went wrong.
///
/// `parse` gives `None` if it is the help that is asked for. Ctrl-C and SIGTERM end the program at
/// once, and the kernel ends its processes with it.
pub fn main<O>(
    name: &'static str,
    help: &str,
    parse: impl FnOnce(lexopt::Parser) -> Result<Option<O>, lexopt::Error>,
    run: impl FnOnce(&O) -> Result<(), Box<dyn Error>>,
) -> ExitCode {
    let interrupted = match end_on_signals(name) {
        Ok(interrupted) => interrupted,
        Err(error) => return fail(name, &format!("cannot watch for signals: {error}")),
    };
    let done = match parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => run(&options),
        Ok(None) => {
            println!("{help}");
            Ok(())
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The same Ctrl-C has ended a child, and that is no news: another thread is saying what is.
        Err(_) if interrupted.load(Ordering::SeqCst) => loop {
            thread::park();
        },
        Err(error) => fail(name, &error.to_string()),
    }
}

fn fail(name: &str, message: &str) -> ExitCode {
    eprintln!("{name}: {message}");
    ExitCode::FAILURE
}

/// Has a thread end the program when a signal asks for it, with the code that a shell gives such a
/// program; says whether one has come.
fn end_on_signals(name: &'static str) -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    // Set within the handler: so before anybody can see a child that ended by the same Ctrl-C.
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("{name}: interrupted");
            // Not `exit`, which waits for children.
            signal_hook::low_level::exit(128 + signal);
        }
    });
    Ok(interrupted)
}

/// The number that follows an option.
///
/// # Errors
/// If there is none, or it is not within the range.
pub fn number(
    from: &mut lexopt::Parser,
    option: &str,
    range: RangeInclusive<usize>,
) -> Result<usize, lexopt::Error> {
    let text = from.value()?.into_string().unwrap_or_else(|raw| raw.to_string_lossy().into());
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            let (least, most) = (range.start(), range.end());
            Err(format!("{option} takes a number from {least} to {most}, not {text:?}").into())
        }
    }
}

/// A bar that counts `what`. It is drawn only where somebody sees it: on a terminal, on the standard
/// error output.
pub fn progress_bar(what: &str) -> ProgressBar {
    let template = format!("{{wide_bar}} {{pos}}/{{len}} {what}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).expect("a template");
    ProgressBar::new(0).with_style(style)
}
