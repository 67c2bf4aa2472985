//! Harm to the fork server and to the child that it has made ahead: neither costs a child.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid};
use offspring::{Error, Receiver, pipe, process};
use tests::family::{Helpers, helpers, not_tested, server_and_spare, state_of, until, zombies};
use tests::{await_end_of, children_of, each_start_method};

#[process]
fn square(x: u64) -> u64 {
    x * x
}

#[process]
fn wait_for_end(until: Receiver<u32>) -> u32 {
    assert!(until.recv().is_err());
    7
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// Starts until what was killed must have been noticed, and then waits until there is one server, a spare
/// child or two, and `alive` others, none of them a zombie.
fn assert_recovered(alive: usize) {
    for x in 0..4 {
        assert_eq!(square(x).spawn().unwrap().join().unwrap(), x * x);
    }
    until(|| {
        let Helpers { servers, spares } = helpers();
        let mut others = children_of(std::process::id());
        let known = servers.iter().chain(&spares).all(|pid| others.remove(pid));
        let made = servers.len() == 1 && [1, 2].contains(&spares.len());
        known && made && others.len() == alive && zombies().is_empty()
    });
}

each_start_method! {
    only [forkserver ForkServer]
    fn a_killed_server_is_replaced_and_its_children_live_on() {
        let (end, told) = pipe()?;
        let mut children = Vec::new();
        for round in 0..20 {
            children.push(wait_for_end(told.clone()).spawn()?);
            let (server, _) = server_and_spare();
            send(server, Signal::SIGKILL);
            await_end_of(server);
            // The first of these gets the child that the dead server had made.
            for x in 0..2 + round % 3 {
                assert_eq!(square(x).spawn()?.join()?, x * x);
            }
        }
        assert!(children.iter().all(|child| child.is_alive()));
        assert_recovered(children.len());
        drop((end, told));
        for child in children {
            assert_eq!(child.join()?, 7);
        }
    }

    only [forkserver ForkServer]
    fn a_server_killed_while_children_are_started_costs_none_of_them() {
        assert_eq!(square(3).spawn()?.join()?, 9);
        let rounds = if tests::long() { 2000 } else { 200 };
        let stop = AtomicBool::new(false);
        let (started, starts) = pipe::<u64>()?;
        thread::scope(|scope| {
            let stop = &stop;
            let starter = scope.spawn(move || {
                let mut x = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let outcome = square(x).spawn().map(offspring::Child::join);
                    assert!(matches!(outcome, Ok(Ok(value)) if value == x * x), "{outcome:?}");
                    x += 1;
                    // Not `send`: whoever counts them may be gone.
                    let _ = started.try_send(x);
                }
            });
            for _ in 0..rounds {
                // At least one start between two harms, so that none suffers three.
                while starts.try_recv().is_ok() {}
                if starts.recv().is_err() || starter.is_finished() {
                    break;
                }
                if let [server, ..] = helpers().servers[..] {
                    // The last one harmed may have been seen dying, and be gone by now.
                    let _ = kill(Pid::from_raw(server.cast_signed()), Signal::SIGKILL);
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_recovered(0);
    }

    only [forkserver ForkServer]
    fn a_server_killed_before_it_begins_is_replaced() {
        for x in 0..if tests::long() { 300 } else { 30 } {
            offspring::end_fork_server();
            thread::scope(|scope| {
                let this = std::process::id();
                scope.spawn(move || {
                    let born = || children_of(this).first().copied();
                    let child = std::iter::repeat_with(born).flatten().next().unwrap();
                    // It may be one that was made after the server, and be gone.
                    let _ = kill(Pid::from_raw(child.cast_signed()), Signal::SIGKILL);
                });
                let started = square(x).spawn();
                assert!(started.is_ok(), "{started:?}");
                // A child that was killed itself is no wonder.
                let _ = started.unwrap().join();
            });
        }
        assert_recovered(0);
    }

    only [forkserver ForkServer]
    fn a_stopped_server_delays_its_children_and_loses_none() {
        assert_eq!(square(3).spawn()?.join()?, 9);
        let (server, _) = server_and_spare();
        send(server, Signal::SIGSTOP);
        until(|| state_of(server) == Some('T'));
        let (begun, begins) = pipe::<u64>()?;
        thread::scope(|scope| {
            let starter = scope.spawn(move || {
                for x in 0..5 {
                    assert_eq!(square(x).spawn().unwrap().join().unwrap(), x * x);
                    begun.send(x).unwrap();
                }
            });
            let first = begins.recv(); // the one that was made ahead
            send(server, Signal::SIGCONT);
            starter.join().unwrap();
            assert_eq!(first.unwrap(), 0);
        });
        assert_eq!(helpers().servers, [server]);
        assert_recovered(0);
    }

    only [forkserver ForkServer]
    fn a_stopped_server_can_be_killed_and_replaced() {
        assert_eq!(square(3).spawn()?.join()?, 9);
        let (server, _) = server_and_spare();
        send(server, Signal::SIGSTOP);
        until(|| state_of(server) == Some('T'));
        send(server, Signal::SIGKILL);
        await_end_of(server);
        assert_recovered(0);
        assert_ne!(helpers().servers, [server]);
    }

    only [forkserver ForkServer]
    fn a_child_made_ahead_that_is_killed_is_replaced() {
        assert_eq!(square(3).spawn()?.join()?, 9);
        for signal in [Signal::SIGKILL, Signal::SIGUSR1, Signal::SIGSEGV, Signal::SIGABRT] {
            for x in 0..10 {
                let (_, spare) = server_and_spare();
                send(spare, signal);
                await_end_of(spare);
                assert_eq!(square(x).spawn()?.join()?, x * x, "after {signal}");
            }
        }
        assert_recovered(0);
    }

    only [forkserver ForkServer]
    fn a_server_and_the_child_it_made_ahead_may_both_be_killed() {
        for x in 0..20 {
            assert_eq!(square(x).spawn()?.join()?, x * x);
            let (server, spare) = server_and_spare();
            let (first, second) = if x % 2 == 0 { (server, spare) } else { (spare, server) };
            send(first, Signal::SIGKILL);
            send(second, Signal::SIGKILL);
            await_end_of(server);
            await_end_of(spare);
        }
        assert_recovered(0);
    }
}

#[process]
fn users_and_groups() -> [u32; 6] {
    let (users, groups) = (getresuid().unwrap(), getresgid().unwrap());
    [
        users.real.as_raw(),
        users.effective.as_raw(),
        users.saved.as_raw(),
        groups.real.as_raw(),
        groups.effective.as_raw(),
        groups.saved.as_raw(),
    ]
}

/// A user that nobody else is.
const USER: u32 = 54_321;

fn is_root() -> bool {
    let root = Uid::effective().is_root();
    if !root {
        not_tested("a change of user", "only root can do that");
    }
    root
}

each_start_method! {
    fn children_have_the_user_that_their_parent_has_become() {
        if !is_root() {
            return Ok(());
        }
        assert_eq!(users_and_groups().spawn()?.join()?, users_and_groups().run());
        setgroups(&[])?;
        let group = Gid::from_raw(USER);
        setresgid(group, group, group)?;
        assert_eq!(users_and_groups().spawn()?.join()?[3..], [USER; 3]);
        let user = Uid::from_raw(USER);
        setresuid(user, user, user)?;
        for _ in 0..3 {
            assert_eq!(users_and_groups().spawn()?.join()?, [USER; 6]);
        }
        until(|| zombies().is_empty());
    }

    /// A child that has become another user's cannot be signalled, and that is said.
    fn a_child_of_another_user_is_out_of_reach_and_still_ends_with_its_parent() {
        if !is_root() {
            return Ok(());
        }
        tests::family::adopt_orphans();
        let (told, heard) = pipe()?;
        let parent = tests::family::root(loses_its_child(told))?;
        assert_eq!(heard.recv()?, "not permitted");
        parent.kill()?;
        assert!(heard.recv().is_err());
        tests::family::await_descendants();
    }
}

#[process]
fn stays_root(told: offspring::Sender<String>, ready: offspring::Sender<u32>) {
    ready.send(1).unwrap();
    let _held = told;
    loop {
        thread::park();
    }
}

#[process]
fn loses_its_child(told: offspring::Sender<String>) {
    let (ready, is_ready) = pipe().unwrap();
    let child = stays_root(told.clone(), ready).spawn().unwrap();
    is_ready.recv().unwrap();
    let user = Uid::from_raw(USER);
    setresuid(user, user, user).unwrap();
    match child.kill() {
        Err(error @ Error::Os { .. }) if error.raw_os_error() == Some(nix::libc::EPERM) => {
            told.send("not permitted".into()).unwrap();
        }
        other => told.send(format!("{other:?}")).unwrap(),
    }
    loop {
        thread::park();
    }
}
