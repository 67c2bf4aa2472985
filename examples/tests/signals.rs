//! Ctrl-C and SIGTERM end each example that works for long, with one line and all its processes.

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::WATCHDOG;

/// In the environment of a program and of all that it starts.
const MARK: &str = "EXAMPLES_TEST";

/// How many processes `are` so, by their directories in `/proc`.
fn count(are: impl Fn(&Path) -> bool) -> usize {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter(|entry| entry.as_ref().is_ok_and(|entry| are(&entry.path()))).count()
}

/// Whether a process belongs to a process group.
fn is_member(process: &Path, group: &str) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    // After the name, which may have anything in it: state, parent, group.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(2) == Some(group))
}

/// Whether a process, which lives, has the mark in its environment.
fn bears(process: &Path, mark: &str) -> bool {
    let variable = format!("{MARK}={mark}");
    fs::read(process.join("environ")).is_ok_and(|environment| {
        environment.split(|&byte| byte == 0).any(|entry| entry == variable.as_bytes())
    })
}

fn wait_until(is_so: impl Fn() -> bool, otherwise: &str) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WATCHDOG, "{otherwise}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Starts a program, and when it has processes that work sends the signal to it alone, or to its whole
/// group, as Ctrl-C in a terminal does. Gives what came of it, when none of its processes is left.
fn signalled(command: &mut Command, signal: &str, to_all: bool) -> Output {
    let mark = format!("{} {command:?} {signal} {to_all}", std::process::id());
    let child = command
        .env(MARK, &mark)
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    let kill = |signal: &str, whom: &str| {
        assert!(Command::new("kill").args([signal, "--", whom]).status().unwrap().success());
    };
    wait_until(
        || count(|process| is_member(process, &pid)) > 1,
        &format!("{command:?} starts no processes"),
    );
    let group = format!("-{pid}");
    kill(signal, if to_all { &group } else { &pid });
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    let output = outcome.recv_timeout(WATCHDOG).unwrap_or_else(|_| {
        kill("-9", &group);
        panic!("{command:?} hung after {signal}");
    });
    wait_until(
        || count(|process| bears(process, &mark)) == 0,
        &format!("{command:?} left processes after {signal}"),
    );
    output.unwrap()
}

/// Checks that it says so in one line, and exits with the code that a shell gives such a program.
fn expect_an_end(name: &str, program: &str, arguments: &[&OsStr]) {
    for (signal, to_all, code) in [("-INT", true, 130), ("-TERM", false, 143), ("-TERM", true, 143)]
    {
        let Output { status, stdout, stderr } =
            signalled(Command::new(program).args(arguments), signal, to_all);
        assert_eq!(String::from_utf8_lossy(&stderr), format!("{name}: interrupted\n"), "{signal}");
        assert_eq!(status.code(), Some(code), "{name}: {signal}");
        assert!(stdout.is_empty(), "{name}: {}", String::from_utf8_lossy(&stdout));
    }
}

#[test]
fn checksums_ends() {
    let dir = tempfile::tempdir().unwrap();
    // Takes hours to read, and no place.
    File::create(dir.path().join("endless")).unwrap().set_len(1 << 40).unwrap();
    expect_an_end("checksums", env!("CARGO_BIN_EXE_checksums"), &[dir.path().as_os_str()]);
}

#[test]
fn words_ends() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..100 {
        let file = File::create(dir.path().join(number.to_string())).unwrap();
        file.set_len(32 << 20).unwrap();
    }
    expect_an_end("words", env!("CARGO_BIN_EXE_words"), &[dir.path().as_os_str()]);
}

#[test]
fn mandelbrot_ends() {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("picture.png");
    let arguments = ["--width=8000", "--height=8000", "--output"].map(OsStr::new);
    let arguments = [&arguments[..], &[picture.as_os_str()]].concat();
    expect_an_end("mandelbrot", env!("CARGO_BIN_EXE_mandelbrot"), &arguments);
}

#[test]
fn cases_ends() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..1000 {
        fs::write(dir.path().join(number.to_string()), "0(").unwrap(); // takes for ever
    }
    let arguments = ["--seconds=1000", "--workers=2"].map(OsStr::new);
    let arguments = [&arguments[..], &[dir.path().as_os_str()]].concat();
    expect_an_end("cases", env!("CARGO_BIN_EXE_cases"), &arguments);
}

#[test]
fn thumbnails_ends() {
    let dir = tempfile::tempdir().unwrap();
    // Whoever opens it waits for ever.
    let endless = dir.path().join("endless.png");
    assert!(Command::new("mkfifo").arg(endless).status().unwrap().success());
    let output = dir.path().join("output");
    let arguments = [OsStr::new("--seconds=1000"), dir.path().as_os_str(), output.as_os_str()];
    expect_an_end("thumbnails", env!("CARGO_BIN_EXE_thumbnails"), &arguments);
    assert_eq!(fs::read_dir(output).unwrap().count(), 0);
}
