//! The fork server, from outside: starting it, getting children from it, replacing it.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use super::reentry::Role;
use super::server::Answer;
use super::{Environment, Program, Started, execute, pidfd_of_new_child};
use crate::error::{Error, Result};
use crate::sys;
use crate::sys::identity::{Directory, Identity};
use crate::sys::poll::Wait;
use crate::sys::socket;

static SERVER: Mutex<Option<Server>> = Mutex::new(None);

fn server() -> MutexGuard<'static, Option<Server>> {
    SERVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What it is called in messages.
const NAME: &str = "fork server";

/// How often a server that died is replaced for one child before giving up.
const ATTEMPTS: usize = 3;

/// How many children are made ahead, at the most.
const MOST_AHEAD: usize = 2;

/// How long a server that may not be killed has to end by itself.
const MOMENT: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Server {
    socket: OwnedFd,
    lifeline: Option<OwnedFd>,
    pid: u32,
    pidfd: OwnedFd,
    /// What its children begin with, and so what they need not be told.
    env: Environment,
    dir: Option<Directory>,
    identity: Identity,
    /// Nobody is in its process group who has any work.
    alone: bool,
    /// How many children are being made, or wait in the socket.
    requested: usize,
    /// How many there should be.
    ahead: usize,
}

/// Why a server gave no child.
enum Lack {
    /// It has died. So another one may do better.
    Server,
    Child(Error),
}

/// Gets a child from the fork server.
pub(super) fn start(program: Program, env: &Environment) -> Result<Started> {
    let mut guard = server();
    let identity = Identity::now();
    if guard.as_ref().is_some_and(|server| server.identity != identity) {
        // A fork of the process that owns it, or one that has changed its user.
        *guard = None;
    }
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let is_new = guard.is_none();
        let server = match &mut *guard {
            Some(server) => server,
            none => match Server::launch(program, &identity) {
                Ok(server) => none.insert(server),
                // By somebody else, as it would be later. What it does itself it would do again.
                Err(error) if was_killed(&error) => {
                    last = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        match server.child() {
            Ok((pid, [channel, lifeline, pidfd])) => {
                // From the server's group, whose members nobody has any use for. If that cannot be
                // (a filter forbids it), the group is no longer what it was.
                server.alone &= sys::signal::adopt_from_process_group(server.pid, pid);
                let needs_env = server.env != *env;
                let needs_dir = server.dir.is_none() || server.dir != Directory::current();
                return Ok(Started { pid, pidfd, channel, lifeline, needs_env, needs_dir });
            }
            // An older one may be under limits that this process has left behind.
            Err(Lack::Child(error)) if is_new => return Err(error),
            Err(Lack::Child(_) | Lack::Server) => *guard = None,
        }
    }
    Err(last.unwrap_or_else(|| {
        Error::os("keep a fork server running: it is killed each time", Errno::EPIPE)
    }))
}

/// Whether a server was killed before it could begin.
fn was_killed(error: &Error) -> bool {
    let Error::DiedAtStart { status, .. } = error else { return false };
    status.and_then(|status| status.signal()) == Some(nix::libc::SIGKILL)
}

/// Has a child made ahead, for the next start. To be called when the last one has its work, so that
/// this does not hold it up.
pub(crate) fn make_one_ahead() {
    if let Some(server) = &mut *server() {
        server.request();
    }
}

/// Ends this process's fork server, if it has one. The next start brings a new one.
///
/// The server's children begin with what it has itself, from the moment it was started. So call this
/// after restricting this process in a way that they are to share: see
/// [`StartMethod::ForkServer`](crate::StartMethod::ForkServer). Children that were started already
/// are not touched.
///
/// ```
/// #[offspring::process]
/// fn limit() -> String {
///     std::fs::read_to_string("/proc/self/limits").unwrap_or_default()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // ... after, say, a call of `setrlimit`:
/// offspring::end_fork_server();
/// let limits = limit().spawn()?.join()?; // of a child that has the new limits
/// # Ok(())
/// # }
/// ```
pub fn end_fork_server() {
    *server() = None;
}

impl Server {
    fn launch(program: Program, identity: &Identity) -> Result<Self> {
        let env = std::env::vars_os().collect();
        let dir = Directory::current();
        let executed = execute::execute(program, Role::Server, NAME, &env)?;
        let pid = executed.pid;
        let (pidfd, socket, lifeline) =
            pidfd_of_new_child(NAME, pid, executed.channel, executed.lifeline)?;
        let identity = identity.clone();
        Ok(Self {
            socket,
            lifeline: Some(lifeline),
            pid,
            pidfd,
            env,
            dir,
            identity,
            alone: true,
            requested: 0,
            ahead: 1,
        })
    }

    /// Asks for children, unless enough are on their way.
    fn request(&mut self) {
        while self.requested < self.ahead {
            // A dead server cannot be asked, but a child of its may still be there: it is received.
            if socket::send(self.socket.as_fd(), &[IoSlice::new(&[0])], &[], true).is_err() {
                return;
            }
            self.requested += 1;
        }
    }

    /// The child that was made ahead, or one that is made now.
    fn child(&mut self) -> Result<(u32, [OwnedFd; 3]), Lack> {
        let asked_before = self.requested;
        self.request();
        // Where starts follow each other so closely that the next child is not there in time, one more
        // is made ahead.
        let is_late = asked_before > 0
            && !matches!(sys::poll::readable(self.socket.as_fd(), Wait::Never), Ok(true));
        self.ahead = if is_late { MOST_AHEAD } else { self.ahead };
        // What was asked for before may have failed long ago. The one after that is how it is now.
        for _ in 0..asked_before {
            if let (Answer::Child(pid), fds) = self.next_answer()? {
                return Self::accept(pid, fds);
            }
        }
        self.request();
        match self.next_answer()? {
            (Answer::Child(pid), fds) => Self::accept(pid, fds),
            (Answer::Failed(errno), _) => {
                Err(Lack::Child(Error::os("fork a child in the fork server", errno)))
            }
        }
    }

    fn next_answer(&mut self) -> Result<(Answer, Vec<OwnedFd>), Lack> {
        let mut bytes = Vec::with_capacity(Answer::LEN);
        let mut fds = Vec::new();
        let received = socket::recv(self.socket.as_fd(), &mut bytes, &mut fds, true);
        self.requested = self.requested.saturating_sub(1);
        match received.map(|received| (received.fds_lost, Answer::from_bytes(&bytes))) {
            Ok((false, Some(answer))) => Ok((answer, fds)),
            Ok((true, Some(Answer::Child(pid)))) => {
                drop(fds); // the child's lifeline closes, and it is killed
                let _ = sys::pidfd::await_and_reap_by_number(pid);
                Err(Lack::Child(Error::os("take over a new child's descriptors", Errno::EMFILE)))
            }
            Ok(_) | Err(_) => Err(Lack::Server),
        }
    }

    fn accept(pid: u32, fds: Vec<OwnedFd>) -> Result<(u32, [OwnedFd; 3]), Lack> {
        fds.try_into().map(|fds| (pid, fds)).map_err(|_| Lack::Server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.identity.pid != std::process::id() {
            return; // a fork of its owner lets go of it
        }
        // The kernel kills the server by its lifeline, and the child that it has made ahead by that
        // child's, which is in the socket: whoever they have become, and if they are stopped, too.
        // They are alone in the server's group, known to us or not, so all of it can be reaped.
        drop(self.lifeline.take());
        let killed = sys::pidfd::send_signal(self.pidfd.as_fd(), nix::libc::SIGKILL).is_ok();
        let wait = if killed { Wait::Forever } else { Wait::at_most(MOMENT) };
        let _ = sys::poll::readable(self.pidfd.as_fd(), wait);
        let mut bytes = Vec::with_capacity(Answer::LEN);
        let mut fds = Vec::new();
        while socket::recv(self.socket.as_fd(), &mut bytes, &mut fds, false)
            .is_ok_and(|received| received.len > 0)
        {
            bytes.clear();
            if let Ok([channel, lifeline, pidfd]) =
                <[OwnedFd; 3]>::try_from(std::mem::take(&mut fds))
            {
                drop((channel, lifeline));
                sys::pidfd::end(pidfd.as_fd());
            }
        }
        // The number is the group's as long as its leader, which has ended, is not reaped.
        if self.alone && sys::pidfd::is_zombie(self.pidfd.as_fd()) {
            sys::pidfd::await_and_reap_group(self.pid);
        }
        let _ = sys::pidfd::reap(self.pidfd.as_fd());
    }
}
