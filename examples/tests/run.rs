//! Each example runs, and says what it should.

use std::process::{Command, Output};

fn run(program: &str) -> String {
    let Output { status, stdout, stderr } = Command::new(program).output().unwrap();
    let text = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{status}\n{text}\n{}", String::from_utf8_lossy(&stderr));
    text
}

fn expect(program: &str, lines: &[&str]) {
    let text = run(program);
    for line in lines {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
}

#[test]
fn function_returns_values_and_waits_for_a_dropped_child() {
    expect(
        env!("CARGO_BIN_EXE_function"),
        &["started factor-", "1999966 = [2, 999983]", "hello from a child nobody joins"],
    );
}

#[test]
fn structure_runs_structs_and_enums() {
    expect(
        env!("CARGO_BIN_EXE_structure"),
        &["of 200000 hit", "together: pi is about 3.1", "says: good morning"],
    );
}

#[test]
fn lifecycle_tells_how_each_child_ended() {
    expect(
        env!("CARGO_BIN_EXE_lifecycle"),
        &[
            "sleeper slept 30ms",
            "is a daemon: true",
            "ended by signal Some(15)",
            "was killed by signal 15 (SIGTERM)",
            "exited with code 3",
            "attempt to divide by zero",
            "6 / 3 = 2",
        ],
    );
}

#[test]
fn pipe_talks_both_ways_and_shares_a_stream() {
    expect(
        env!("CARGO_BIN_EXE_pipe"),
        &["\"descriptor\" has 10 letters", "was asked 3 times", "is written in"],
    );
}

#[test]
fn survive_outlives_a_crash_a_hang_and_a_bomb() {
    expect(
        env!("CARGO_BIN_EXE_survive"),
        &[
            "gave \"nanabatm\"",
            "was refused: a group without an end",
            "killed by signal 11 (SIGSEGV)",
            "took too long, and was killed",
            "killed by signal 6 (SIGABRT)",
            "gave \"hey!hey!\"",
            "alive and well",
        ],
    );
}

#[test]
fn tour_shows_them_all() {
    expect(
        env!("CARGO_BIN_EXE_tour"),
        &["A program that survives what it calls", "alive and well", "hello from a child"],
    );
}
