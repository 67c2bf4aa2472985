//! The fork server, from inside: a loop that makes one waiting child for each request.
//!
//! It has one thread, touches little memory (each page that it dirties, each child pays for), and
//! holds no descriptor but its socket, so that no end of file anywhere waits for it.

#![allow(unsafe_code)]

use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{ChildMain, Origin, Ties};
use crate::sys;
use crate::sys::clone::{Cloned, Cloner};
use crate::sys::{lifeline, socket};

/// What the server answers a request with; descriptors go beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// A new child of this number; beside it, its channel, its lifeline and its pidfd.
    Child(u32),
    /// There is none, for this reason.
    Failed(Errno),
}

impl Answer {
    pub(super) const LEN: usize = 5;

    fn to_bytes(self) -> [u8; Self::LEN] {
        let (tag, value) = match self {
            Self::Child(pid) => (0, pid),
            Self::Failed(errno) => (1, errno as i32 as u32),
        };
        let [a, b, c, d] = value.to_le_bytes();
        [tag, a, b, c, d]
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[tag], value) = bytes.split_first_chunk()?;
        let value = u32::from_le_bytes(value.try_into().ok()?);
        match tag {
            0 => Some(Self::Child(value)),
            1 => Some(Self::Failed(Errno::from_raw(value as i32))),
            _ => None,
        }
    }
}

/// Serves until the parent's end of the channel closes. Returns in no process: a child runs
/// `child_main`, and the server exits.
pub(super) fn serve(ties: Ties, cloner: Cloner, child_main: ChildMain) -> ! {
    // Its socket's end would do, were it not that a stopped server cannot see it.
    let _ = lifeline::tie(ties.lifeline.as_fd());
    // What initialisers have left in a buffer, each child would print.
    let _ = std::io::stdout().flush();
    sys::startup::flush_c_streams();
    if let Ok(null) = sys::fd::null() {
        for number in sys::fd::STDIO {
            let _ = sys::fd::become_standard(null.as_fd(), number);
        }
    }
    // Ctrl-C and the like are for the program, and for children once they have their work. And
    // whatever ends a program does not end this one: it ends with its parent, and only then.
    sys::signal::leave_process_group();
    sys::signal::put_off_endings();
    sys::startup::name_thread("offspring-fork");
    let mut request = Vec::with_capacity(1);
    loop {
        request.clear();
        // Any descriptor that came along is dropped at once.
        match socket::recv(ties.channel.as_fd(), &mut request, &mut Vec::new(), true) {
            Ok(received) if received.len > 0 => {}
            _ => sys::signal::exit_now(0), // the parent is gone, or has no use for us
        }
        match make_child(&cloner) {
            Made::Child(childs) => {
                sys::signal::let_endings_through();
                drop(ties);
                child_main(childs, Origin::Fresh)
            }
            Made::Answer(answer, fds) => {
                let send = |answer: Answer, fds: &[BorrowedFd<'_>]| {
                    let bytes = answer.to_bytes();
                    socket::send(ties.channel.as_fd(), &[IoSlice::new(&bytes)], fds, true)
                };
                let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                // A child that is not passed on sees its lifeline close, and is killed.
                let sent = send(answer, &fds).or_else(|errno| send(Answer::Failed(errno), &[]));
                if sent.is_err() {
                    sys::signal::exit_now(0);
                }
            }
        }
    }
}

/// What came of one request, on either side of the clone.
enum Made {
    Child(Ties),
    Answer(Answer, Vec<OwnedFd>),
}

fn make_child(cloner: &Cloner) -> Made {
    let failed = |errno| Made::Answer(Answer::Failed(errno), Vec::new());
    let pairs = socket::pair().and_then(|channel| Ok((channel, lifeline::pair()?)));
    let ((parents, channel), (held, lifeline)) = match pairs {
        Ok(pairs) => pairs,
        Err(errno) => return failed(errno),
    };
    // SAFETY: the server has one thread: that was seen before it said it was ready, and nothing
    // in this loop starts another.
    match unsafe { cloner.clone_sibling() } {
        Ok(Cloned::Child) => Made::Child(Ties { channel, lifeline }),
        Ok(Cloned::Parent(pid, pidfd)) => {
            Made::Answer(Answer::Child(pid), vec![parents, held, pidfd])
        }
        Err(errno) => failed(errno),
    }
}
