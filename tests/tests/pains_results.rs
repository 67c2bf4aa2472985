//! However a child ends, its parent is told: the value, or a typed reason that names the process,
//! its number and what happened. And the next child is none the worse for it.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{Signal, raise};
use offspring::{Child, Error, JoinError, Process, process};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tests::each_start_method;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum End {
    Exit(i32),
    /// Without any handlers.
    ExitNow(i32),
    ExitInThread(i32),
    Abort,
    Kill(i32),
    /// A write through a null pointer.
    Segfault,
    Overflow,
    /// A panic while another unwinds.
    PanicTwice,
    Execute,
}

/// Ends in this way. It would give a value if it did not.
#[process]
fn end(how: End) -> u32 {
    struct Worse;
    impl Drop for Worse {
        fn drop(&mut self) {
            panic!("worse");
        }
    }
    match how {
        End::Exit(code) => std::process::exit(code),
        // SAFETY: _exit has no memory effects.
        End::ExitNow(code) => unsafe { libc::_exit(code) },
        End::ExitInThread(code) => {
            thread::spawn(move || std::process::exit(code));
            thread::sleep(Duration::from_secs(600));
        }
        End::Abort => std::process::abort(),
        End::Kill(number) => raise(Signal::try_from(number).unwrap()).unwrap(),
        // SAFETY: none. It is to crash.
        End::Segfault => unsafe { std::ptr::null_mut::<u32>().write_volatile(1) },
        End::Overflow => drop(std::hint::black_box(descend(0))),
        End::PanicTwice => {
            let _worse = Worse;
            panic!("bad");
        }
        End::Execute => panic!("{}", Command::new("true").exec()),
    }
    7
}

#[allow(unconditional_recursion, reason = "it is to overflow the stack")]
fn descend(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 512]);
    descend(depth + 1) + frame[(depth % 512) as usize]
}

#[process]
fn square(x: u64) -> u64 {
    x * x
}

/// What `join` says of a child that gives no value; it names the child.
fn failure<T: DeserializeOwned>(child: Child<T>) -> JoinError {
    let (name, pid) = (child.name().to_owned(), child.pid().to_string());
    let error = child.join().err().expect("there is no value to give");
    let text = error.to_string();
    assert!(text.contains(&name) && text.contains(&pid), "{text}");
    assert_eq!(square(3).spawn().unwrap().join().unwrap(), 9, "after {text}");
    error
}

each_start_method! {
    fn an_exit_code_comes_back_as_one() {
        let ends = [End::Exit(3), End::ExitNow(3), End::ExitInThread(3)];
        for how in ends.into_iter().chain([0, 1, 101, 255].map(End::Exit)) {
            let child = end(how).spawn()?;
            let status = child.wait()?;
            let wanted = match how {
                End::Exit(code) => code,
                _ => 3,
            };
            assert_eq!(status.code(), Some(wanted), "{how:?}");
            match failure(child) {
                JoinError::Exited(exit) => {
                    assert_eq!(exit.code(), Some(wanted), "{how:?}");
                    assert!(exit.to_string().contains(&format!("code {wanted}")), "{exit}");
                }
                other => panic!("{how:?}: {other:?}"),
            }
        }
    }

    fn a_signal_comes_back_as_one() {
        let ends = [
            (End::Abort, Signal::SIGABRT),
            (End::Segfault, Signal::SIGSEGV),
            (End::Overflow, Signal::SIGSEGV),
            (End::PanicTwice, Signal::SIGABRT),
            (End::Kill(libc::SIGKILL), Signal::SIGKILL),
            (End::Kill(libc::SIGTERM), Signal::SIGTERM),
            (End::Kill(libc::SIGINT), Signal::SIGINT),
            (End::Kill(libc::SIGILL), Signal::SIGILL),
            (End::Kill(libc::SIGUSR1), Signal::SIGUSR1),
            (End::Kill(libc::SIGXCPU), Signal::SIGXCPU),
        ];
        for (how, signal) in ends {
            let child = end(how).spawn()?;
            assert_eq!(child.wait()?.signal(), Some(signal as i32), "{how:?}");
            match failure(child) {
                JoinError::Exited(exit) => {
                    assert_eq!(exit.signal(), Some(signal as i32), "{how:?}");
                    assert!(exit.to_string().contains(signal.as_str()), "{exit}");
                }
                other => panic!("{how:?}: {other:?}"),
            }
        }
    }

    fn a_child_that_becomes_another_program_gives_no_value() {
        match failure(end(End::Execute).spawn()?) {
            JoinError::Exited(exit) => assert_eq!(exit.code(), Some(0)),
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Refusal {
    TooLarge { by: u64 },
    Unlucky,
}

#[process]
fn choose(x: u64) -> Result<u64, Refusal> {
    match x {
        13 => Err(Refusal::Unlucky),
        100.. => Err(Refusal::TooLarge { by: x - 100 }),
        _ => Ok(x),
    }
}

#[process]
struct Panicking {
    message: Option<String>,
}

impl Process for Panicking {
    type Output = ();

    fn run(self) {
        match self.message {
            Some(message) => panic!("{message}"),
            None => std::panic::panic_any(7u8),
        }
    }
}

/// Its panic is another thread's, and no reason for the work to fail.
#[process]
fn shrug() -> bool {
    thread::spawn(|| panic!("not here")).join().is_err()
}

each_start_method! {
    fn a_childs_own_error_is_a_value() {
        assert_eq!(choose(7).spawn()?.join()?, Ok(7));
        assert_eq!(choose(13).spawn()?.join()?, Err(Refusal::Unlucky));
        assert_eq!(choose(107).spawn()?.join()?, Err(Refusal::TooLarge { by: 7 }));
    }

    fn a_panic_comes_back_with_its_message_and_place() {
        let long = "long ".repeat(100_000);
        for message in ["bad luck", "", "zero \0 and \u{1F600}", &long] {
            let child = Panicking { message: Some(message.into()) }.spawn()?;
            assert_eq!(child.wait()?.code(), Some(101));
            match failure(child) {
                JoinError::Panicked(panic) => {
                    assert_eq!(panic.message(), message);
                    assert!(panic.location().is_some_and(|place| place.contains(file!())));
                }
                other => panic!("{other:?}"),
            }
        }
        let error = failure(Panicking { message: None }.spawn()?);
        assert!(matches!(&error, JoinError::Panicked(_)), "{error:?}");
        assert!(error.may_have_run());
    }

    fn a_panic_of_another_thread_leaves_the_value_alone() {
        assert!(shrug().spawn()?.join()?);
    }

    fn what_a_child_has_done_is_not_mistaken_for_what_it_has_not() {
        for how in [End::Exit(0), End::Abort, End::Kill(libc::SIGKILL)] {
            assert!(failure(end(how).spawn()?).may_have_run(), "{how:?}");
        }
    }

    /// As Python's `Pool` does for ever when each new worker fails at once.
    fn a_hundred_failures_in_a_row_leave_nothing_behind() {
        let fail = || -> Result<(), Error> {
            failure(end(End::Abort).spawn()?);
            failure(end(End::Exit(3)).spawn()?);
            failure(Panicking { message: None }.spawn()?);
            Ok(())
        };
        fail()?;
        let before = tests::descriptors();
        for _ in 0..33 {
            fail()?;
        }
        assert_eq!(tests::descriptors(), before);
        assert_eq!(tests::family::zombies(), [0u32; 0]);
    }
}
