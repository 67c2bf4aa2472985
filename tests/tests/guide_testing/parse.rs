//! Tests that start processes.

use offspring::{JoinError, process};

#[process]
fn parse(text: String) -> u32 {
    text.parse().unwrap()
}

#[test]
fn a_number_is_parsed() {
    assert_eq!(parse("42".into()).spawn().unwrap().join().unwrap(), 42);
}

#[test]
fn what_is_no_number_panics() {
    match parse("x".into()).spawn().unwrap().join() {
        Err(JoinError::Panicked(panic)) => assert!(panic.message().contains("InvalidDigit")),
        other => panic!("{other:?}"),
    }
}

// The work itself can be tested without a process.
#[test]
fn the_work_alone() {
    assert_eq!(parse("7".into()).run(), 7);
}
