//! Each example that shows one thing runs, and says what it should; and so does the tour of them all.

mod common;

fn expect(program: &str, lines: &[&str]) {
    let text = common::printed(program);
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
            "ended by signal: 15 (SIGTERM)",
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
fn locks_count_limit_and_tell_of_deadlocks_and_of_the_dead() {
    expect(
        env!("CARGO_BIN_EXE_locks"),
        &[
            "have counted to 4000 together",
            "never more than two at once: ",
            "one of two has got both locks",
            "the other was told of a deadlock: process 'meet-",
            "poisoned: process 'hold_for_ever-1'",
            "found to be in order: 4000",
        ],
    );
}

#[test]
fn queue_shares_work_and_outlives_who_has_put() {
    expect(
        env!("CARGO_BIN_EXE_queue"),
        &[
            "20 numbers are done, 0 are left",
            "the first prime among them: 1000003",
            "have factored 20 together",
            "a process was killed; of what it had put, ",
            "10000 lines of a process that has ended, the first: \"line 0\"",
            "none after the last: nothing is left in the queue, and nobody else has the queue any more",
        ],
    );
}

#[test]
fn pool_survives_its_workers() {
    expect(
        env!("CARGO_BIN_EXE_pool"),
        &[
            "squares: [0, 1, 4, 9, 16, 25]",
            "the first square from 1000 on is 1024",
            "task `parse` of input 1 died of signal: 6 (SIGABRT)",
            "parsed 5 bytes",
            "job 1 is done",
            "task `nap` was cancelled",
        ],
    );
}

#[test]
fn ten_thousand_has_a_fresh_process_for_each_task() {
    expect(env!("CARGO_BIN_EXE_ten_thousand"), &["10000 tasks in 10000 processes"]);
}

#[test]
fn fragile_goes_on_after_crashes_in_c() {
    let lines = [
        "7 apples: the number 7",
        "no text: the end of its process, by signal: 11 (SIGSEGV)",
        "-1: the number -1",
        "and the program goes on",
    ];
    expect(env!("CARGO_BIN_EXE_fragile"), &lines);
}

#[test]
fn tour_shows_them_all() {
    expect(
        env!("CARGO_BIN_EXE_tour"),
        &[
            "A program that survives what it calls",
            "alive and well",
            "hello from a child",
            "the books balance",
            "600 x 400 pixels",
            "told of a deadlock",
        ],
    );
}
