//! Runs a function on each file of a directory: each case in a process of its own, with a limit of time
//! and one of memory, as a test runner or a fuzzer does.
//!
//! The function is [`expand`](parser::expand), a parser with three bugs. Put yours in its place.
//!
//! ```sh
//! cargo run --release -p examples --bin cases -- --seconds 2 --save crashes corpus
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use lexopt::prelude::*;
use offspring::{Builder, JoinError};
use parser::expand;

#[path = "parser.rs"]
mod parser;

const HELP: &str = "\
Runs a parser on each file of a directory, each in a process of its own.

Usage: cases [OPTIONS] DIRECTORY

Options:
  --seconds N       how long one case may take [5]
  --megabytes N     how much memory it may have [512]
  --workers N       how many run at a time [as many as there are processors]
  --save DIRECTORY  where the files are copied to that made it fail
  --help            this text

The exit code is 1 if a case has failed.";

#[derive(Debug)]
struct Options {
    directory: PathBuf,
    limit: Duration,
    memory: u64,
    workers: usize,
    save: Option<PathBuf>,
}

impl Options {
    /// `None` if it is the help that is asked for.
    fn parse(mut arguments: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let (mut directory, mut save) = (None, None);
        let (mut seconds, mut megabytes, mut workers) = (5, 512, offspring::cpu_count());
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("seconds") => seconds = cli::number(&mut arguments, "--seconds", 1..=86_400)?,
                Long("megabytes") => {
                    megabytes = cli::number(&mut arguments, "--megabytes", 64..=1 << 20)?
                }
                Long("workers") => {
                    workers = cli::number(&mut arguments, "--workers", 1..=cli::MOST)?
                }
                Long("save") => save = Some(arguments.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                Value(path) if directory.is_none() => directory = Some(path.into()),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(Self {
            directory: directory.ok_or("say in which directory the cases are: see --help")?,
            limit: Duration::from_secs(seconds as u64),
            memory: (megabytes as u64) << 20,
            workers,
            save,
        }))
    }
}

/// What came of a case.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Passed,
    Refused(String),
    Panicked(String),
    Crashed(String),
    TimedOut,
    OutOfMemory,
}

impl Outcome {
    /// To refuse an input is what a parser is for.
    fn is_failure(&self) -> bool {
        !matches!(self, Self::Passed | Self::Refused(_))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Refused(_) => "refused",
            Self::Panicked(_) => "panicked",
            Self::Crashed(_) => "crashed",
            Self::TimedOut => "timed out",
            Self::OutOfMemory => "out of memory",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) | Self::Panicked(why) | Self::Crashed(why) => {
                write!(f, "{}: {}", self.kind(), why.lines().next().unwrap_or_default())
            }
            _ => f.write_str(self.kind()),
        }
    }
}

fn run_case(file: &Path, options: &Options) -> Result<Outcome, Box<dyn Error + Send + Sync>> {
    let text = String::from_utf8_lossy(&fs::read(file)?).into_owned();
    let mut errors = tempfile::tempfile().map_err(|error| {
        format!("cannot make a file in {}: {error}", std::env::temp_dir().display())
    })?;
    let child = Builder::new()
        .memory_limit(options.memory)
        .stderr(errors.try_clone()?)
        .daemon(true)
        .spawn(expand(text))?;
    if child.wait_timeout(options.limit)?.is_none() {
        child.kill()?;
        return Ok(Outcome::TimedOut);
    }
    Ok(match child.join() {
        Ok(Ok(_)) => Outcome::Passed,
        Ok(Err(reason)) => Outcome::Refused(reason),
        Err(JoinError::Panicked(panic)) => Outcome::Panicked(panic.message().into()),
        Err(JoinError::Exited(exit)) if wanted_memory(exit.status(), &mut errors)? => {
            Outcome::OutOfMemory
        }
        Err(JoinError::Exited(exit)) => Outcome::Crashed(exit.status().to_string()),
        Err(other) => return Err(other.into()),
    })
}

/// Whether it has aborted for want of memory: Rust's allocator says so before it does.
fn wanted_memory(status: ExitStatus, errors: &mut File) -> std::io::Result<bool> {
    const ABORT: i32 = 6;
    let mut text = Vec::new();
    errors.rewind()?;
    errors.take(1 << 20).read_to_end(&mut text)?;
    let said = String::from_utf8_lossy(&text).contains("memory allocation of");
    Ok(status.signal() == Some(ABORT) && said)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let Options { directory, save, .. } = options;
    let failed = |error| format!("cannot read the directory {}: {error}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    if let Some(save) = save {
        fs::create_dir_all(save)
            .map_err(|error| format!("cannot make the directory {}: {error}", save.display()))?;
        if fs::canonicalize(directory)? == fs::canonicalize(save)? {
            return Err("the cases that fail are there already: save them elsewhere".into());
        }
    }

    let bar = cli::progress_bar("cases");
    bar.set_length(files.len() as u64);
    let waiting = Mutex::new(files.iter());
    let outcomes = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..options.workers.min(files.len()) {
            scope.spawn(|| {
                loop {
                    let Some(file) = waiting.lock().unwrap().next() else { return };
                    let outcome = run_case(file, options).map_err(|error| error.to_string());
                    outcomes.lock().unwrap().insert(file, outcome);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();

    let mut out = cli::stdout();
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut failures = 0;
    for (file, outcome) in outcomes.into_inner().expect("nobody panics with it") {
        let outcome = outcome.map_err(|error| format!("{}: {error}", file.display()))?;
        *counts.entry(outcome.kind()).or_default() += 1;
        if !outcome.is_failure() {
            continue;
        }
        failures += 1;
        writeln!(out, "{}: {outcome}", file.display())?;
        if let (Some(save), Some(name)) = (save, file.file_name()) {
            fs::copy(file, save.join(name)).map_err(|error| {
                format!("cannot copy {} to {}: {error}", file.display(), save.display())
            })?;
        }
    }
    let counts: Vec<_> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    writeln!(out, "{} cases: {}", files.len(), counts.join(", "))?;
    match failures {
        0 => Ok(()),
        _ => Err(format!("{failures} of {} cases failed", files.len()).into()),
    }
}

fn main() -> ExitCode {
    cli::main("cases", HELP, Options::parse, run)
}
