//! Threads in the parent: starting children beside busy ones, and statuses that several of them
//! want, or that one of them steals.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitPidFlag, waitpid};
use offspring::{Child, Error, JoinError, Receiver, pipe, process};
use tests::each_start_method;

static PRINTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Needs what the busy threads of the parent hold locked most of the time.
#[process]
fn allocate_and_print(n: usize) -> usize {
    let words: Vec<_> = (0..100).map(|word| format!("child {n}, word {word}")).collect();
    println!("{}", words.join(" "));
    PRINTED.lock().unwrap().push(words.concat());
    thread::spawn(move || words.len() + n).join().unwrap()
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    fn a_thousand_children_start_beside_eight_threads_that_allocate_and_print() {
        // To where nothing is kept, but through the locks of the standard streams.
        nix::unistd::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
        let stop = AtomicBool::new(false);
        let begun = Barrier::new(9);
        thread::scope(|scope| -> Result<(), Box<dyn std::error::Error>> {
            for thread in 0..8 {
                let (stop, begun) = (&stop, &begun);
                scope.spawn(move || {
                    begun.wait();
                    while !stop.load(Ordering::Relaxed) {
                        let text = format!("{thread} prints: {:?}", vec![thread; 100]);
                        println!("{text}");
                        let mut printed = PRINTED.lock().unwrap();
                        printed.push(text);
                        printed.truncate(10);
                    }
                });
            }
            begun.wait();
            let outcome = (0..1000usize).try_for_each(|n| {
                let child = allocate_and_print(n).spawn()?;
                let handle = child.handle();
                assert_eq!(child.join()?, n + 100);
                assert!(handle.wait()?.success());
                Ok(())
            });
            stop.store(true, Ordering::Relaxed);
            outcome
        })?;
    }

    only [forkserver ForkServer, spawn Spawn]
    fn eight_threads_start_children_at_once() {
        thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for n in 0..50 {
                        let n = thread * 50 + n;
                        assert_eq!(allocate_and_print(n).spawn().unwrap().join().unwrap(), n + 100);
                    }
                });
            }
        });
    }

    only [fork Fork]
    fn a_fork_beside_other_threads_is_refused() {
        let (go, wait) = pipe::<()>()?;
        let thread = thread::spawn(move || wait.recv());
        assert!(matches!(allocate_and_print(1).spawn(), Err(Error::Multithreaded)));
        drop(go);
        let _ = thread.join();
        // A thread that was joined may still be seen for a moment.
        tests::family::until(|| std::fs::read_dir("/proc/self/task").unwrap().count() == 1);
        assert_eq!(allocate_and_print(1).spawn()?.join()?, 101);
    }
}

/// Ends by the code that it receives, or by SIGKILL if it receives none.
#[process]
fn end_by(codes: Receiver<i32>) -> i32 {
    match codes.recv() {
        Ok(0) => 7,
        Ok(code) => std::process::exit(code),
        Err(_) => {
            nix::sys::signal::raise(Signal::SIGKILL).unwrap();
            unreachable!()
        }
    }
}

const CHILDREN: usize = 24;

/// Children that wait to be told how to end, made before any thread exists; and how each will.
type Waiting = Vec<(Child<i32>, offspring::Sender<i32>, Option<i32>)>;

fn waiting_children() -> Result<Waiting, Error> {
    (0..CHILDREN)
        .map(|n| {
            let (tell, told) = pipe()?;
            let code = [Some(0), Some(3), None][n % 3];
            Ok((end_by(told).spawn()?, tell, code))
        })
        .collect()
}

fn is_right(status: ExitStatus, code: Option<i32>) -> bool {
    (status.code(), status.signal()) == (code, code.is_none().then_some(libc::SIGKILL))
}

/// Eight threads wait for each child in all the ways there are; each must be told the same: how the
/// child ended, or (if `thieves` are about) that this is lost.
fn wait_in_eight_threads(children: Waiting, thieves: bool) {
    let lost = AtomicUsize::new(0);
    for (child, tell, code) in children {
        let ready = Arc::new(Barrier::new(9));
        let waiters: Vec<_> = (0..8)
            .map(|thread| {
                let (child, ready) = (child.handle(), Arc::clone(&ready));
                thread::spawn(move || {
                    ready.wait();
                    match thread % 4 {
                        0 => child.wait(),
                        1 => child
                            .wait_timeout(std::time::Duration::from_secs(600))
                            .map(|status| status.expect("it has ended")),
                        2 => {
                            while child.is_alive() {}
                            child.wait()
                        }
                        _ => {
                            offspring::wait(&[&child]).unwrap();
                            assert!(!child.is_alive());
                            child.wait()
                        }
                    }
                })
            })
            .collect();
        ready.wait();
        match code {
            Some(code) => tell.send(code).unwrap(),
            None => drop(tell),
        }
        let statuses: Vec<_> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
        if statuses.iter().all(|status| matches!(status, Err(Error::StatusLost { .. }))) {
            assert!(thieves, "nobody has stolen it");
            lost.fetch_add(1, Ordering::Relaxed);
        } else {
            for status in &statuses {
                assert!(matches!(status, Ok(status) if is_right(*status, code)), "{statuses:?}");
            }
        }
        assert!(!child.is_alive());
        match (child.join(), code) {
            (Ok(7), Some(0)) => {}
            (Err(JoinError::Exited(exit)), code) => assert!(is_right(exit.status(), code)),
            (Err(JoinError::Lost(failure)), _) => {
                assert!(thieves && failure.reason().contains("waitpid"), "{failure}");
            }
            (other, _) => panic!("{code:?}: {other:?}"),
        }
    }
    println!("{} of {CHILDREN} statuses were lost", lost.into_inner());
}

each_start_method! {
    fn eight_threads_that_wait_for_one_child_are_told_the_same() {
        wait_in_eight_threads(waiting_children()?, false);
    }

    fn a_thread_that_reaps_everything_steals_no_status_unnoticed() {
        let children = waiting_children()?;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let thief = scope.spawn(|| {
                let mut stolen = 0;
                while !stop.load(Ordering::Relaxed) {
                    if waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|it| it.pid().is_some()) {
                        stolen += 1;
                    }
                }
                stolen
            });
            // Stop it in any case, or a failure here would hang there.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                wait_in_eight_threads(children, true);
            }));
            stop.store(true, Ordering::Relaxed);
            println!("{} were stolen", thief.join().unwrap());
            outcome.unwrap();
        });
    }

    fn an_ignored_sigchld_loses_no_value_and_hangs_nobody() {
        // SAFETY: ignoring a signal runs no code.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
        wait_in_eight_threads(waiting_children()?, true);
    }

    fn sigchld_ignored_after_the_start_loses_no_value_and_hangs_nobody() {
        let children = waiting_children()?;
        // SAFETY: ignoring a signal runs no code.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
        wait_in_eight_threads(children, true);
    }
}
