//! A plugin: a shared object with this crate inside, for another program to load.

use offspring::{Error, process};

#[process]
fn square(x: u64) -> u64 {
    x * x
}

/// What happened when the plugin started a process: 0 if it was refused as it should be, 1 if it
/// worked, 2 if it failed in some other way.
#[unsafe(no_mangle)]
pub extern "C" fn start_a_process() -> i32 {
    match square(3).spawn() {
        Err(Error::NotTheProgram) => 0,
        Ok(_) => 1,
        Err(_) => 2,
    }
}
