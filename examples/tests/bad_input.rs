//! What every example of real work does alike with what it cannot read, and where it cannot write.

mod common;

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{output_to, run};
use tempfile::TempDir;

/// Each of them, and what it is to be asked for so that it prints something: a directory is put in the
/// place of `DIR`, another, which is empty, in that of `OUT`.
const PROGRAMS: [(&str, &str, &[&str]); 7] = [
    ("cases", env!("CARGO_BIN_EXE_cases"), &["DIR"]),
    ("checksums", env!("CARGO_BIN_EXE_checksums"), &["DIR"]),
    (
        "mandelbrot",
        env!("CARGO_BIN_EXE_mandelbrot"),
        &["--width=9", "--height=9", "--output=/dev/null"],
    ),
    ("server", env!("CARGO_BIN_EXE_server"), &["--listen=127.0.0.1:0"]),
    ("thumbnails", env!("CARGO_BIN_EXE_thumbnails"), &["DIR", "OUT"]),
    ("timeline", env!("CARGO_BIN_EXE_timeline"), &["--show"]),
    ("words", env!("CARGO_BIN_EXE_words"), &["DIR"]),
];

/// A directory with one good case in it, which is a text as well, and an empty one.
fn directories() -> (TempDir, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("case"), "3(na)").unwrap();
    (dir, tempfile::tempdir().unwrap())
}

fn arguments<'a>(pattern: &[&'a str], dir: &'a Path, out: &'a Path) -> Vec<&'a OsStr> {
    let in_place = |argument: &&'a str| match *argument {
        "DIR" => dir.as_os_str(),
        "OUT" => out.as_os_str(),
        other => OsStr::new(other),
    };
    pattern.iter().map(in_place).collect()
}

#[test]
fn each_explains_itself() {
    for (name, program, _) in PROGRAMS {
        for argument in ["--help", "-h"] {
            let (code, text, errors) = run(program, [argument]);
            assert_eq!((code, &*errors), (Some(0), ""), "{name}");
            assert!(text.contains(&format!("Usage: {name}")), "{text}");
        }
    }
}

#[test]
fn each_refuses_an_option_that_it_does_not_know() {
    for (name, program, _) in PROGRAMS {
        let outcome = run(program, ["--colour"]);
        let said = format!("{name}: invalid option '--colour'\n");
        assert_eq!(outcome, (Some(1), String::new(), said));
    }
}

#[test]
fn each_says_that_its_output_cannot_be_written() {
    for (name, program, pattern) in PROGRAMS {
        for pattern in [pattern, &["--help"]] {
            let (dir, out) = directories();
            let full = File::options().write(true).open("/dev/full").unwrap();
            let mut command = Command::new(program);
            command.args(arguments(pattern, dir.path(), out.path()));
            let Output { status, stderr, .. } = output_to(full, &mut command);
            let said = String::from_utf8(stderr).unwrap();
            let full = io::Error::from_raw_os_error(28);
            assert_eq!(said, format!("{name}: cannot write the output: {full}\n"));
            assert_eq!(status.code(), Some(1), "{name}");
        }
    }
}

#[test]
fn each_ends_without_a_word_when_nobody_reads_its_output_any_more() {
    for (name, program, pattern) in PROGRAMS {
        let (dir, out) = directories();
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(program);
        command.args(arguments(pattern, dir.path(), out.path()));
        let Output { status, stderr, .. } = output_to(writer, &mut command);
        assert_eq!(String::from_utf8(stderr).unwrap(), "", "{name}");
        assert_eq!(status.code(), Some(141), "{name}"); // as by SIGPIPE
    }
}

/// Runs a program as somebody who may not read all files: a copy of it, in a directory that is open to
/// all, for its own need not be.
fn run_as_a_user(program: &str, arguments: &[&OsStr]) -> (Option<i32>, String) {
    const NOBODY: u32 = 65_534;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join("program");
    fs::copy(program, &copy).unwrap();
    let mut command = Command::new(&copy);
    command.args(arguments).current_dir("/");
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    let Output { status, stderr, .. } = output_to(Stdio::null(), &mut command);
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn each_names_the_directory_that_it_may_not_read() {
    let above = tempfile::tempdir().unwrap();
    fs::set_permissions(above.path(), Permissions::from_mode(0o755)).unwrap();
    let closed = above.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    let denied = io::Error::from_raw_os_error(13);
    for (name, program, pattern) in PROGRAMS {
        if !pattern.contains(&"DIR") {
            continue;
        }
        let is_deep = matches!(name, "checksums" | "words");
        // Those that look into directories within directories come to it by themselves.
        let asked = if is_deep { above.path() } else { &closed };
        let out = above.path().join("out");
        let outcome = run_as_a_user(program, &arguments(pattern, asked, &out));
        let path = closed.display();
        let said = format!("{name}: cannot read the directory {path}: {denied}\n");
        assert_eq!(outcome, (Some(1), said));
    }
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
}
