//! Start methods and the fork server: Python's `TestStartMethod`, `test_forkserver_sigint`,
//! `TestFlags`, `TestForkAwareThreadLock` and the like.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offspring::{
    Builder, Duplex, Error, Receiver, Sender, StartMethod, Stdio, process, set_start_method,
    start_method,
};
use serde::{Deserialize, Serialize};
use tests::{await_end_of, children_of, each_start_method};

/// Set in a parent, it is so in a copy of it only.
static MARK: AtomicU32 = AtomicU32::new(0);

/// The start method as a child knows it, by place in the list.
fn known_method() -> usize {
    StartMethod::ALL.iter().position(|&method| method == start_method()).unwrap()
}

#[process]
fn report() -> (usize, u32) {
    (known_method(), MARK.load(Ordering::Relaxed))
}

/// `test_get_all`
#[test]
fn test_get_all_has_the_default_first() {
    let [first, rest @ ..] = StartMethod::ALL else { panic!("there is none") };
    assert_eq!(*first, StartMethod::default());
    assert_eq!(*first, StartMethod::ForkServer);
    assert_eq!(rest, [StartMethod::Spawn, StartMethod::Fork]);
}

/// A method is known by Python's names for them, and by no other.
#[test]
fn test_names_are_pythons_both_ways() {
    let names = StartMethod::ALL.iter().map(StartMethod::to_string);
    assert_eq!(names.collect::<Vec<_>>(), ["forkserver", "spawn", "fork"]);
    for method in StartMethod::ALL {
        assert_eq!(method.to_string().parse(), Ok(*method));
        assert_eq!(serde_json::to_value(method).unwrap(), method.to_string());
    }
    for unknown in ["", "Fork", "fork ", "thread"] {
        let error = unknown.parse::<StartMethod>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{unknown}` is no start method")), "{error}");
        assert!(
            StartMethod::ALL.iter().all(|known| error.contains(&format!("`{known}`"))),
            "{error}"
        );
    }
}

each_start_method! {
    /// `test_context`: a builder is used where Python has contexts. What it says holds for the one
    /// child, whose own children are started as this process's.
    fn test_context_of_each_method_makes_such_a_child() {
        MARK.store(1, Ordering::Relaxed);
        let own = known_method();
        for &method in StartMethod::ALL {
            let is_copy = u32::from(method == StartMethod::Fork);
            let child = Builder::new().start_method(method).spawn(report())?;
            assert_eq!(child.join()?, (own, is_copy), "{method:?}");
            assert_eq!(known_method(), own);
        }
    }

    /// `test_set_get`
    fn test_set_get_holds_for_children() {
        for (index, method) in StartMethod::ALL.iter().copied().enumerate() {
            set_start_method(method);
            assert_eq!(start_method(), method);
            MARK.store(1, Ordering::Relaxed);
            let is_copy = u32::from(method == StartMethod::Fork);
            assert_eq!(report().spawn()?.join()?, (index, is_copy));
            assert_eq!(report_from_grandchild().spawn()?.join()?, (index, is_copy));
        }
    }

    /// `test_spawn_dont_set_context`, and those of `freeze_support`.
    fn test_freeze_support_has_no_side_effect() {
        let before = start_method();
        offspring::init();
        assert_eq!(start_method(), before);
        report().spawn()?.join()?;
        assert_eq!(start_method(), before);
    }
}

#[process]
fn report_from_grandchild() -> (usize, u32) {
    report().spawn().unwrap().join().unwrap()
}

/// Sends, and passes its end on to one child by each method.
#[process]
fn pass_on(to: Sender<String>, text: String, generations: u32) {
    to.send(text.clone()).unwrap();
    for &method in StartMethod::ALL {
        if generations > 0 {
            let work = pass_on(to.clone(), format!("{text} {method:?}"), generations - 1);
            Builder::new().start_method(method).spawn(work).unwrap().join().unwrap();
        }
    }
}

each_start_method! {
    /// `test_mixed_startmethod`, `test_nested_startmethod`: no pipe belongs to a method.
    fn test_mixed_and_nested_startmethods_share_a_pipe() {
        let (to, from) = offspring::pipe()?;
        pass_on(to, "here".into(), 2).spawn()?.join()?;
        let got: BTreeSet<String> = from.iter().collect();

        let mut expected = BTreeSet::from(["here".to_owned()]);
        for first in StartMethod::ALL {
            expected.insert(format!("here {first:?}"));
            let nested = StartMethod::ALL.iter().map(|second| format!("here {first:?} {second:?}"));
            expected.extend(nested);
        }
        assert_eq!(got, expected);
    }
}

#[process]
fn answer_until(last: u32, pipe: Duplex<u32, u32>) {
    loop {
        let number = pipe.recv().unwrap();
        pipe.send(number).unwrap();
        if number == last {
            return;
        }
    }
}

/// The fork server of this process, and perhaps the children that it has made ahead.
fn helpers() -> BTreeSet<u32> {
    let is_helper = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|it| it.trim() == "offspring-fork")
    };
    children_of(std::process::id()).into_iter().filter(is_helper).collect()
}

/// The fork server alone: the one that stays when the children made ahead are put to work.
fn server() -> offspring::Result<u32> {
    report().spawn()?.wait()?;
    let before = helpers();
    for _ in 0..2 {
        report().spawn()?.wait()?;
    }
    let stays: Vec<u32> = helpers().intersection(&before).copied().collect();
    assert_eq!(stays.len(), 1, "{stays:?}");
    Ok(stays[0])
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

each_start_method! {
    only [forkserver ForkServer]
    /// `test_forkserver_sigkill`
    fn test_forkserver_sigkill_of_the_server_is_made_good() {
        let (here, there) = offspring::duplex()?;
        let child = answer_until(5, there).spawn()?;
        here.send(0)?;
        assert_eq!(here.recv()?, 0); // it works, and is not taken for a helper
        for _ in 0..5 {
            let server = server()?;
            signal(server, Signal::SIGKILL);
            await_end_of(server);
            assert_eq!(report().spawn()?.join()?.0, 0);
            assert_eq!(report().spawn()?.join()?.0, 0);
        }
        // One that was working then goes on working.
        here.send(5)?;
        assert_eq!(here.recv()?, 5);
        assert_eq!(child.wait()?.code(), Some(0));
        child.join()?;
    }

    only [forkserver ForkServer]
    /// `test_forkserver_sigkill`, and of whatever the server has made.
    fn test_forkserver_sigkill_of_all_helpers_is_made_good() {
        for _ in 0..10 {
            report().spawn()?.join()?;
            for helper in helpers() {
                signal(helper, Signal::SIGKILL);
                await_end_of(helper);
            }
            assert_eq!(report().spawn()?.join()?.0, 0);
        }
    }

    only [forkserver ForkServer]
    /// `test_forkserver_sigint`: it survives.
    fn test_forkserver_sigint_does_nothing_to_the_server() {
        let first = server()?;
        for number in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
            signal(first, number);
            let child = report().spawn()?;
            assert_eq!(child.wait()?.code(), Some(0));
        }
        assert_eq!(server()?, first);
    }
}

/// What a process can tell of how it was run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flags {
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    directory: String,
    program: String,
}

impl Flags {
    fn now() -> Self {
        let mut variables: Vec<_> = env::vars().collect();
        variables.sort();
        Self {
            arguments: env::args().collect(),
            variables,
            directory: env::current_dir().unwrap().display().to_string(),
            program: env::current_exe().unwrap().display().to_string(),
        }
    }
}

#[process]
fn flags(generations: u32) -> Vec<Flags> {
    let mut all = vec![Flags::now()];
    if generations > 0 {
        all.extend(flags(generations - 1).spawn().unwrap().join().unwrap());
    }
    all
}

each_start_method! {
    /// `test_flags`
    fn test_flags_of_a_grandchild_are_the_childs() {
        let here = Flags::now();
        let mut builder = Builder::new();
        builder.env("OFFSPRING_TEST_FLAG", "set").env_remove("PATH").current_dir("/");
        let all = builder.spawn(flags(2))?.join()?;
        assert_eq!((all[0].directory.as_str(), &all[0].arguments), ("/", &here.arguments));
        assert_eq!(all[0].program, here.program);
        let variable = ("OFFSPRING_TEST_FLAG".to_owned(), "set".to_owned());
        assert!(all[0].variables.contains(&variable));
        assert!(all[0].variables.iter().all(|(key, _)| key != "PATH"));
        assert_eq!(all[1], all[0]);
        assert_eq!(all[2], all[0]);
    }
}

#[process]
fn panic_in_generation(generations: u32) {
    assert!(generations > 1, "in the last generation");
    let panic = panic_in_generation(generations - 1).spawn().unwrap().join();
    assert!(panic.is_err());
}

each_start_method! {
    /// `TestForkAwareThreadLock`: a hook for each generation would report a panic as often.
    fn test_lock_and_hooks_do_not_double_with_each_generation() {
        let child = Builder::new().stderr(Stdio::piped()).spawn(panic_in_generation(2))?;
        let output = child.join_with_output()?;
        output.result?;
        let report = String::from_utf8(output.stderr)?;
        assert_eq!(report.matches("in the last generation").count(), 1, "{report}");
    }
}

#[process]
fn wait_for_word(word: Receiver<u32>) -> u32 {
    word.recv().unwrap()
}

/// Takes its time to be dropped.
struct Slow;

impl Drop for Slow {
    fn drop(&mut self) {
        thread::sleep(Duration::from_millis(40));
    }
}

each_start_method! {
    only [fork Fork]
    /// Threads beside a fork, which Python warns of: here it is refused.
    fn test_fork_is_refused_beside_other_threads() {
        let (to, from) = offspring::pipe::<()>()?;
        let other = thread::spawn(move || from.recv().is_err());
        for &method in StartMethod::ALL {
            let outcome = Builder::new().start_method(method).spawn(report());
            match (method, outcome) {
                (StartMethod::Fork, Err(Error::Multithreaded)) => {}
                (StartMethod::ForkServer | StartMethod::Spawn, Ok(child)) => drop(child.join()?),
                (_, other) => panic!("{method:?}: {other:?}"),
            }
        }
        drop(to);
        assert!(other.join().unwrap());
    }

    only [fork Fork]
    /// Threads that were joined are no reason to refuse.
    fn test_fork_is_possible_when_the_threads_are_gone() {
        for _ in 0..1000 {
            thread::spawn(|| ()).join().unwrap();
            Builder::new().start_method(StartMethod::Fork).spawn(report())?.join()?;
        }
    }

    only [fork Fork]
    /// The same, where the threads were joined by their scope.
    fn test_fork_is_possible_when_a_scope_of_threads_is_over() {
        for _ in 0..100 {
            thread::scope(|scope| drop(scope.spawn(|| ())));
            Builder::new().start_method(StartMethod::Fork).spawn(report())?.join()?;
        }
    }

    only [fork Fork]
    /// The scope is over before the thread-local values of its threads are dropped, which takes as long as
    /// it takes.
    fn fork_waits_for_threads_that_are_about_to_end() {
        thread_local!(static KEPT: Slow = const { Slow });
        for _ in 0..3 {
            thread::scope(|scope| drop(scope.spawn(|| KEPT.with(|_| ()))));
            Builder::new().start_method(StartMethod::Fork).spawn(report())?.join()?;
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `_TestProcess` is run on threads, too.
    fn test_starting_from_many_threads_at_once() {
        thread::scope(|scope| {
            let starting = (0..8).map(|n| {
                scope.spawn(move || {
                    for round in 0..10 {
                        let (to, from) = offspring::pipe().unwrap();
                        let child = wait_for_word(from).spawn().unwrap();
                        to.send(n * 100 + round).unwrap();
                        assert_eq!(child.join().unwrap(), n * 100 + round);
                    }
                })
            });
            let starting: Vec<_> = starting.collect();
            starting.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}

/// Forks behind the library's back; the stray lives until it is let go.
#[process]
fn leave_stray(told: Sender<i32>, until: offspring::Fd<std::io::PipeReader>) -> u32 {
    report().spawn().unwrap().join().unwrap();
    // SAFETY: this process has a single thread, and the child only makes system calls.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Parent { child } => told.send(child.as_raw()).unwrap(),
        nix::unistd::ForkResult::Child => {
            let _ = nix::unistd::read(&*until, &mut [0]);
            // SAFETY: `_exit` has no memory effects.
            unsafe { nix::libc::_exit(0) };
        }
    }
    7
}

each_start_method! {
    /// `test_resource_tracker_fork_deadlock`
    fn test_fork_deadlock_of_a_stray_child_does_not_come() {
        let (told, stray) = offspring::pipe()?;
        let (until, mut go) = std::io::pipe()?;
        let child = leave_stray(told, until.into()).spawn()?;
        assert_eq!(child.wait()?.code(), Some(0)); // while the stray lives
        assert_eq!(child.join()?, 7);
        let stray = stray.recv()?;
        assert!(fs::exists(format!("/proc/{stray}"))?);
        go.write_all(&[0])?;
        await_end_of(stray.cast_unsigned());
    }
}
