//! What the examples of real work have in common on the command line: numbers among the arguments,
//! what they print, one line for whatever goes wrong, and an end by Ctrl-C.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM};
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
        Err(error) => {
            return fail(name, format!("cannot watch for signals: {error}").into());
        }
    };
    match start(help, parse, |options| run(options).map(|()| ExitCode::SUCCESS)) {
        Ok(code) => code,
        // The same Ctrl-C has ended a child, and that is no news: another thread is saying what is.
        Err(_) if interrupted.load(Ordering::SeqCst) => loop {
            thread::park();
        },
        Err(error) => fail(name, error),
    }
}

/// As [`main`], for a program that sees to its signals itself, and whose `run` gives its exit code.
pub fn main_without_signals<O>(
    name: &'static str,
    help: &str,
    parse: impl FnOnce(lexopt::Parser) -> Result<Option<O>, lexopt::Error>,
    run: impl FnOnce(&O) -> Result<ExitCode, Box<dyn Error>>,
) -> ExitCode {
    start(help, parse, run).unwrap_or_else(|error| fail(name, error))
}

fn start<O>(
    help: &str,
    parse: impl FnOnce(lexopt::Parser) -> Result<Option<O>, lexopt::Error>,
    run: impl FnOnce(&O) -> Result<ExitCode, Box<dyn Error>>,
) -> Result<ExitCode, Box<dyn Error>> {
    match parse(lexopt::Parser::from_env())? {
        Some(options) => run(&options),
        None => {
            writeln!(stdout(), "{help}")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn fail(name: &str, error: Box<dyn Error>) -> ExitCode {
    match error.downcast_ref::<io::Error>() {
        // As by SIGPIPE: whoever reads the output has seen enough of it.
        Some(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(128 + SIGPIPE as u8),
        _ => {
            say(name, error);
            ExitCode::FAILURE
        }
    }
}

/// Says something about the program `name`, or about a part of its work, on the standard error output.
/// If nobody can be told, that is no reason to stop.
pub fn say(name: &str, message: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{name}: {message}");
}

/// The standard output. Where `println!` would panic, as on a full disk, this is an error that says so.
pub fn stdout() -> impl Write {
    Output(io::stdout())
}

struct Output(io::Stdout);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(unwritten)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(unwritten)
    }
}

fn unwritten(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write the output: {error}"))
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
            say(name, "interrupted");
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
