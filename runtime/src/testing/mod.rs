//! What `#[offspring::test]` expands to: a test whose body runs in a process of its own, while the
//! harness's thread shows what it prints, keeps its time, and fails as it fails.
//!
//! - [`family`]: a process, what descends from it, and the end of them
//! - [`echo`]: what it prints, as if the harness's thread had
//!
//! Hidden, and public for the macro's output only.
#![allow(missing_docs)]

mod echo;
pub mod family;

use std::os::fd::AsFd;
use std::panic;
use std::process::{ExitCode, Termination};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use self::echo::Echo;
use self::family::Mark;
use crate::process::{Builder, Child, JoinError, Panic, Process, Stdio};
use crate::sys::poll::{self, Wait};
use crate::{Error, StartMethod};

/// A test, as the macro describes it.
#[derive(Debug)]
pub struct Test {
    /// Its function's.
    pub name: &'static str,
    pub timeout: Option<Duration>,
    /// In bytes.
    pub memory: Option<u64>,
    /// Whether the harness takes a panic for success, so that whatever else goes wrong must not be
    /// one.
    pub should_panic: bool,
}

/// Why a test is not passed.
enum Failure {
    Panicked(Panic),
    /// In words.
    Other(String),
}

/// Whether what a test returned means that it is passed. If not, it is printed.
pub fn passes(outcome: impl Termination) -> bool {
    outcome.report() == ExitCode::SUCCESS
}

impl Test {
    /// Runs it, and panics as it does, on the harness's thread.
    ///
    /// Without the panic hook, which would tell the place of this line.
    pub fn run<P: Process<Output = bool>>(&self, case: P) {
        match self.outcome(case) {
            Ok(()) => {}
            Err(Failure::Panicked(panic)) => {
                eprintln!("{panic}");
                panic::resume_unwind(Box::new(panic.message().to_owned()));
            }
            Err(Failure::Other(report)) => {
                eprintln!("{report}");
                // The harness, which waits for a panic, says that there was none.
                if !self.should_panic {
                    panic::resume_unwind(Box::new(report));
                }
            }
        }
    }

    fn outcome<P: Process<Output = bool>>(&self, case: P) -> Result<(), Failure> {
        let mark = Mark::new();
        let child = self.start(&mark, case).map_err(Failure::other)?;
        self.attend(child, &mark)
    }

    fn start<P: Process>(&self, mark: &Mark, case: P) -> Result<Child<P::Output>, Error> {
        let mut builder = Builder::new();
        builder
            .name(self.name)
            .start_method(StartMethod::Spawn)
            .env(Mark::VARIABLE, mark.text())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(bytes) = self.memory {
            builder.memory_limit(bytes);
        }
        builder.spawn(case)
    }

    /// Shows what the test prints until it has ended, or until its time is up.
    fn attend(&self, mut child: Child<bool>, mark: &Mark) -> Result<(), Failure> {
        let mut out = Echo::new(child.stdout.take(), |text| print!("{text}"));
        let mut err = Echo::new(child.stderr.take(), |text| eprint!("{text}"));
        let wait = self.timeout.map_or(Wait::Forever, Wait::at_most);
        let hung = loop {
            let pipes = [out.source(), err.source()].into_iter().flatten();
            let mut sources: Vec<_> = [child.as_fd()]
                .into_iter()
                .chain(pipes)
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
                .collect();
            poll::poll(&mut sources, wait).map_err(Failure::other)?;
            // First this, then the pipes: so all that it has printed is shown.
            let ended = !child.is_alive();
            out.show();
            err.show();
            match (ended, self.timeout) {
                (true, _) => break None,
                (false, Some(timeout)) if wait.is_over() => {
                    break Some(hang(&child, timeout, mark));
                }
                (false, _) => {}
            }
        };
        if hung.is_some() {
            family::end(child.pid(), mark);
            out.show();
            err.show();
        }
        out.finish();
        err.finish();
        match (hung, child.join()) {
            (Some(report), _) => Err(Failure::Other(report)),
            (None, Ok(true)) => Ok(()),
            (None, Ok(false)) => {
                Err(Failure::Other("the test returned an error, which it has printed".into()))
            }
            (None, Err(JoinError::Panicked(panic))) => Err(Failure::Panicked(panic)),
            (None, Err(error)) => Err(Failure::other(error)),
        }
    }
}

/// What is known of a test whose time is up, while it still lives.
fn hang(child: &Child<bool>, timeout: Duration, mark: &Mark) -> String {
    format!(
        "process '{}' (pid {}) has not ended within {timeout:?}, and was killed with all that it \
         had started:\n{}",
        child.name(),
        child.pid(),
        family::tree(child.pid(), Some(mark)),
    )
}

impl Failure {
    fn other(error: impl ToString) -> Self {
        Self::Other(error.to_string())
    }
}
