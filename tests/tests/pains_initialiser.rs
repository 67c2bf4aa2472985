//! Code of the program that runs before `main` and starts a process: it is told that it must not,
//! and no child does it again in its turn.

use std::sync::Mutex;

use offspring::{Error, process};
use serde::{Deserialize, Serialize};
use tests::each_start_method;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    Refused(String),
    Worked(u64),
    Failed(String),
}

/// What came of each attempt, by whichever initialiser, in this process.
static EARLY: Mutex<Vec<Outcome>> = Mutex::new(Vec::new());
static LATE: Mutex<Vec<Outcome>> = Mutex::new(Vec::new());

fn attempt() -> Outcome {
    match square(3).spawn() {
        Err(error @ Error::BeforeMain) => Outcome::Refused(error.to_string()),
        Err(error) => Outcome::Failed(format!("{error:?}")),
        Ok(child) => match child.join() {
            Ok(value) => Outcome::Worked(value),
            Err(error) => Outcome::Failed(format!("{error:?}")),
        },
    }
}

extern "C" fn early() {
    let outcome = attempt();
    EARLY.lock().unwrap().push(outcome);
}

extern "C" fn late() {
    let outcome = attempt();
    LATE.lock().unwrap().push(outcome);
}

// SAFETY: the section holds pointers to functions that the C library calls before `main`; this is
// one, and what it needs of the standard library needs no `main`.
#[used]
#[unsafe(link_section = ".init_array.00200")]
static EARLY_INITIALISER: extern "C" fn() = early;

// Some linkers put it behind the initialisers that have no number, the library's among them.
// SAFETY: as above.
#[used]
#[unsafe(link_section = ".init_array.70000")]
static LATE_INITIALISER: extern "C" fn() = late;

#[process]
fn square(x: u64) -> u64 {
    x * x
}

#[process]
fn outcomes() -> (Vec<Outcome>, Vec<Outcome>) {
    (EARLY.lock().unwrap().clone(), LATE.lock().unwrap().clone())
}

fn refused() -> Vec<Outcome> {
    vec![Outcome::Refused(Error::BeforeMain.to_string())]
}

#[test]
fn the_program_is_told_to_start_it_from_main() {
    let (early, late) = outcomes().run();
    assert_eq!(early, refused());
    // The library's own initialiser may have run by then; then it can start processes already.
    assert!(late == refused() || late == [Outcome::Worked(9)], "{late:?}");
    assert!(Error::BeforeMain.to_string().contains("move this call there"));
}

each_start_method! {
    fn no_child_starts_another_before_main() {
        assert_eq!(outcomes().run(), (refused(), refused()), "in a child of the harness");
        for _ in 0..3 {
            assert_eq!(outcomes().spawn()?.join()?, (refused(), refused()));
        }
    }
}
