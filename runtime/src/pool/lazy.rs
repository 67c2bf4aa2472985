//! Maps whose inputs are taken as they are needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::iter::FusedIterator;

use super::batch::Inbox;
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

/// Outcomes, by the index of their input.
type Come<T> = BTreeMap<usize, Result<T, TaskError>>;

/// Which inputs' outcomes were given: those of all before one, and of some beyond it.
#[derive(Debug, Default)]
struct Given {
    before: usize,
    beyond: BTreeSet<usize>,
}

impl Given {
    fn len(&self) -> usize {
        self.before + self.beyond.len()
    }

    fn add(&mut self, index: usize) {
        if index != self.before {
            self.beyond.insert(index);
            return;
        }
        self.before += 1;
        while self.beyond.remove(&self.before) {
            self.before += 1;
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
    /// Inputs whose tasks could not be encoded. (Here, as the next input may panic.)
    failed: Vec<(usize, String)>,
    given: Given,
    /// A value's `Deserialize` has panicked, and what came with it is lost: nothing more is given.
    broken: bool,
    window: Window,
    /// Where what comes is fetched to: kept, so that there is room.
    inbox: Inbox,
    /// What has come and was not given.
    come: Come<P::Output>,
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
            failed: Vec::new(),
            given: Given::default(),
            broken: false,
            window,
            inbox: Inbox::default(),
            come: BTreeMap::new(),
        }
    }

    /// Takes inputs until the window is full.
    fn fill(&mut self) {
        let Some(inputs) = &mut self.inputs else { return };
        let mut ended = false;
        while self.feed.next() - self.given.len() < self.window.len() && self.feed.len() < HAND_OVER
        {
            let Some(input) = inputs.next() else {
                ended = true;
                break;
            };
            let index = self.feed.next();
            if let Err(reason) = self.feed.add(&(self.task)(input)) {
                self.failed.push((index, reason));
            }
        }
        if ended {
            self.inputs = None;
        }
        if ended || self.feed.len() > 0 || !self.failed.is_empty() {
            hand_over(self.pool.core(), &self.ticket, &mut self.feed, &mut self.failed, ended);
        }
    }

    /// Waits until `take` has found what it wants in what has come; `None` at the end.
    fn next(
        &mut self,
        take: impl Fn(&mut Come<P::Output>) -> Option<(usize, Result<P::Output, TaskError>)>,
    ) -> Option<Result<P::Output, TaskError>> {
        if self.broken {
            return None;
        }
        let id = self.ticket.id;
        loop {
            if let Some((index, result)) = take(&mut self.come) {
                self.given.add(index);
                return Some(result);
            }
            if self.inputs.is_none() && self.given.len() >= self.feed.next() {
                return None;
            }
            self.fill();
            if self.inputs.is_none() && self.given.len() >= self.feed.next() {
                return None;
            }
            let waited = std::cell::Cell::new(false);
            let inbox = &mut self.inbox;
            let came = self.pool.core().wait_for(Wait::Forever, Some(id), |desks| {
                let batch = desks.state.batch(id)?;
                if batch.inbox.is_empty() && !batch.is_done() {
                    waited.set(true);
                    return None;
                }
                std::mem::swap(&mut batch.inbox, inbox);
                Some((batch.ending.clone(), batch.may_have_run))
            });
            let Some((ending, may_have_run)) = came else { continue };
            // The workers were quicker than this one: they are given more at a time.
            if !waited.get() {
                self.window.grow();
            }
            let ticket = self.ticket;
            self.broken = true;
            let Self { inbox, come, .. } = self;
            inbox.drain(|came| {
                decode(
                    came,
                    |index| ticket.task(index),
                    |index, result| drop(come.insert(index, result)),
                );
            });
            self.broken = false;
            if let Some(ending) = ending {
                // Whatever is missing will not come.
                self.inputs = None;
                for index in self.given.before..self.feed.next() {
                    if self.given.beyond.contains(&index) {
                        continue;
                    }
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
        let taken = self.feed.next() - self.given.len();
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
        let next = self.lazy.next(|come| come.remove_entry(&wanted))?;
        self.next += 1;
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lazy.size_hint()
    }
}

impl<P, F, I> FusedIterator for Imap<'_, P, F, I>
where
    P: Process,
    F: FnMut(I::Item) -> P,
    I: Iterator,
{
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
        self.lazy.next(Come::pop_first)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lazy.size_hint()
    }
}

impl<P, F, I> FusedIterator for ImapUnordered<'_, P, F, I>
where
    P: Process,
    F: FnMut(I::Item) -> P,
    I: Iterator,
{
}
