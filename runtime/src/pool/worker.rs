//! The worker: a process that claims chunks of tasks, runs them, and replies.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::arena::Reader;
use super::board::{Board, Chunk, Claimed};
use super::desk::{Desk, REPLY_MAX};
use super::reply::{Claim, End, Reply, Times};
use crate::process::Process;
use crate::process::registry::{self, Ended, Entry, Registered, Registration, Tasks};
use crate::ring::Store;
use crate::shm::object::Object;
use crate::sys::poll::Wait;
use crate::sys::{clock, event, fd, memory, signal};
use crate::wire::endpoint::Endpoint;
use crate::wire::{self, Fd, Kind};

/// A packet between a worker and its parent: a task on its way, or a reply's payload.
pub(super) const PACKET: Kind = Kind(b'T');

/// What holds for every worker of a pool.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Rules {
    /// It leaves after so many tasks.
    pub(super) max_tasks: Option<u32>,
    /// It leaves when it has more memory than this, in bytes.
    pub(super) max_memory: Option<u64>,
    /// It leaves when it had nothing to do for so long.
    pub(super) idle_timeout: Option<Duration>,
    /// Tasks have a time limit.
    pub(super) timed: bool,
    /// The processors that it may run on.
    pub(super) affinity: Option<Vec<usize>>,
}

/// A process's value in its serialised form.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) entry: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) fds: Vec<Fd<OwnedFd>>,
}

impl Call {
    pub(super) fn another(&self) -> nix::Result<Self> {
        let fds =
            self.fds.iter().map(|fd| fd::duplicate(fd).map(Fd::new)).collect::<Result<_, _>>();
        Ok(Self { entry: self.entry, bytes: self.bytes.clone(), fds: fds? })
    }

    /// Runs it; an error says why it failed.
    fn run(self) -> Result<(), String> {
        let Some(entry) = registry::entry(self.entry) else {
            return Err("this program has no such process".into());
        };
        let fds = self.fds.into_iter().map(Fd::into_inner).collect();
        match entry.run_into(&self.bytes, fds, &mut Vec::new()) {
            Ended::Value(_) => Ok(()),
            Ended::Panicked(report) => Err(report.describe()),
            Ended::Unencodable(reason) | Ended::Undecodable(reason) => Err(reason),
        }
    }
}

/// The work of a worker, as its parent sends it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Worker {
    pub(super) board: Object<Board, ()>,
    pub(super) arena: Fd<OwnedFd>,
    pub(super) bell: Fd<OwnedFd>,
    pub(super) socket: Fd<OwnedFd>,
    pub(super) desk: u32,
    pub(super) rules: Rules,
    pub(super) initializer: Option<Call>,
    pub(super) finalizer: Option<Call>,
}

static ENTRY: Entry =
    Entry::new::<Worker>("offspring::pool::Worker", "pool-worker", "", file!(), line!(), column!());

impl Registered for Worker {
    fn entry() -> &'static Entry {
        &ENTRY
    }
}

inventory::submit! { Registration(&ENTRY) }

impl Process for Worker {
    type Output = ();

    fn run(self) {
        let Self { board, arena, bell, socket, desk, rules, initializer, finalizer } = self;
        signal::outlive_interrupts();
        if let Some(processors) = &rules.affinity {
            let mut set = CpuSet::new();
            // A number that no machine has is left out, as is one that this machine has not.
            for processor in processors {
                let _ = set.set(*processor);
            }
            let _ = sched_setaffinity(Pid::from_raw(0), &set);
        }
        let place = Place::take(board, desk as usize);
        let Some(own) = place.desk() else { return };
        let worker = Shift {
            board: place.board.state(),
            desk: own,
            number: place.number,
            arena: Reader(Store::of(arena.into_inner()).read_only()),
            bell: Endpoint::new(bell.into_inner()),
            socket: Endpoint::new(socket.into_inner()),
            rules: &rules,
            claimed: Cell::new(0),
            head: Cell::new(0),
            last_call: Cell::new(clock::now()),
            last_look: Cell::new(0),
            look_after: Cell::new(1),
            since_look: Cell::new(0),
        };
        if let Some(Err(reason)) = initializer.map(Call::run) {
            let reason = reason.as_bytes();
            // In the ring, so that it comes in any case.
            worker.leave(Reply::Useless, &reason[..reason.len().min(REPLY_MAX)], &[]);
            worker.call();
            return;
        }
        own.ready.store(1, Ordering::SeqCst);
        worker.work();
        // Nobody waits for what comes of it. A panic was printed.
        let _ = finalizer.map(Call::run);
    }
}

/// The board, and which of its desks, of the pool that this process is a worker of.
#[derive(Debug)]
pub(super) struct Place {
    board: Object<Board, ()>,
    number: usize,
}

/// Null in a process that is no worker. A copy of a worker may be a worker of another pool: then it is that one's.
static PLACE: AtomicPtr<Place> = AtomicPtr::new(ptr::null_mut());

impl Place {
    /// Makes this process the worker of this desk, for as long as it lives.
    fn take(board: Object<Board, ()>, number: usize) -> &'static Self {
        let place: &'static Self = Box::leak(Box::new(Self { board, number }));
        PLACE.store(ptr::from_ref(place).cast_mut(), Ordering::Release);
        place
    }

    /// Where this process is at work.
    pub(super) fn own() -> Option<&'static Self> {
        // SAFETY: it is null, or what `take` has stored: of a shared reference that lives for ever.
        unsafe { PLACE.load(Ordering::Acquire).as_ref() }
    }

    pub(super) fn desk(&self) -> Option<&Desk> {
        self.board.tail().get(self.number)
    }
}

/// Whether the task that this process runs for a [`Pool`](crate::Pool) has run for longer than its
/// [`soft_timeout`](crate::PoolBuilder::soft_timeout). False where there is none.
///
/// It costs a few instructions, and can be asked from any thread of the worker.
pub fn is_overdue() -> bool {
    Place::own().and_then(Place::desk).is_some_and(Desk::is_overdue)
}

/// One worker at its desk.
struct Shift<'a> {
    board: &'a Board,
    desk: &'a Desk,
    number: usize,
    arena: Reader,
    bell: Endpoint,
    socket: Endpoint,
    rules: &'a Rules,
    /// How many chunks it has claimed.
    claimed: Cell<u32>,
    /// How far the parent had come with the replies, at the last look.
    head: Cell<u32>,
    /// When the parent was last told that there are replies.
    last_call: Cell<u64>,
    /// When the clock was last looked at.
    last_look: Cell<u64>,
    /// After how many tasks the clock is looked at, and how many there were since.
    look_after: Cell<u32>,
    since_look: Cell<u32>,
}

/// So long a reply may lie there while others are added to it, in nanoseconds.
const BATCHED: u64 = 500_000;
/// Looking at the clock is worth it once in so many nanoseconds.
const LOOK: u64 = 20_000;

impl Shift<'_> {
    /// Claims chunks and runs them, until it is time to leave.
    fn work(&self) {
        let mut left = self.rules.max_tasks.unwrap_or(u32::MAX);
        let mut out = Vec::new();
        let mut known = None;
        let mut ended = None;
        while let Some(Claimed { seq, chunk, at_once }) =
            self.board.await_chunk(self.number, self.rules.idle_timeout)
        {
            // Most chunks are of the same process as the one before.
            if known.is_none_or(|(process, _)| process != chunk.process) {
                known = registry::entry(chunk.process).map(|entry| (chunk.process, entry));
            }
            let entry = known.map(|(_, entry)| entry);
            // One that follows at once begins when the one before has ended.
            let began = ended.filter(|_| at_once).unwrap_or_else(clock::now);
            let done = self.run_chunk(seq, chunk, entry, left, began, &mut out);
            ended = Some(self.last_call.get());
            if self.rules.max_tasks.is_some() {
                left = left.saturating_sub(done);
            }
            let grown = || self.rules.max_memory.is_some_and(|max| memory::own() > Some(max));
            if left == 0 || grown() {
                return;
            }
        }
    }

    /// Runs the tasks of a chunk, up to `most`; says how many it has run.
    fn run_chunk(
        &self,
        seq: u32,
        chunk: Chunk,
        entry: Option<&'static Entry>,
        most: u32,
        began: u64,
        out: &mut Vec<u8>,
    ) -> u32 {
        self.last_look.set(began);
        self.since_look.set(0);
        self.claimed.set(self.claimed.get().wrapping_add(1));
        self.leave(Reply::Claimed, &Claim { seq, number: self.claimed.get() }.to_bytes(), &[]);
        let done = match (entry, chunk.count) {
            (None, count) => self.refuse(count.unwrap_or(1), "this program has no such process"),
            (Some(entry), None) => self.run_beside(seq, entry, out),
            (Some(entry), Some(count)) => match self.arena.bytes(chunk.at, chunk.len as usize) {
                Ok(tasks) => {
                    let most = count.min(most);
                    let mut run = Run { shift: self, seq, tasks, done: 0, most };
                    entry.run_all(&mut run, out);
                    run.done
                }
                Err(error) => {
                    let limit = "is the pool's `memory_limit` too low?";
                    self.refuse(
                        count,
                        &format!("its arguments cannot be mapped: {error} ({limit})"),
                    )
                }
            },
        };
        let times = Times { began, ended: clock::now() };
        self.leave(Reply::End, &End { seq, times }.to_bytes(), &[]);
        self.last_call.set(times.ended);
        self.call();
        done
    }

    /// Says of all tasks of a chunk why they cannot be run.
    fn refuse(&self, count: u32, reason: &str) -> u32 {
        for _ in 0..count {
            self.leave(Reply::Undecodable, reason.as_bytes(), &[]);
        }
        count
    }

    /// Asks for the one task of a chunk, and runs it.
    fn run_beside(&self, seq: u32, entry: &Entry, out: &mut Vec<u8>) -> u32 {
        self.leave(Reply::Wanted, &[], &[]);
        self.call();
        let ran = wire::recv(self.socket.as_fd(), Wait::Forever, |packet| {
            out.clear();
            self.begin(seq, 0);
            self.ended(entry.run_into(packet.payload, packet.fds, out), out);
        });
        if let Err(failure) = ran {
            let reason = failure.to_string();
            self.leave(Reply::Undecodable, reason.as_bytes(), &[]);
        }
        1
    }

    /// A task is about to run.
    #[inline]
    fn begin(&self, seq: u32, index: u32) {
        if self.rules.timed {
            self.desk.since.store(clock::now(), Ordering::SeqCst);
        }
        self.desk.begin(seq, index, index == 0 || self.rules.timed);
    }

    /// It has ended.
    #[inline]
    fn ended(&self, ended: Ended, value: &[u8]) {
        match ended {
            Ended::Value(attached) => {
                self.leave(Reply::Value, value, attached.fds());
                attached.sent(); // or it is gone with this process
            }
            Ended::Panicked(report) => self.leave(Reply::Panicked, &report.to_bytes(), &[]),
            Ended::Unencodable(why) => self.leave(Reply::Unencodable, why.as_bytes(), &[]),
            Ended::Undecodable(why) => self.leave(Reply::Undecodable, why.as_bytes(), &[]),
        }
    }

    /// Leaves a reply: what does not fit into the ring goes through the socket, before its reply.
    #[inline]
    fn leave(&self, reply: Reply, payload: &[u8], fds: &[OwnedFd]) {
        if payload.len() <= REPLY_MAX && fds.is_empty() {
            return self.desk.reply(&self.head, reply.code(false), payload, || self.call());
        }
        self.leave_beside(reply, payload, fds);
    }

    #[cold]
    fn leave_beside(&self, reply: Reply, payload: &[u8], fds: &[OwnedFd]) {
        let put = |reply: Reply, payload: &[u8], beside| {
            self.desk.reply(&self.head, reply.code(beside), payload, || self.call());
        };
        self.call(); // what is in the socket already may have to be taken first
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        match wire::send(self.socket.as_fd(), PACKET, payload, &fds, Wait::Forever) {
            Ok(()) => put(reply, &[], true),
            Err(failure) => {
                // No memory or descriptor for a large value: a small word still fits.
                let error = std::io::Error::from(failure);
                put(Reply::Unencodable, format!("it cannot be sent: {error}").as_bytes(), false);
            }
        }
    }

    /// Has the parent know of the replies now and then, where a chunk takes long.
    #[inline]
    fn call_sometimes(&self) {
        self.since_look.set(self.since_look.get() + 1);
        if self.since_look.get() >= self.look_after.get() {
            self.look_at_clock();
        }
    }

    #[cold]
    fn look_at_clock(&self) {
        let now = clock::now();
        let each = now.saturating_sub(self.last_look.get()) / u64::from(self.since_look.get());
        self.last_look.set(now);
        self.since_look.set(0);
        self.look_after.set((LOOK / each.max(1)).clamp(1, 256) as u32);
        if now - self.last_call.get() >= BATCHED {
            self.last_call.set(now);
            self.call();
        }
    }

    fn call(&self) {
        if self.board.call() && event::ring(&self.bell).is_err() {
            // A task has closed descriptors that are not its own. The end of this process is heard.
            signal::exit_now(1);
        }
    }
}

/// The tasks of one chunk, as they are run.
struct Run<'a> {
    shift: &'a Shift<'a>,
    seq: u32,
    tasks: &'a [u8],
    /// How many have ended, and how many may.
    done: u32,
    most: u32,
}

impl<'a> Tasks<'a> for Run<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.done >= self.most || self.done > 0 && self.shift.desk.is_stopped(self.seq) {
            return None;
        }
        let task = next_task(&mut self.tasks)?;
        self.shift.begin(self.seq, self.done);
        Some(task)
    }

    fn ended(&mut self, ended: Ended, value: &[u8]) {
        self.shift.ended(ended, value);
        self.done += 1;
        self.shift.call_sometimes();
    }
}

/// The next of a chunk's tasks, each of which has its length before it.
#[inline]
pub(super) fn next_task<'a>(tasks: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = tasks.split_first_chunk()?;
    let (task, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *tasks = rest;
    Some(task)
}
