//! Maps whose inputs are taken as they are needed.

use std::collections::BTreeMap;
use std::fmt;

use super::error::TaskError;
use super::feed::{Feed, HAND_OVER, Ticket, forget, hand_over};
use super::job::decode;
use super::pool::Pool;
use crate::process::Process;
use crate::sys::poll::Wait;

/// How many inputs are taken ahead of the outcomes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Window {
    Fixed(usize),
    Growing(usize),
}

impl Window {
    /// The longest that one becomes by itself.
    const MAX: usize = 1 << 14;

    fn len(self) -> usize {
        match self {
            Self::Fixed(len) | Self::Growing(len) => len,
        }
    }

    fn grow(&mut self) {
        if let Self::Growing(len) = self {
            *len = (*len * 2).min(Self::MAX.max(*len));
        }
    }
}

/// A map whose inputs are taken as they are needed.
pub(super) struct Lazy<'a, P: Process, F, I> {
    pool: &'a Pool,
    ticket: Ticket,
    task: F,
    inputs: Option<I>,
    feed: Feed,
    /// How many outcomes were given.
    given: usize,
    window: Window,
    /// What has come and was not given.
    come: BTreeMap<usize, Result<P::Output, TaskError>>,
}

impl<'a, P, F, I> Lazy<'a, P, F, I>
where
    P: Process,
    F: FnMut(I::Item) -> P,
    I: Iterator,
{
    pub(super) fn new(pool: &'a Pool, ticket: Ticket, window: Window, task: F, inputs: I) -> Self {
        Self {
            pool,
            ticket,
            task,
            inputs: Some(inputs),
            feed: Feed::new(0),
            given: 0,
            window,
            come: BTreeMap::new(),
        }
    }

    /// Takes inputs until the window is full.
    fn fill(&mut self) {
        let Some(inputs) = &mut self.inputs else { return };
        let mut failed = Vec::new();
        let before = self.feed.next();
        let mut ended = false;
        while self.feed.next() - self.given < self.window.len() && self.feed.len() < HAND_OVER {
            let Some(input) = inputs.next() else {
                ended = true;
                break;
            };
            let index = self.feed.next();
            if let Err(reason) = self.feed.add(&(self.task)(input)) {
                failed.push((index, reason));
            }
        }
        if ended {
            self.inputs = None;
        }
        if ended || self.feed.next() > before {
            hand_over(self.pool.core(), &self.ticket, &mut self.feed, &mut failed, ended);
        }
    }

    /// Waits until `take` has found what it wants in what has come; `None` at the end.
    fn next(
        &mut self,
        take: impl Fn(
            &mut BTreeMap<usize, Result<P::Output, TaskError>>,
        ) -> Option<Result<P::Output, TaskError>>,
    ) -> Option<Result<P::Output, TaskError>> {
        let id = self.ticket.id;
        loop {
            if let Some(result) = take(&mut self.come) {
                self.given += 1;
                return Some(result);
            }
            if self.inputs.is_none() && self.given >= self.feed.next() {
                return None;
            }
            self.fill();
            if self.inputs.is_none() && self.given >= self.feed.next() {
                return None;
            }
            let waited = std::cell::Cell::new(false);
            let came = self.pool.core().wait_for(Wait::Forever, Some(id), |desks| {
                let batch = desks.state.batch(id)?;
                if batch.inbox.is_empty() && !batch.is_done() {
                    waited.set(true);
                    return None;
                }
                let inbox = std::mem::take(&mut batch.inbox);
                Some((inbox, batch.ending.clone(), batch.may_have_run))
            });
            let Some((inbox, ending, may_have_run)) = came else { continue };
            // The workers were quicker than this one: they are given more at a time.
            if !waited.get() {
                self.window.grow();
            }
            let ticket = self.ticket;
            let come = std::cell::RefCell::new(&mut self.come);
            inbox.each(
                |index, bytes, fds| {
                    come.borrow_mut().insert(index, decode(ticket.task(index), bytes, fds));
                },
                |index, error| drop(come.borrow_mut().insert(index, Err(error))),
            );
            if let Some(ending) = ending {
                // Whatever is missing will not come.
                self.inputs = None;
                for index in self.given..self.feed.next() {
                    let error = || Err(ending.error(ticket.task(index), may_have_run));
                    self.come.entry(index).or_insert_with(error);
                }
                if self.come.is_empty() {
                    return None;
                }
            }
        }
    }
}

impl<P: Process, F, I> Lazy<'_, P, F, I> {
    fn size_hint(&self) -> (usize, Option<usize>)
    where
        I: Iterator,
    {
        let taken = self.feed.next() - self.given;
        match &self.inputs {
            None => (taken, Some(taken)),
            Some(inputs) => {
                let (low, high) = inputs.size_hint();
                (low.saturating_add(taken), high.and_then(|high| high.checked_add(taken)))
            }
        }
    }
}

impl<P: Process, F, I> Drop for Lazy<'_, P, F, I> {
    fn drop(&mut self) {
        forget(self.pool.core(), self.ticket);
    }
}

/// The outcomes of a map in the order of its inputs: from [`Pool::imap`].
#[must_use = "an iterator does nothing until it is asked"]
pub struct Imap<'a, P: Process, F, I> {
    lazy: Lazy<'a, P, F, I>,
    next: usize,
}

impl<'a, P: Process, F, I> Imap<'a, P, F, I> {
    pub(super) fn new(lazy: Lazy<'a, P, F, I>) -> Self {
        Self { lazy, next: 0 }
    }
}

impl<P: Process, F, I> fmt::Debug for Imap<'_, P, F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("process", &self.lazy.ticket.process).finish_non_exhaustive()
    }
}

impl<P, F, I> Iterator for Imap<'_, P, F, I>
where
    P: Process,
    F: FnMut(I::Item) -> P,
    I: Iterator,
{
    type Item = Result<P::Output, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let wanted = self.next;
        let next = self.lazy.next(|come| come.remove(&wanted))?;
        self.next += 1;
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lazy.size_hint()
    }
}

/// The outcomes of a map as they come: from [`Pool::imap_unordered`].
///
/// Which input an outcome is for, an error [tells](TaskError::task); a value has to hold it itself.
#[must_use = "an iterator does nothing until it is asked"]
pub struct ImapUnordered<'a, P: Process, F, I> {
    lazy: Lazy<'a, P, F, I>,
}

impl<'a, P: Process, F, I> ImapUnordered<'a, P, F, I> {
    pub(super) fn new(lazy: Lazy<'a, P, F, I>) -> Self {
        Self { lazy }
    }
}

impl<P: Process, F, I> fmt::Debug for ImapUnordered<'_, P, F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered")
            .field("process", &self.lazy.ticket.process)
            .finish_non_exhaustive()
    }
}

impl<P, F, I> Iterator for ImapUnordered<'_, P, F, I>
where
    P: Process,
    F: FnMut(I::Item) -> P,
    I: Iterator,
{
    type Item = Result<P::Output, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.lazy.next(|come| come.pop_first().map(|(_, result)| result))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lazy.size_hint()
    }
}
