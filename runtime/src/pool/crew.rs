//! The workers of a pool, as the parent knows them.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::libc;

use super::desk::Desk;
use super::dispatch;
use super::stats::WorkerRecord;
use super::worker::{PACKET, Rules};
use crate::process::Child;
use crate::sys::poll::Wait;
use crate::wire::endpoint::Endpoint;
use crate::wire::{Package, SendFailure};

/// After so many workers that were of no use, one after the other, the pool gives up.
const USELESS: u32 = 3;
/// So it does after so many that were killed before they got to work, where nothing of the user's runs
/// before that: then it was somebody else who killed them.
const KILLED: u32 = 100;

/// Why a worker is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sentence {
    TimedOut,
    Cancelled,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) child: Child<()>,
    pub(super) socket: Endpoint,
    /// The number of the chunk that it has in hand, by its replies.
    in_hand: Option<u32>,
    /// It is killed for this task: the chunk, the index in it.
    sentence: Option<(u32, u32, Sentence)>,
    /// How many chunks it has claimed.
    claimed: u32,
    /// What it has said makes no sense, so that nothing it says is believed any more.
    babbles: bool,
    /// Why it is of no use, as it has said.
    useless: Option<String>,
    pub(super) record: WorkerRecord,
}

impl Member {
    pub(super) fn new(child: Child<()>, socket: Endpoint, started: Instant) -> Self {
        let record = WorkerRecord::new(child.name(), child.pid(), started);
        Self {
            child,
            socket,
            in_hand: None,
            claimed: 0,
            sentence: None,
            babbles: false,
            useless: None,
            record,
        }
    }
}

#[derive(Debug)]
pub(super) struct Crew {
    /// By the number of the desk.
    members: Vec<Option<Member>>,
    /// How many there are to be.
    target: usize,
    rules: Rules,
    has_initializer: bool,
    /// Sentences on workers that are not known yet, as they are just being started: by the desk, with the
    /// chunk, and which of its tasks if it is only for that one.
    early: Vec<(usize, u32, Option<u32>, Sentence)>,
    /// How many were started and never got to work, one after the other.
    useless: u32,
    /// How many were ever started.
    pub(super) started: u64,
    /// How many could not be started, one after the other, while there was nobody.
    unstarted: u32,
    /// No other is started before this.
    try_again: Option<Instant>,
    /// Those that are being started.
    pub(super) starting: usize,
}

impl Crew {
    pub(super) fn new(target: usize, rules: Rules, has_initializer: bool) -> Self {
        Self {
            members: (0..target).map(|_| None).collect(),
            target,
            rules,
            has_initializer,
            early: Vec::new(),
            useless: 0,
            started: 0,
            unstarted: 0,
            try_again: None,
            starting: 0,
        }
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn target(&self) -> usize {
        self.target
    }

    pub(super) fn set_target(&mut self, target: usize) {
        self.target = target;
        if self.members.len() < target {
            self.members.resize_with(target, || None);
        }
    }

    /// Which of `desks` is this worker's, if there is one of that number: it may be what another process
    /// says, as may how long the slice is.
    pub(super) fn desk<'a>(&self, worker: usize, desks: &'a [Desk]) -> Option<&'a Desk> {
        desks.get(worker).filter(|_| worker < self.members.len())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.members.iter().flatten().count()
    }

    /// The desks that have somebody.
    pub(super) fn present(&self) -> impl Iterator<Item = usize> + '_ {
        self.members.iter().enumerate().filter(|(_, member)| member.is_some()).map(|(at, _)| at)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().flatten()
    }

    /// Free desks for those that are missing.
    pub(super) fn vacancies(&self) -> Vec<usize> {
        let missing = self.target.saturating_sub(self.len());
        let free = self.members.iter().enumerate().filter(|(_, member)| member.is_none());
        free.map(|(at, _)| at).take(missing).collect()
    }

    pub(super) fn insert(&mut self, worker: usize, member: Member) {
        self.started += 1;
        self.members[worker] = Some(member);
    }

    /// A worker could be started.
    pub(super) fn was_started(&mut self) {
        (self.unstarted, self.try_again) = (0, None);
    }

    /// One could not be, and is tried again after `pause`; says how often it was so, one after the other,
    /// while there was nobody.
    pub(super) fn could_not_start(&mut self, pause: Duration) -> u32 {
        self.try_again = Some(Instant::now() + pause);
        self.unstarted = if self.len() == 0 { self.unstarted + 1 } else { 0 };
        self.unstarted
    }

    /// How long nobody is to be started, if one could not be just now.
    pub(super) fn try_again_in(&self) -> Option<Duration> {
        let left = self.try_again?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// A worker that has ended goes; says how it ended, if it has.
    pub(super) fn status(&self, worker: usize) -> Option<Option<ExitStatus>> {
        let member = self.members.get(worker)?.as_ref()?;
        match member.child.wait_timeout(Duration::ZERO) {
            Ok(None) => None,
            Ok(Some(status)) => Some(Some(status)),
            Err(_) => Some(None),
        }
    }

    pub(super) fn remove(&mut self, worker: usize) -> Option<Member> {
        self.members.get_mut(worker)?.take()
    }

    pub(super) fn who(&self, worker: usize) -> (String, u32) {
        match self.members.get(worker) {
            Some(Some(member)) => (member.child.name().into(), member.child.pid()),
            _ => ("?".into(), 0),
        }
    }

    /// The chunk that a worker's replies are about.
    pub(super) fn in_hand(&self, worker: usize) -> Option<u32> {
        self.members.get(worker)?.as_ref()?.in_hand
    }

    /// A worker is through with its chunk.
    pub(super) fn lays_down(&mut self, worker: usize) {
        if let Some(Some(member)) = self.members.get_mut(worker) {
            member.in_hand = None;
        }
    }

    fn socket(&self, worker: usize) -> Option<&Endpoint> {
        self.members.get(worker)?.as_ref().map(|member| &member.socket)
    }

    pub(super) fn receive(&self, worker: usize) -> Result<(Vec<u8>, Vec<OwnedFd>), String> {
        dispatch::receive(self.socket(worker).ok_or("its worker is gone")?)
    }

    pub(super) fn send(&self, worker: usize, package: &Package) -> Result<(), SendFailure> {
        match self.socket(worker) {
            Some(socket) => package.send(socket.as_fd(), PACKET, Wait::Never),
            None => Err(SendFailure::Disconnected),
        }
    }

    pub(super) fn kill(&self, worker: usize) {
        if let Some(Some(member)) = self.members.get(worker) {
            let _ = member.child.kill();
        }
    }

    /// Notes the chunk that a worker has claimed as this one of its chunks. `None`: it cannot be that one, as
    /// the one before has not ended, or one between them was never heard of.
    pub(super) fn claims(&mut self, worker: usize, seq: u32, number: u32) -> Option<()> {
        let member = self.members.get_mut(worker)?.as_mut()?;
        if member.in_hand.is_some() || number != member.claimed.wrapping_add(1) {
            return None;
        }
        member.claimed = number;
        member.in_hand = Some(seq);
        Some(())
    }

    /// What a worker says makes no sense, so it is killed: something has written over its memory.
    pub(super) fn kill_babbler(&mut self, worker: usize) {
        if let Some(Some(member)) = self.members.get_mut(worker) {
            member.babbles = true;
            let _ = member.child.kill();
        }
    }

    pub(super) fn babbles(&self, worker: usize) -> bool {
        self.members.get(worker).is_some_and(|member| member.as_ref().is_some_and(|m| m.babbles))
    }

    pub(super) fn kill_all(&self) {
        for member in self.members() {
            let _ = member.child.kill();
        }
    }

    pub(super) fn sentence(&mut self, worker: usize, seq: u32, index: u32, sentence: Sentence) {
        if let Some(Some(member)) = self.members.get_mut(worker) {
            member.sentence = Some((seq, index, sentence));
            let _ = member.child.kill();
        }
    }

    pub(super) fn sentence_of(&self, worker: usize) -> Option<(u32, u32, Sentence)> {
        self.members.get(worker)?.as_ref()?.sentence
    }

    pub(super) fn is_present(&self, worker: usize) -> bool {
        self.members.get(worker).is_some_and(Option::is_some)
    }

    /// Notes a sentence on a worker that is not known yet.
    pub(super) fn sentence_early(
        &mut self,
        worker: usize,
        of: (u32, Option<u32>),
        sentence: Sentence,
    ) {
        self.early.push((worker, of.0, of.1, sentence));
    }

    /// The sentences on this worker that were passed before it was known.
    pub(super) fn early_sentences(&mut self, worker: usize) -> Vec<(u32, Option<u32>, Sentence)> {
        let own = self.early.extract_if(.., |(of, ..)| *of == worker);
        own.map(|(_, seq, only, sentence)| (seq, only, sentence)).collect()
    }

    pub(super) fn is_sentenced(&self, worker: usize) -> bool {
        self.sentence_of(worker).is_some()
    }

    pub(super) fn note_work(&mut self, worker: usize, tasks: u32, nanos: u64) {
        if let Some(Some(member)) = self.members.get_mut(worker) {
            member.record.tasks += u64::from(tasks);
            member.record.busy += Duration::from_nanos(nanos);
        }
    }

    /// A worker has said why it is of no use. `None`: it was.
    pub(super) fn note_useless(&mut self, worker: usize, reason: &str) -> Option<()> {
        let (name, pid) = self.who(worker);
        let member = self.members.get_mut(worker)?.as_mut()?;
        if member.claimed > 0 {
            return None;
        }
        let reason = format!("the initializer failed in worker '{name}' (pid {pid}): {reason}");
        member.useless = Some(reason);
        Some(())
    }

    /// A worker has ended that was at work, or never got so far. Gives the reason if it is time to give
    /// up.
    pub(super) fn note_end(
        &mut self,
        worker: usize,
        was_ready: bool,
        status: Option<ExitStatus>,
    ) -> Option<String> {
        let member = self.members.get(worker).and_then(Option::as_ref);
        let (babbles, has_claimed) =
            member.map_or((false, false), |member| (member.babbles, member.claimed > 0));
        // Nothing was heard of its first task, and what its desk says may be that task's doing. (With an
        // initializer it may be that one's.)
        if babbles && !has_claimed && !self.has_initializer {
            return None;
        }
        if has_claimed || was_ready && !babbles {
            self.useless = 0;
            return None;
        }
        self.useless += 1;
        let (name, pid) = self.who(worker);
        let said = self.members.get_mut(worker).and_then(|member| member.as_mut()?.useless.take());
        let reason = said.unwrap_or_else(|| {
            let how = status.map_or("how is not known".into(), |status| status.to_string());
            format!(
                "worker '{name}' (pid {pid}) ended before it was ready ({how}): \
                 look at the initializer and at the memory limit"
            )
        });
        let killed = status
            .is_some_and(|status| matches!(status.signal(), Some(libc::SIGKILL | libc::SIGTERM)));
        let enough = if killed && !self.has_initializer { KILLED } else { USELESS };
        (self.useless >= enough)
            .then(|| format!("{reason}; so it was with {} workers in a row", self.useless))
    }
}
