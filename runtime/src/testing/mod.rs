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

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::panic;
use std::process::{ExitCode, Termination};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use self::echo::Echo;
use self::family::Mark;
use crate::error::Error;
use crate::launch::StartMethod;
use crate::process::{Builder, Child, JoinError, Panic, Process, Stdio};
use crate::sys::poll::{self, Wait};

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

/// How long the kernel may take to end what was killed: to give back much memory, say. Some of it may
/// never end, such as a process that waits for a disk which does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

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
                panic.resume_unwind();
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

    /// Shows what the test prints until it has ended, or until its time is up; then ends all that
    /// belongs to it.
    fn attend(&self, mut child: Child<bool>, mark: &Mark) -> Result<(), Failure> {
        let mut out = Echo::new(child.stdout.take(), |text| print!("{text}"));
        let mut err = Echo::new(child.stderr.take(), |text| eprint!("{text}"));
        let wait = self.timeout.map_or(Wait::Forever, Wait::at_most);
        let given_up = loop {
            let pipes = [out.source(), err.source()].into_iter().flatten();
            let mut sources: Vec<_> = [child.as_fd()]
                .into_iter()
                .chain(pipes)
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
                .collect();
            if let Err(error) = poll::poll(&mut sources, wait) {
                break Some(format!("cannot wait for process '{}': {error}", child.name()));
            }
            // Asked for before the pipes are read: so all that it has printed is shown.
            let ended = sources[0].any().unwrap_or(true);
            drop(sources);
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
        // However it has ended: what it has started ends with it.
        let left = family::end(&child, mark, PATIENCE);
        out.show();
        err.show();
        out.finish();
        err.finish();
        if matches!(child.wait_timeout(PATIENCE), Ok(None)) {
            // To join it would be to wait for ever.
            return Err(Failure::Other(remains(&child, &BTreeSet::from([child.pid()]))));
        }
        let remains = (!left.is_empty()).then(|| remains(&child, &left));
        let outcome = match (given_up, child.join()) {
            (Some(report), _) => Err(Failure::Other(report)),
            (None, Ok(true)) => Ok(()),
            (None, Ok(false)) => {
                Err(Failure::Other("the test returned an error, which it has printed".into()))
            }
            (None, Err(JoinError::Panicked(panic))) => Err(Failure::Panicked(panic)),
            (None, Err(error)) => Err(Failure::other(error)),
        };
        match (outcome, remains) {
            (outcome, None) => outcome,
            (Ok(()), Some(remains)) => Err(Failure::Other(remains)),
            (Err(failure), Some(remains)) => {
                eprintln!("{remains}");
                Err(failure)
            }
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

/// What could not be ended.
fn remains(child: &Child<bool>, left: &BTreeSet<u32>) -> String {
    format!(
        "of process '{}' (pid {}) and what it had started, this was killed and has not ended \
         within {PATIENCE:?}:\n{}",
        child.name(),
        child.pid(),
        family::list(left),
    )
}

impl Failure {
    fn other(error: impl ToString) -> Self {
        Self::Other(error.to_string())
    }
}
