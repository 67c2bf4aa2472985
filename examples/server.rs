//! A TCP server whose workers, made ahead, share one listener: each connection goes to whoever is free,
//! and a worker that crashes takes only its own connection with it, and is replaced.
//!
//! ```sh
//! cargo run --release -p examples --bin server -- --listen 127.0.0.1:7878
//! nc 127.0.0.1 7878      # each line comes back in capitals; `crash` crashes the worker
//! ```

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;
use offspring::{Builder, Child, Fd, JoinError, Waitable, process};
use signal_hook::consts::SIGINT;

const HELP: &str = "\
Answers each line that it is sent with the same line in capitals. The line `crash` crashes a worker.

Usage: server [OPTIONS]

Options:
  --listen ADDRESS    where it listens; port 0 is any that is free [127.0.0.1:7878]
  --workers N         how many processes serve [as many as there are processors]
  --help              this text";

#[derive(Debug)]
struct Options {
    address: String,
    workers: usize,
}

impl Options {
    /// `None` if it is the help that is asked for.
    fn parse(mut arguments: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let (mut address, mut workers) = ("127.0.0.1:7878".to_owned(), offspring::cpu_count());
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("listen") => address = arguments.value()?.string()?,
                Long("workers") => {
                    workers = cli::number(&mut arguments, "--workers", 1..=cli::MOST)?
                }
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(Self { address, workers }))
    }
}

/// How long a client may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// A worker: one connection after the other.
#[process]
fn serve(listener: Fd<TcpListener>) -> Result<(), String> {
    loop {
        let (stream, _) = listener.accept().map_err(|error| format!("cannot accept: {error}"))?;
        // A client that hangs up is no business of the next one.
        let _ = converse(&stream);
    }
}

fn converse(stream: &TcpStream) -> std::io::Result<()> {
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

fn start(listener: &TcpListener) -> Result<Child<Result<(), String>>, Box<dyn Error>> {
    let listener = Fd::from(listener.try_clone()?);
    // Daemons: if this process has to give up, they are ended, and not waited for.
    Ok(Builder::new().daemon(true).spawn(serve(listener))?)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let Options { address, workers } = options;
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let mut children = (0..*workers).map(|_| start(&listener)).collect::<Result<Vec<_>, _>>()?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let sources: Vec<_> = children.iter().map(|child| child as &dyn Waitable).collect();
        let ended = offspring::wait(&sources, None)?;
        // From the back, so that the places of the others remain.
        for place in ended.into_iter().rev() {
            match children.swap_remove(place).join() {
                // Ctrl-C ends the workers as well, and that is no crash.
                Err(JoinError::Exited(exit)) if exit.status().signal() == Some(SIGINT) => {
                    return Err(exit.to_string().into());
                }
                Err(JoinError::Exited(exit)) => {
                    let child = start(&listener)?;
                    println!("{exit}: {} (pid {}) takes its place", child.name(), child.pid());
                    children.push(child);
                }
                // Another would fare no better.
                Err(other) => return Err(other.into()),
                Ok(outcome) => outcome?,
            }
        }
    }
}

fn main() -> ExitCode {
    cli::main("server", HELP, Options::parse, run)
}
