//! `#[offspring::test]`: what it says of a test that fails, and that nothing of it is left. The tests
//! of the package `failing` are run, by cargo and by nextest, and the reports are read.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{LazyLock, mpsc};
use std::{env, fs, thread};

use nix::sys::ptrace;
use nix::unistd::Pid;
use tests::family::not_tested;

const PASSING: [&str; 7] = [
    "passes",
    "passes_with_a_family",
    "is_alone",
    "is_alone_as_well",
    "has_memory_enough",
    "panics_as_it_should",
    "panics_with_these_words",
];

/// Those that fail, and what is said of each.
const FAILING: [(&str, &[&str]); 13] = [
    (
        "panics",
        &[
            "printed before the panic",
            "and this without an end of line",
            "process 'panics'",
            "panicked at tests/failing/tests/failing.rs:32:5: the tank was empty",
        ],
    ),
    ("returns_an_error", &["Error: Os { code: 2,", "the test returned an error"]),
    ("aborts", &["printed before the abort", "killed by signal 6 (SIGABRT)"]),
    ("overflows_the_stack", &["has overflowed its stack", "killed by signal 11 (SIGSEGV)"]),
    ("exits", &["exited with code 0 without giving its value"]),
    ("hangs", &["family: ", "has not ended within 10s, and was killed", "sleep", "hang-1"]),
    ("aborts_with_a_family", &["family: ", "killed by signal 6 (SIGABRT)"]),
    ("panics_with_a_family", &["family: ", "on purpose"]),
    ("hangs_and_prints", &["again\nagain\n", "has not ended within 1s"]),
    ("wants_too_much_memory", &["memory allocation of 1073741824 bytes failed", "SIGABRT"]),
    ("panics_with_other_words", &["panicked at", "by accident"]),
    ("aborts_where_it_should_panic", &["SIGABRT", "did not panic as expected"]),
    ("does_not_panic", &["did not panic as expected"]),
];

/// In the environment of all that is run here, so that what is left of it can be found.
const MARK: &str = "OFFSPRING_FAILING";

struct Report {
    /// What is told of all tests.
    text: String,
    /// Who bears the mark when all is over.
    left: Vec<String>,
}

/// Runs the tests of the package by `cargo ARGUMENTS .. -- TO_HARNESS`, with a build in the directory of this build.
fn run(arguments: &[&str], to_harness: &[&str]) -> Report {
    run_with(arguments, to_harness, &[])
}

fn run_with(arguments: &[&str], to_harness: &[&str], environment: &[(&str, &OsStr)]) -> Report {
    let arguments_to_both = [arguments, to_harness].concat().join(" ");
    let mark = format!("{}-{arguments_to_both}", std::process::id());
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    // What this run is told by cargo and nextest is not for that one.
    let told = |key: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "NEXTEST"].iter().any(|start| key.starts_with(start))
    };
    for (key, _) in env::vars().filter(|(key, _)| told(key)) {
        command.env_remove(key);
    }
    let output = command
        .args(arguments)
        .args(["-p", "failing", "--test", "failing", "--target-dir"])
        .arg(target)
        .arg("--")
        .args(to_harness)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env(MARK, &mark)
        .envs(environment.iter().copied())
        .env("RUST_BACKTRACE", "0")
        .env("CARGO_TERM_COLOR", "never")
        .output()
        .unwrap();
    let Output { stdout, stderr, .. } = output;
    let text =
        [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
    Report { text, left: bearers(&mark) }
}

/// The processes that have the mark in their environment.
fn bearers(mark: &str) -> Vec<String> {
    let variable = format!("{MARK}={mark}");
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let dir = entry.ok()?.path();
            let environment = fs::read(dir.join("environ")).ok()?;
            let bears = environment.split(|&byte| byte == 0).any(|it| it == variable.as_bytes());
            bears.then(|| fs::read_to_string(dir.join("stat")).unwrap_or_default())
        })
        .collect()
}

/// What the standard harness says. One run is enough for all that is asked of it.
static HARNESS: LazyLock<Report> = LazyLock::new(|| run(&["test"], &[]));

/// The lines about one test: up to the next one's.
fn section(name: &str) -> &'static str {
    let text = &HARNESS.text;
    let (_, rest) = text
        .split_once(&format!("---- {name} stdout ----\n"))
        .unwrap_or_else(|| panic!("nothing is told of {name}:\n{text}"));
    rest.split_once("\n---- ").map_or(rest, |(section, _)| section)
}

#[test]
fn a_failure_is_that_tests_alone() {
    let text = &HARNESS.text;
    let outcome = |name: &str, outcome: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with(&format!("test {name} ")));
        let line = lines.next().unwrap_or_else(|| panic!("no {name}:\n{text}"));
        assert!(line.ends_with(outcome), "{line}");
    };
    PASSING.into_iter().for_each(|name| outcome(name, "ok"));
    FAILING.into_iter().for_each(|(name, _)| outcome(name, "FAILED"));
    outcome("is_ignored", "ignored, it takes a year");
    assert!(!text.contains("is_configured_out"), "{text}");
}

#[test]
fn each_failure_is_told_with_what_was_printed() {
    for (name, said) in FAILING {
        let section = section(name);
        for text in said {
            assert!(section.contains(text), "{name}: '{text}' is not in\n{section}");
        }
    }
}

#[test]
fn what_a_test_prints_is_shown_only_if_it_fails() {
    assert!(!HARNESS.text.contains("printed by one that passes"));
    let shown = run(&["test"], &["--nocapture", "pass"]);
    assert!(shown.text.contains("printed by one that passes"), "{}", shown.text);
}

/// The processes that a test has started, by what it has printed.
fn family(output: &str) -> Vec<&str> {
    let (_, family) = output.split_once("family: ").unwrap_or_else(|| panic!("{output}"));
    let family: Vec<_> = family.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(family.len(), 3, "{output}");
    family
}

#[test]
fn what_a_test_that_hangs_has_started_is_listed() {
    let section = section("hangs");
    let (_, tree) = section.split_once("and was killed").unwrap();
    let (_, child) = section.split_once("\nand ").unwrap();
    let child = child.lines().next().unwrap();
    for pid in family(section).into_iter().chain([child]) {
        let line = |line: &str| line.split_whitespace().next() == Some(pid);
        assert!(tree.lines().any(line), "{pid} is not in\n{section}");
    }
}

#[test]
fn nothing_is_left_of_a_test_however_it_ends() {
    for name in ["hangs", "aborts_with_a_family", "panics_with_a_family"] {
        family(section(name));
    }
    assert_eq!(HARNESS.left, Vec::<String>::new());
    let passing = run(&["test"], &["--nocapture", "--exact", "passes_with_a_family"]);
    assert!(passing.text.contains("1 passed"), "{}", passing.text);
    family(&passing.text);
    assert_eq!(passing.left, Vec::<String>::new());
}

/// Takes hold of the process that whoever connects tells of, so that it can be killed but does not end,
/// for as long as the other end of `hold` is there.
fn take_hold(listener: &UnixListener, hold: &mpsc::Receiver<()>) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut pid = [0; 4];
    stream.read_exact(&mut pid).unwrap();
    let pid = Pid::from_raw(i32::from_ne_bytes(pid));
    // It stops on its way out. When this thread ends, so does it.
    ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACEEXIT).unwrap();
    stream.write_all(&[1]).unwrap();
    let _ = hold.recv();
}

#[test]
fn what_cannot_be_ended_is_told_and_not_waited_for_without_end() {
    const NAME: &str = "leaves_what_cannot_be_ended";
    let dir = tempfile::tempdir().unwrap();
    let address = dir.path().join("holder");
    let listener = UnixListener::bind(&address).unwrap();
    let (release, hold) = mpsc::channel();
    let holder = thread::spawn(move || take_hold(&listener, &hold));
    let Report { text, left } =
        run_with(&["test"], &["--ignored", "--exact", NAME], &[("HOLDER", address.as_os_str())]);
    assert!(text.contains("was killed and has not ended within 10s:\n"), "{text}");
    assert!(text.contains(&format!("test {NAME} ... FAILED")), "{text}");
    assert_eq!(left.len(), 1, "{left:?}");
    let pid = left[0].split(' ').next().unwrap().parse().unwrap();
    assert!(text.lines().any(|line| line.starts_with(&format!("{pid} "))), "{pid}: {text}");
    drop(release);
    holder.join().unwrap();
    tests::await_end_of(pid);
}

#[test]
fn nextest_runs_them_too() {
    let installed = Command::new("cargo-nextest").arg("--version").output();
    if let Err(error) = installed {
        return not_tested("reports by nextest", format_args!("cargo-nextest: {error}"));
    }
    let Report { text, left } = run(&["nextest", "run", "--no-fail-fast"], &[]);
    let counts = format!(
        "{} tests run: {} passed, {} failed, 2 skipped",
        PASSING.len() + FAILING.len(),
        PASSING.len(),
        FAILING.len(),
    );
    assert!(text.contains(&counts), "'{counts}' is not in\n{text}");
    for (name, said) in FAILING {
        for said in said {
            let line = said.lines().next().unwrap();
            assert!(text.contains(line), "{name}: '{line}' is not in\n{text}");
        }
    }
    assert_eq!(left, Vec::<String>::new());
}
