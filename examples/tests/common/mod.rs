//! What the tests of the examples share: programs that are run to their end, and killed if they hang.
#![allow(dead_code, reason = "each test uses some of it")]

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a program may take before it counts as hung.
pub const WATCHDOG: Duration = Duration::from_secs(120);

/// What comes of a program; one that hangs is killed.
pub fn output(command: &mut Command) -> Output {
    output_to(Stdio::piped(), command)
}

/// The same of a program that prints to a place of its own.
pub fn output_to(stdout: impl Into<Stdio>, command: &mut Command) -> Output {
    let child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    command.stdout(Stdio::null()); // it may hold the place, which is the child's alone
    let pid = child.id().to_string();
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    outcome.recv_timeout(WATCHDOG).map_or_else(
        |_| {
            let _ = Command::new("kill").args(["-9", &pid]).status();
            panic!("{command:?} hung");
        },
        Result::unwrap,
    )
}

/// A program's exit code for these arguments, what it prints, and what it says on standard error.
pub fn run<S: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = S>,
) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = output(Command::new(program).args(arguments));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// What a program prints that needs no arguments, and succeeds.
pub fn printed(program: &str) -> String {
    let (code, text, errors) = run(program, [""; 0]);
    assert_eq!(code, Some(0), "{text}\n{errors}");
    text
}

/// Checks that for each list of arguments a program says why it cannot, in one line, and nothing else.
pub fn expect_refusals(name: &str, program: &str, cases: &[(&[&str], &str)]) {
    for (arguments, message) in cases {
        let (code, text, errors) = run(program, *arguments);
        assert_eq!((code, &*text), (Some(1), ""), "{arguments:?}: {errors}");
        assert!(errors.starts_with(&format!("{name}: ")), "{arguments:?}: {errors}");
        assert!(errors.contains(message), "{arguments:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}
