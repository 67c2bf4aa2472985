//! Whether anybody else has a handle to a queue: any other process, or a message on its way.
//!
//! Each process that has one has a *token*, an `eventfd` of its own, and so has each message with a
//! handle in it. All tokens are in one `epoll` instance, which all share. The kernel takes a token out of
//! it when nobody has that token any more, however that came about; and as a token is always ready to
//! be written, `epoll_wait` tells those that are left.
//!
//! References: `epoll(7)`, questions 6 and 7; `eventfd(2)`.

use std::os::fd::OwnedFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::sys::event::new_event;
use crate::sys::fd::above_stdio;
use crate::wire::endpoint::Endpoint;

#[derive(Debug)]
pub(super) struct Presence {
    /// All tokens that there are.
    tokens: Epoll,
    /// This process's.
    _own: Endpoint,
}

impl Presence {
    pub(super) fn new() -> nix::Result<Self> {
        let tokens = Epoll(above_stdio(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?.0)?);
        let own = token(&tokens)?;
        Ok(Self { tokens, _own: Endpoint::new(own) })
    }

    /// What has come in a message.
    pub(super) fn of(tokens: OwnedFd, own: OwnedFd) -> Self {
        Self { tokens: Epoll(tokens), _own: Endpoint::new(own) }
    }

    pub(super) fn tokens(&self) -> &OwnedFd {
        &self.tokens.0
    }

    /// A token for somebody else.
    pub(super) fn another(&self) -> nix::Result<OwnedFd> {
        token(&self.tokens)
    }

    /// Whether there are just so many tokens, this process's among them.
    pub(super) fn is(&self, count: usize) -> bool {
        let mut events = vec![EpollEvent::empty(); count + 1];
        // An error says nothing.
        self.tokens.wait(&mut events, EpollTimeout::ZERO) == Ok(count)
    }
}

fn token(tokens: &Epoll) -> nix::Result<OwnedFd> {
    let token = new_event()?;
    tokens.add(&token, EpollEvent::new(EpollFlags::EPOLLOUT, 0))?;
    Ok(token)
}
