//! A process and what descends from it, whoever started that: read in `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc;

use crate::process::ChildHandle;
use crate::sys::pidfd;
use crate::sys::poll::{self, Wait};

/// What all processes of a test have in their environment: an orphan has no parent that would tell.
#[derive(Debug)]
pub struct Mark(String);

impl Mark {
    pub(super) const VARIABLE: &str = "OFFSPRING_TEST";

    /// One that no other test has, nor had when process numbers were last used.
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(format!("{}-{number}-{}", std::process::id(), since.as_nanos()))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    fn is_on(&self, pid: u32) -> bool {
        let variable = format!("{}={}", Self::VARIABLE, self.0);
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
            environment.split(|&byte| byte == 0).any(|entry| entry == variable.as_bytes())
        })
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Whether a process is a child of that one now.
pub fn is_child_of(pid: u32, parent: u32) -> bool {
    parent_of(pid) == Some(parent)
}

/// The children of a process, as the kernel sees it: zombies and fork servers included.
pub fn children_of(pid: u32) -> BTreeSet<u32> {
    processes().filter(|&process| is_child_of(process, pid)).collect()
}

/// `root`, what bears the mark, and all that descends from them.
fn members(root: Option<u32>, mark: Option<&Mark>) -> BTreeSet<u32> {
    let parents: Vec<_> = processes().filter_map(|pid| Some((pid, parent_of(pid)?))).collect();
    let ours = |pid| Some(pid) == root || mark.is_some_and(|mark| mark.is_on(pid));
    let mut members: BTreeSet<u32> =
        parents.iter().map(|&(pid, _)| pid).filter(|&pid| ours(pid)).collect();
    loop {
        let before = members.len();
        for &(pid, parent) in &parents {
            if members.contains(&parent) {
                members.insert(pid);
            }
        }
        if members.len() == before {
            return members;
        }
    }
}

/// The processes of a family, a line each, with what each waits for: its number, its name, its
/// state, the place in the kernel, the system call.
pub fn tree(root: u32, mark: Option<&Mark>) -> String {
    let members = members(Some(root), mark);
    let orphan = |pid: &u32| !parent_of(*pid).is_some_and(|parent| members.contains(&parent));
    let mut lines = String::new();
    // Those at the end come first: the root.
    let mut below: Vec<_> = members
        .iter()
        .copied()
        .filter(|pid| *pid != root && orphan(pid))
        .map(|pid| (pid, 0))
        .collect();
    below.push((root, 0));
    while let Some((pid, depth)) = below.pop() {
        lines.push_str(&line(pid, depth));
        let children = members.iter().filter(|&&child| is_child_of(child, pid));
        below.extend(children.map(|&child| (child, depth + 2)));
    }
    lines
}

/// The same line for each of these.
pub(super) fn list(processes: &BTreeSet<u32>) -> String {
    processes.iter().map(|&pid| line(pid, 0)).collect()
}

fn line(pid: u32, depth: usize) -> String {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let status = read("status");
    let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or_default();
    format!(
        "{:depth$}{pid} {} {} {} {}\n",
        "",
        read("comm").trim(),
        state.trim(),
        read("wchan"),
        read("syscall").trim(),
    )
}

/// Kills what is left of a family, and waits until it has ended, but no longer than `within`: gives
/// those that have not ended by then.
///
/// A member that is started meanwhile bears the mark, and is found when it is looked for again.
pub(super) fn end(root: &ChildHandle, mark: &Mark, within: Duration) -> BTreeSet<u32> {
    let wait = Wait::at_most(within);
    let has_ended = |pidfd: BorrowedFd<'_>, wait| poll::readable(pidfd, wait).unwrap_or(true);
    loop {
        // Once it has ended, its number may become another's, and its children have lost it.
        let alive = (!has_ended(root.as_fd(), Wait::Never)).then(|| root.pid());
        let opened: Vec<(u32, OwnedFd)> = members(alive, Some(mark))
            .into_iter()
            .filter_map(|pid| Some((pid, pidfd::open(pid).ok()?)))
            .collect();
        if opened.is_empty() || wait.is_over() {
            return opened.iter().map(|&(pid, _)| pid).collect();
        }
        // Seen again after it was opened, a number is that process's, or the process is dead.
        let still = members(alive, Some(mark));
        if alive.is_some() && has_ended(root.as_fd(), Wait::Never) {
            continue;
        }
        let ours = opened.iter().filter(|(pid, _)| still.contains(pid));
        for (_, pidfd) in ours.clone() {
            // One that has become another user's is waited for, too: perhaps it ends by itself.
            let _ = pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
        }
        let left: BTreeSet<_> = ours
            .filter(|(_, pidfd)| !has_ended(pidfd.as_fd(), wait))
            .map(|&(pid, _)| pid)
            .collect();
        if !left.is_empty() {
            return left;
        }
    }
}
