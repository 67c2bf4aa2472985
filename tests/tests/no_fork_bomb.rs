//! A program that starts a process before `main`, and so in each child again: Python's
//! `TestNoForkBomb`.

use std::sync::atomic::{AtomicU32, Ordering};

use offspring::{Error, process};
use tests::{children_of, each_start_method};

/// What came of the attempt in this process.
static OUTCOME: AtomicU32 = AtomicU32::new(NOT_TRIED);
const NOT_TRIED: u32 = 0;
const REFUSED: u32 = 1;
const STARTED: u32 = 2;
const FAILED: u32 = 3;

extern "C" fn start_before_main() {
    let outcome = match tick().spawn() {
        Err(Error::BeforeMain) => REFUSED,
        Ok(_) => STARTED,
        Err(_) => FAILED,
    };
    OUTCOME.store(outcome, Ordering::Relaxed);
}

// SAFETY: the section holds pointers to functions that are called before `main`; this is one, and
// needs nothing that is not there by then.
#[used]
#[unsafe(link_section = ".init_array")]
static INITIALISER: extern "C" fn() = start_before_main;

#[process]
fn tick() -> (u32, usize) {
    (OUTCOME.load(Ordering::Relaxed), children_of(std::process::id()).len())
}

each_start_method! {
    /// `test_noforkbomb`: a child never gets to `main`; it is refused what runs before.
    fn test_noforkbomb_is_refused_in_each_child() {
        assert_eq!(tick().run().0, REFUSED); // the case is such a child
        for _ in 0..3 {
            assert_eq!(tick().spawn()?.join()?, (REFUSED, 0));
        }
    }
}
