//! A parent that ends in whatever way takes its whole tree with it, save for those who were
//! detached; and only a parent's end does, not that of the thread that started the child.

use std::time::Duration;
use std::{fs, thread};

use nix::libc;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::unistd::{Pid, getsid};
use offspring::{Builder, Duplex, Sender, duplex, pipe, pipe::RecvError, process};
use serde::{Deserialize, Serialize};
use tests::family::{adopt_orphans, await_descendants, root, state_of, until};
use tests::{each_start_method, pidfd};

/// How a member of a tree passes its life. None of them ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Habit {
    Asleep,
    Busy,
    /// Busy in several threads.
    Threaded,
    /// Blocks every signal that can be blocked.
    Deaf,
    /// Ignores every signal that can be ignored.
    Stubborn,
    /// Has left for a session of its own, as daemons of the older kind do.
    Away,
    Stopped,
}

const HABITS: [Habit; 7] = [
    Habit::Asleep,
    Habit::Busy,
    Habit::Threaded,
    Habit::Deaf,
    Habit::Stubborn,
    Habit::Away,
    Habit::Stopped,
];

fn live(habit: Habit) {
    let spin = || loop {
        std::hint::black_box(0);
    };
    match habit {
        Habit::Asleep => {}
        Habit::Busy => spin(),
        Habit::Threaded => {
            thread::spawn(spin);
            thread::spawn(spin);
        }
        Habit::Deaf => SigSet::all().thread_block().unwrap(),
        Habit::Stubborn => {
            for signal in 1..libc::SIGRTMAX() {
                // SAFETY: ignoring a signal runs no code. SIGKILL and SIGSTOP refuse.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
        }
        Habit::Away => {
            nix::unistd::setsid().unwrap();
        }
        Habit::Stopped => raise(Signal::SIGSTOP).unwrap(),
    }
    loop {
        thread::sleep(Duration::from_secs(600));
    }
}

/// Tells its number and then lives; so does one below it, and so on.
#[process]
fn member(habit: Habit, family: Sender<u32>, below: u32) {
    if below > 0 {
        member(habit, family.clone(), below - 1).spawn().unwrap();
    }
    family.send(std::process::id()).unwrap();
    live(habit);
}

/// Has a child of each habit, each of which has a child of the same.
#[process]
fn head(family: Sender<u32>) {
    for habit in HABITS {
        member(habit, family.clone(), 1).spawn().unwrap();
    }
    family.send(std::process::id()).unwrap();
    live(Habit::Asleep);
}

const TREE: usize = 1 + 2 * HABITS.len();

/// Waits until the tree stands; then `end` ends its root; then waits until nobody is left.
fn end_tree(end: impl FnOnce(u32)) -> Result<(), Box<dyn std::error::Error>> {
    adopt_orphans();
    let (told, family) = pipe()?;
    let root = root(head(told))?;
    let mut members = Vec::new();
    for _ in 0..TREE {
        members.push(family.recv()?);
    }
    // Two are to be stopped, and tell their numbers just before.
    let stopped = || members.iter().filter(|&&pid| state_of(pid) == Some('T')).count();
    until(|| stopped() == 2);
    let alive: Vec<_> = members.iter().filter_map(|&pid| pidfd(pid)).collect();
    assert_eq!(alive.len(), TREE);

    end(root.pid());
    assert!(matches!(family.recv(), Err(RecvError::Disconnected)));
    await_descendants(); // those we were not told of, too: fork servers, children made ahead
    for member in &alive {
        assert_eq!(offspring::wait_timeout(&[member], Duration::ZERO)?, [0]);
    }
    Ok(())
}

fn signal(pid: u32, signal: Signal) {
    nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

each_start_method! {
    fn sigkill_of_the_parent_ends_the_tree() {
        end_tree(|parent| signal(parent, Signal::SIGKILL))?;
    }

    fn sigterm_of_the_parent_ends_the_tree() {
        end_tree(|parent| signal(parent, Signal::SIGTERM))?;
    }

    fn a_crash_of_the_parent_ends_the_tree() {
        end_tree(|parent| signal(parent, Signal::SIGABRT))?;
    }

    fn sigkill_of_a_stopped_parent_ends_the_tree() {
        end_tree(|parent| {
            signal(parent, Signal::SIGSTOP);
            until(|| state_of(parent) == Some('T'));
            signal(parent, Signal::SIGKILL);
        })?;
    }
}

/// Ends without any of its exit handlers running.
#[process]
fn leave_at_once(family: Sender<u32>) {
    for habit in HABITS {
        member(habit, family.clone(), 0).spawn().unwrap();
    }
    drop(family);
    // SAFETY: _exit has no memory effects.
    unsafe { libc::_exit(0) }
}

/// Starts children without end.
#[process]
fn multiply(family: Sender<u32>) {
    for _ in 0..40 {
        member(Habit::Asleep, family.clone(), 0).spawn().unwrap();
    }
    live(Habit::Busy);
}

each_start_method! {
    fn a_parent_that_leaves_by_underscore_exit_leaves_nobody() {
        adopt_orphans();
        let (told, family) = pipe()?;
        root(leave_at_once(told))?;
        // It is not awaited: some children may not even have begun.
        while family.recv().is_ok() {}
        await_descendants();
    }

    fn a_parent_killed_at_any_moment_of_a_start_leaves_nobody() {
        adopt_orphans();
        for round in 0..if tests::long() { 1000 } else { 40 } {
            let (told, family) = pipe()?;
            let parent = root(multiply(told))?;
            for _ in 0..round % 5 {
                family.recv()?;
            }
            // Not to wait for anything, but to hit another moment each time.
            for _ in 0..(round * 7919) % 20_000 {
                std::hint::spin_loop();
            }
            parent.kill()?;
            while family.recv().is_ok() {}
            await_descendants();
        }
    }
}

/// Answers for as long as it is asked.
#[process]
fn answer(questions: Duplex<u32, u32>) {
    while let Ok(question) = questions.recv() {
        questions.send(question + 1).unwrap();
    }
}

/// Whether every thread but this one is gone from the kernel's list, not merely joined.
fn is_alone() -> bool {
    fs::read_dir("/proc/self/task").unwrap().count() == 1
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    fn a_child_outlives_the_thread_that_started_it() {
        // The first start in this process, so that the thread starts the fork server, too.
        let (here, there) = duplex()?;
        let child = thread::spawn(move || answer(there).spawn()).join().unwrap()?;
        until(is_alone);
        for question in 0..100 {
            here.send(question)?;
            assert_eq!(here.recv()?, question + 1);
        }
        drop(here);
        child.join()?;

        let (here, there) = duplex()?;
        let child = answer(there).spawn()?;
        here.send(1)?;
        assert_eq!(here.recv()?, 2);
        drop(here);
        child.join()?;
    }
}

/// Has a detached child, an ordinary one, and a detached one with an ordinary child of its own.
#[process]
fn parent_of_detached(questions: Duplex<u32, u32>, family: Sender<u32>) {
    Builder::new().detached(true).spawn(survivor(questions, family.clone())).unwrap();
    member(Habit::Asleep, family, 0).spawn().unwrap();
    live(Habit::Asleep);
}

#[process]
fn survivor(questions: Duplex<u32, u32>, family: Sender<u32>) {
    let (here, there) = duplex().unwrap();
    let child = answer(there).spawn().unwrap();
    family.send(std::process::id()).unwrap();
    drop(family);
    while let Ok(question) = questions.recv() {
        here.send(question).unwrap();
        questions.send(here.recv().unwrap()).unwrap();
    }
    drop(here);
    child.join().unwrap();
}

each_start_method! {
    fn a_detached_child_and_its_own_outlive_a_parent_that_is_killed() {
        adopt_orphans();
        let (here, there) = duplex()?;
        let (told, family) = pipe()?;
        let parent = root(parent_of_detached(there, told))?;
        let members = [family.recv()?, family.recv()?];
        parent.kill()?;
        // Held by the parent, by the ordinary child, and no longer by the survivor.
        assert!(matches!(family.recv(), Err(RecvError::Disconnected)));

        for question in 0..100 {
            here.send(question)?;
            assert_eq!(here.recv()?, question + 1);
        }
        let alone = |pid: u32| getsid(Some(Pid::from_raw(pid.cast_signed()))) != getsid(None);
        assert_eq!(members.into_iter().filter(|&pid| alone(pid)).count(), 1);
        drop(here);
        await_descendants();
    }
}

/// A daemon that has children, which a daemon of Python's may not.
#[process]
fn daemon_with_children(family: Sender<u32>, below: u32) -> u32 {
    assert!(offspring::current().is_daemon());
    let sum = if below == 0 {
        1
    } else {
        let children = [(); 2].map(|()| daemon_with_children(family.clone(), below - 1).spawn());
        children.into_iter().map(|child| child.unwrap().join().unwrap()).sum::<u32>() + 1
    };
    member(Habit::Busy, family, 0).spawn().unwrap();
    sum
}

#[process]
fn root_of_daemons(family: Sender<u32>) {
    let daemon = |process| Builder::new().daemon(true).spawn(process).unwrap();
    for _ in 0..3 {
        daemon(member(Habit::Deaf, family.clone(), 2));
    }
    drop(family);
    live(Habit::Asleep);
}

/// Returns while its daemons, and their children, are busy.
#[process]
fn returns_from_daemons(family: Sender<u32>) {
    for _ in 0..3 {
        Builder::new().daemon(true).spawn(member(Habit::Busy, family.clone(), 2)).unwrap();
    }
}

each_start_method! {
    fn a_daemon_has_children_of_its_own_and_their_values() {
        let (told, family) = pipe()?;
        let daemon = Builder::new().daemon(true).spawn(daemon_with_children(told, 2))?;
        assert_eq!(daemon.join()?, 7);
        while family.recv().is_ok() {} // each daemon has ended those it left busy
    }

    fn sigkill_of_the_root_ends_daemons_and_their_children() {
        adopt_orphans();
        let (told, family) = pipe()?;
        let root = root(root_of_daemons(told))?;
        for _ in 0..9 {
            family.recv()?;
        }
        root.kill()?;
        assert!(matches!(family.recv(), Err(RecvError::Disconnected)));
        await_descendants();
    }

    fn the_return_of_the_root_ends_daemons_and_their_children() {
        adopt_orphans();
        let (told, family) = pipe()?;
        root(returns_from_daemons(told))?.join()?;
        while family.recv().is_ok() {}
        await_descendants();
    }
}
