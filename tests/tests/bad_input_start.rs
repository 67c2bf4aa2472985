//! A program whose initialisers end it, or start threads: a child, or a fork server, that dies
//! before it has answered is an error at once, and the parent goes on.

use std::env;
use std::os::unix::process::ExitStatusExt;

use nix::libc;
use nix::sys::signal::{Signal, raise};
use offspring::{Builder, Error, StartMethod, process};
use tests::family::zombies;
use tests::{Holdings, each_start_method};

/// Tells the initialisers of a process what to do. It has to be in its environment from the start.
const VARIABLE: &str = "TESTS_INITIALISER";

fn obey(initialiser: &str) {
    let Ok(told) = env::var(VARIABLE) else { return };
    match told.strip_prefix(initialiser) {
        Some(" exits") => std::process::exit(7),
        // SAFETY: _exit has no memory effects.
        Some(" exits at once") => unsafe { libc::_exit(7) },
        Some(" exits well") => std::process::exit(0),
        Some(" aborts") => std::process::abort(),
        Some(" is killed") => raise(Signal::SIGKILL).unwrap(),
        Some(" is terminated") => raise(Signal::SIGTERM).unwrap(),
        Some(" starts a thread") => drop(std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        })),
        _ => {}
    }
}

extern "C" fn early() {
    obey("early");
}

extern "C" fn late() {
    obey("late");
}

// SAFETY: the section holds pointers to functions that the C library calls before `main`; this is
// one, and what it needs of the standard library needs no `main`.
#[used]
#[unsafe(link_section = ".init_array.00200")]
static EARLY: extern "C" fn() = early;

// Some linkers put it behind the initialisers that have no number, the library's among them.
// SAFETY: as above.
#[used]
#[unsafe(link_section = ".init_array.70000")]
static LATE: extern "C" fn() = late;

#[process]
fn square(x: u64) -> u64 {
    x * x
}

/// A code and a signal, as in an exit status.
type Shows = (Option<i32>, Option<i32>);

const CODE: Shows = (Some(7), None);
const WELL: Shows = (Some(0), None);

const ENDS: [(&str, Shows); 6] = [
    ("exits", CODE),
    ("exits at once", CODE),
    ("exits well", WELL),
    ("aborts", (None, Some(libc::SIGABRT))),
    ("is killed", (None, Some(libc::SIGKILL))),
    ("is terminated", (None, Some(libc::SIGTERM))),
];

/// Each way to end in each initialiser: what to say in the variable, and how it shows.
fn all_ends() -> impl Iterator<Item = (String, Shows)> {
    let each = |place: &'static str| ENDS.map(|(end, shows)| (format!("{place} {end}"), shows));
    ["early", "late"].into_iter().flat_map(each)
}

fn assert_died(outcome: Result<impl Sized, Error>, who: &str, told: &str, how: Shows) {
    match outcome.map(drop) {
        Err(Error::DiedAtStart { process, pid, status: Some(status), .. }) => {
            assert!(process.starts_with(who), "{process}");
            assert!(pid > 1);
            assert_eq!((status.code(), status.signal()), how, "{told}");
        }
        other => panic!("{told}: {other:?}"),
    }
}

each_start_method! {
    only [spawn Spawn]
    fn a_child_that_dies_before_it_answers_is_an_error_at_once() {
        assert_eq!(square(3).spawn()?.join()?, 9);
        let before = Holdings::now();
        for (told, how) in all_ends() {
            let start = Builder::new().env(VARIABLE, &told).spawn(square(3));
            assert_died(start, "square-", &told, how);
            assert_eq!(square(3).spawn()?.join()?, 9, "after {told}");
        }
        assert_eq!(Holdings::now(), before);
        assert!(offspring::active_children().is_empty());
    }

    only [forkserver ForkServer]
    fn a_fork_server_that_dies_before_it_answers_is_an_error_at_once() {
        let before = Holdings::now();
        for (told, how) in all_ends() {
            // SAFETY: this process has one thread.
            unsafe { env::set_var(VARIABLE, &told) };
            assert_died(square(3).spawn(), "fork server", &told, how);
            assert_eq!(zombies(), [0u32; 0]);
        }
        // SAFETY: as above.
        unsafe { env::remove_var(VARIABLE) };
        assert_eq!(Holdings::now(), before);
        for _ in 0..3 {
            assert_eq!(square(3).spawn()?.join()?, 9);
        }
    }

    only [forkserver ForkServer, fork Fork]
    fn no_initialiser_runs_again_in_a_child_that_is_not_executed() {
        assert_eq!(square(3).spawn()?.join()?, 9);
        for (told, _) in all_ends() {
            let child = Builder::new().env(VARIABLE, &told).spawn(variable())?;
            assert_eq!(child.join()?, Some(told));
        }
    }

    only [forkserver ForkServer]
    fn a_fork_server_with_threads_is_refused_with_what_to_do_instead() {
        for place in ["early", "late"] {
            // SAFETY: this process has one thread.
            unsafe { env::set_var(VARIABLE, format!("{place} starts a thread")) };
            match square(3).spawn() {
                Err(error @ Error::ServerMultithreaded) => {
                    assert!(error.to_string().contains("StartMethod::Spawn"), "{error}");
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(zombies(), [0u32; 0]);
            let child = Builder::new().start_method(StartMethod::Spawn).spawn(square(3))?;
            assert_eq!(child.join()?, 9);
        }
    }
}

#[process]
fn variable() -> Option<String> {
    env::var(VARIABLE).ok()
}
