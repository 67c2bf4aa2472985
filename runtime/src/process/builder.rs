//! How a process is to be started.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::handle::Shared;
use super::protocol::{Equipment, Instructions, bytes_of};
use super::registry::{self, Registered};
use super::stdio::{Stdio, Stream};
use super::{Child, Process, identity, table, work};
use crate::error::{Error, Result};
use crate::launch::{self, Environment, StartMethod, Started};
use crate::sys::{fd, lifeline, pidfd};
use crate::wire::endpoint::Endpoint;
use crate::wire::{self, SendFailure};

/// How a process is to be started: its name, its streams, what becomes of it. A builder can start
/// any number of processes.
///
/// The methods that a `Process` object has before `start()` in Python, and those of
/// [`std::process::Command`].
///
/// ```
/// use offspring::{Builder, StartMethod, process};
///
/// #[process]
/// fn describe() -> String {
///     let home = std::env::var("HOME").unwrap_or_default();
///     format!("{} at {home}", offspring::current().name())
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut builder = Builder::new();
/// builder.name("guest").env("HOME", "/nowhere").start_method(StartMethod::Spawn);
/// assert_eq!(builder.spawn(describe())?.join()?, "guest at /nowhere");
/// assert_eq!(builder.spawn(describe())?.join()?, "guest at /nowhere");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until it spawns a process"]
pub struct Builder {
    name: Option<String>,
    daemon: Option<bool>,
    detached: bool,
    start_method: Option<StartMethod>,
    clear_env: bool,
    env: Vec<(OsString, Option<OsString>)>,
    current_dir: Option<PathBuf>,
    memory_limit: Option<u64>,
    stdio: [Stdio; 3],
}

impl Builder {
    /// A builder that starts processes as [`spawn`](crate::spawn) does.
    pub fn new() -> Self {
        Self::default()
    }

    /// The process's name, in messages and, cut to 15 bytes, in `ps` and `top`. By default the
    /// name of its function or struct with a number, `square-1`. Names need not be unique.
    pub fn name(&mut self, name: impl Into<String>) -> &mut Self {
        self.name = Some(name.into());
        self
    }

    /// Whether it is a daemon: one that this process ends at its own exit, by SIGTERM and after a
    /// second by SIGKILL, where it waits for others. By default, whether this process is one.
    ///
    /// Unlike Python's, a daemon may start processes; they end with it. One that is
    /// [detached](Self::detached) as well is not ended.
    pub fn daemon(&mut self, daemon: bool) -> &mut Self {
        self.daemon = Some(daemon);
        self
    }

    /// Whether it lives on when this process ends, however that may be. By default it does not: it
    /// is waited for at an orderly exit, and killed if this process dies in any other way.
    ///
    /// A detached process is in a session of its own, so that Ctrl-C in the terminal does not
    /// reach it. Starting one waits until it has let go of this process.
    pub fn detached(&mut self, detached: bool) -> &mut Self {
        self.detached = detached;
        self
    }

    /// How the process is made. By default by the method that [`set_start_method`] has set.
    pub fn start_method(&mut self, method: StartMethod) -> &mut Self {
        self.start_method = Some(method);
        self
    }

    /// Sets an environment variable of the process.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.env.push((key.as_ref().into(), Some(value.as_ref().into())));
        self
    }

    /// Sets environment variables of the process.
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Self {
        for (key, value) in vars {
            self.env(key, value);
        }
        self
    }

    /// Keeps an environment variable from the process. By default it has all of this process's.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.env.push((key.as_ref().into(), None));
        self
    }

    /// Keeps all of this process's environment variables from the process, and forgets those set
    /// so far.
    pub fn env_clear(&mut self) -> &mut Self {
        self.clear_env = true;
        self.env.clear();
        self
    }

    /// The working directory of the process. By default it is this process's.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.current_dir = Some(dir.as_ref().into());
        self
    }

    /// The most memory the process may map, in bytes (its address space, `RLIMIT_AS`).
    ///
    /// An allocation beyond it fails, which Rust answers by ending the process (SIGABRT). The
    /// program itself and the C library take some of it: leave some tens of MiB. The limit holds
    /// for the process's own children as well. By default none is set.
    pub fn memory_limit(&mut self, bytes: u64) -> &mut Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// What the process reads on its standard input. By default what this process does.
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio[0] = stdio.into();
        self
    }

    /// Where the process's standard output goes. By default where this process's does.
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio[1] = stdio.into();
        self
    }

    /// Where the process's standard error goes. By default where this process's does.
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio[2] = stdio.into();
        self
    }

    /// Starts a process, and returns at once.
    ///
    /// # Errors
    /// As [`spawn`](crate::spawn), and [`Error::Unusable`] for a name or a variable that the system
    /// cannot take, [`Error::Os`] for a working directory that cannot be entered.
    pub fn spawn<P: Process>(&self, process: P) -> Result<Child<P::Output>> {
        launch::check()?;
        let entry = <P as Registered>::entry();
        let name = self.name.clone().unwrap_or_else(|| entry.next_name());
        check("the name of a process", OsStr::new(&name), &[0])?;
        let env = self.environment()?;
        let dir = match &self.current_dir {
            None => None,
            Some(dir) => Some(open_dir(dir)?),
        };
        let [stdin, stdout, stderr] = [0, 1, 2].map(|n| Stream::open(&self.stdio[n], n as i32));
        let streams = [stdin?, stdout?, stderr?];
        let daemon = self.daemon.unwrap_or_else(|| identity::current().is_daemon());

        let method = self.start_method.unwrap_or_else(start_method);
        let mut instructions = Instructions {
            entry: registry::index_of(entry)?,
            path: entry.path().into(),
            name: name.clone(),
            parent_name: identity::current().name().into(),
            parent_pid: std::process::id(),
            daemon,
            detached: self.detached,
            start_method: start_method().index(),
            memory_limit: self.memory_limit,
            env: None,
            stdio: [0, 1, 2].map(|n: usize| streams[n].childs().is_some()),
            dir: false,
        };
        // The process is serialised once, before anything is started for it.
        let mut argument = Vec::new();
        let attached = wire::encode(&process, &mut argument)
            .map_err(|source| Error::Encode { process: name.clone(), source })?;
        // Its handles have gone with it. Were they still here, a fork would hold them as well.
        drop(process);
        table::sweep_sometimes();

        let private: Vec<_> = streams
            .iter()
            .flat_map(Stream::made)
            .chain(attached.fds().iter().map(AsFd::as_fd))
            .chain(dir.iter().map(AsFd::as_fd))
            .collect();
        let started = deliver(method, self.detached, &name, &env, &private, |started| {
            instructions.env = started
                .needs_env
                .then(|| env.iter().map(|(key, value)| (bytes_of(key), bytes_of(value))).collect());
            let here;
            let dir = match &dir {
                Some(dir) => Some(dir.as_fd()),
                None if started.needs_dir => {
                    here = open_dir(Path::new("."))?;
                    Some(here.as_fd())
                }
                None => None,
            };
            instructions.dir = dir.is_some();
            let mut packet = Vec::with_capacity(256 + argument.len());
            instructions
                .encode(&mut packet)
                .map_err(|source| Error::Encode { process: name.clone(), source })?;
            packet.extend_from_slice(&argument);
            let stdio = streams.each_ref().map(Stream::childs);
            let equipment = Equipment { stdio, dir };
            Instructions::send(started.channel.as_fd(), &packet, equipment, attached.fds())
                .map_or_else(
                    |failure| match failure {
                        SendFailure::Disconnected => Ok(false),
                        other => {
                            Err(Error::os(format!("pass process '{name}' its arguments"), other))
                        }
                    },
                    |()| Ok(true),
                )
        })?;
        attached.sent();
        let Started { pid, pidfd, channel, lifeline, .. } = started;
        let handle = table::insert(|id| Shared {
            name,
            pid,
            daemon,
            detached: self.detached,
            pidfd,
            channel: Endpoint::new(channel),
            lifeline: Endpoint::new(lifeline),
            end: Mutex::new(None),
            id,
        });
        let [stdin, stdout, stderr] = streams.map(|stream| stream.ours);
        Ok(Child::new(
            handle,
            stdin.map(Into::into),
            stdout.map(Into::into),
            stderr.map(Into::into),
        ))
    }

    /// The environment the process is to have.
    fn environment(&self) -> Result<Environment> {
        let mut env: Environment =
            if self.clear_env { Environment::new() } else { std::env::vars_os().collect() };
        for (key, value) in &self.env {
            check("the name of a variable", key, b"\0=")?;
            env.retain(|(known, _)| known != key);
            if let Some(value) = value {
                check("the value of a variable", value, &[0])?;
                env.push((key.clone(), value.clone()));
            }
        }
        Ok(env)
    }
}

/// How many children that were made ahead may turn out to be dead before that is an error.
const ATTEMPTS: usize = 4;

/// Makes a child and gives it its instructions.
///
/// A child of the fork server was made ahead, and something may have killed it since: it never
/// began, so another takes its place.
fn deliver(
    method: StartMethod,
    detached: bool,
    name: &str,
    env: &Environment,
    private: &[BorrowedFd<'_>],
    mut instruct: impl FnMut(&Started) -> Result<bool>,
) -> Result<Started> {
    let mut attempts = 0;
    loop {
        let started = launch::start(method, work::PROGRAM, name, env, private)?;
        let delivered = instruct(&started);
        if let Ok(true) = delivered {
            if method == StartMethod::ForkServer {
                launch::make_one_ahead();
            }
            if detached {
                // Or it would be lost if this process ended right now.
                let _ = lifeline::await_untied(started.lifeline.as_fd(), started.pidfd.as_fd());
            }
            return Ok(started);
        }
        // It is dead, or of no use.
        let Started { pid, pidfd, channel, lifeline, .. } = started;
        drop((channel, lifeline));
        let status = pidfd::end(pidfd.as_fd());
        delivered?;
        attempts += 1;
        if attempts == ATTEMPTS {
            return Err(Error::DiedAtStart { process: name.into(), pid, status });
        }
    }
}

fn check(what: &'static str, text: &OsStr, refused: &[u8]) -> Result<()> {
    let bad = refused.contains(&b'=') && text.is_empty();
    if bad || text.as_bytes().iter().any(|byte| refused.contains(byte)) {
        return Err(Error::Unusable {
            what: what.into(),
            text: text.to_string_lossy().into_owned(),
        });
    }
    Ok(())
}

fn open_dir(dir: &Path) -> Result<OwnedFd> {
    check("the path of a directory", dir.as_os_str(), &[0])?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    fd::retry(|| open(dir, flags, Mode::empty()))
        .and_then(fd::above_stdio)
        .map_err(|error| Error::os(format!("enter the directory {}", dir.display()), error))
}

static START_METHOD: AtomicU8 = AtomicU8::new(0);

/// Sets how processes are started from now on, unless their [`Builder`] says otherwise.
///
/// It holds for this process and for those it starts from now on. Unlike Python's
/// `set_start_method`, it can be called at any time and any number of times.
pub fn set_start_method(method: StartMethod) {
    START_METHOD.store(method.index(), Ordering::Relaxed);
}

/// How processes are started: [`StartMethod::ForkServer`], unless [`set_start_method`] was called
/// here or in a process that this one descends from.
pub fn start_method() -> StartMethod {
    StartMethod::from_index(START_METHOD.load(Ordering::Relaxed))
}
