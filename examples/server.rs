//! A TCP server whose workers, made ahead, share one listener: each connection goes to whoever is free,
//! and a worker that crashes takes only its own connection with it, and is replaced.
//!
//! Ctrl-C and SIGTERM end it gracefully: it listens no more, finishes the connections that its workers
//! have, and ends, after SIGTERM with code 0, as supervisors of services expect, and after Ctrl-C with
//! 130, so that a shell's loop ends as well. A second signal ends it at once, with 130 or 143.
//!
//! ```sh
//! cargo run --release -p examples --bin server -- --listen 127.0.0.1:7878
//! nc 127.0.0.1 7878      # each line comes back in capitals; `crash` crashes the worker
//! ```

use std::error::Error;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use offspring::{Builder, Child, Exit, Fd, JoinError, Waitable, process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

const HELP: &str = "\
Answers each line that it is sent with the same line in capitals. The line `crash` crashes a worker.

Usage: server [OPTIONS]

Options:
  --listen ADDRESS    where it listens; port 0 is any that is free [127.0.0.1:7878]
  --workers N         how many processes serve [as many as there are processors]
  --grace SECONDS     how long connections have to finish after Ctrl-C or SIGTERM [30]
  --help              this text";

#[derive(Debug)]
struct Options {
    address: String,
    workers: usize,
    grace: usize,
}

impl Options {
    /// `None` if it is the help that is asked for.
    fn parse(mut arguments: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let (mut address, mut workers) = ("127.0.0.1:7878".to_owned(), offspring::cpu_count());
        let mut grace = 30;
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("listen") => address = arguments.value()?.string()?,
                Long("workers") => {
                    workers = cli::number(&mut arguments, "--workers", 1..=cli::MOST)?
                }
                Long("grace") => grace = cli::number(&mut arguments, "--grace", 0..=86_400)?,
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(Self { address, workers, grace }))
    }
}

/// The signals that ask for the end.
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// How long a client may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// A worker: one connection after the other, until there is no listener any more.
#[process]
fn serve(listener: Fd<TcpListener>) -> Result<(), String> {
    // Ctrl-C reaches the workers, too: that it does nothing there leaves it to the parent.
    for signal in SIGNALS {
        flag::register(signal, Arc::new(AtomicBool::new(false)))
            .map_err(|error| format!("cannot handle signal {signal}: {error}"))?;
    }
    loop {
        match listener.accept() {
            // A client that hangs up is no business of the next one.
            Ok((stream, _)) => _ = converse(&stream),
            Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(()), // closed
            Err(error) => return Err(format!("cannot accept: {error}")),
        }
    }
}

fn converse(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut answers = stream;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line == "crash" {
            std::process::abort();
        }
        answers.write_all(format!("{}\n", line.to_uppercase()).as_bytes())?;
    }
    Ok(())
}

type Worker = Child<Result<(), String>>;

fn start(listener: &TcpListener) -> Result<Worker, Box<dyn Error>> {
    let listener = Fd::from(listener.try_clone()?);
    // Daemons: if this process has to give up, they are ended, and not waited for.
    Ok(Builder::new().daemon(true).spawn(serve(listener))?)
}

/// Whether a signal that was meant for the server has ended a worker before it could ignore that, and so
/// before it had a connection.
fn had_not_begun(exit: &Exit) -> bool {
    exit.status().signal().is_some_and(|signal| SIGNALS.contains(&signal))
}

/// Has all workers' `accept` fail, those that wait in it included, and clients be refused: for a
/// listener is shared, and shut for all of them.
fn close(listener: TcpListener) -> io::Result<()> {
    TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Read)
}

/// The wish of whoever has sent a signal.
struct Stop {
    /// Readable when one has come.
    bell: UnixStream,
    signal: Arc<AtomicUsize>,
}

impl Stop {
    fn new() -> io::Result<Self> {
        let (bell, ring) = UnixStream::pair()?;
        let (asked, signal) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for number in SIGNALS {
            // In this order: the first signal does not find that somebody has asked, the second does.
            flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&asked))?;
            flag::register(number, Arc::clone(&asked))?;
            flag::register_usize(number, Arc::clone(&signal), number as usize)?;
            low_level::pipe::register(number, ring.try_clone()?)?;
        }
        Ok(Self { bell, signal })
    }

    fn signal(&self) -> i32 {
        self.signal.load(Ordering::SeqCst) as i32
    }
}

fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let Options { address, workers, grace } = options;
    let stop = Stop::new().map_err(|error| format!("cannot watch for signals: {error}"))?;
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let mut children = (0..*workers).map(|_| start(&listener)).collect::<Result<Vec<_>, _>>()?;
    let mut out = cli::stdout();
    writeln!(out, "listening on {}", listener.local_addr()?)?;
    loop {
        let mut sources: Vec<&dyn Waitable> = vec![&stop.bell];
        sources.extend(children.iter().map(|child| child as &dyn Waitable));
        let ready = offspring::wait(&sources)?;
        if ready.contains(&0) {
            break;
        }
        // From the back, so that the places of the others remain.
        for place in ready.into_iter().rev() {
            match children.swap_remove(place - 1).join() {
                Err(JoinError::Exited(exit)) => {
                    let child = start(&listener)?;
                    if !had_not_begun(&exit) {
                        let (name, pid) = (child.name(), child.pid());
                        writeln!(out, "{exit}: {name} (pid {pid}) takes its place")?;
                    }
                    children.push(child);
                }
                // Another would fare no better.
                Err(other) => return Err(other.into()),
                Ok(outcome) => outcome?,
            }
        }
    }
    close(listener)?;
    writeln!(out, "finishing what is open; another signal ends it at once")?;
    drain(children, Duration::from_secs(*grace as u64))?;
    writeln!(out, "all connections are finished")?;
    Ok(match stop.signal() {
        SIGINT => ExitCode::from(128 + SIGINT as u8),
        _ => ExitCode::SUCCESS,
    })
}

/// Waits for the workers' ends, and kills those that take longer.
fn drain(mut children: Vec<Worker>, grace: Duration) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + grace;
    while !children.is_empty() {
        let sources: Vec<_> = children.iter().map(|child| child as &dyn Waitable).collect();
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = offspring::wait_timeout(&sources, left)?;
        if ended.is_empty() && left.is_zero() {
            children.iter().try_for_each(|child| child.kill())?;
            let (count, seconds) = (children.len(), grace.as_secs());
            return Err(format!("{count} connections were cut after {seconds} s").into());
        }
        for place in ended.into_iter().rev() {
            match children.swap_remove(place).join() {
                Err(JoinError::Exited(exit)) if had_not_begun(&exit) => {}
                Err(JoinError::Exited(exit)) => writeln!(cli::stdout(), "{exit}")?,
                Err(other) => return Err(other.into()),
                Ok(outcome) => outcome?,
            }
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    cli::main_without_signals("server", HELP, Options::parse, run)
}
