//! A C function that crashes on some inputs, in a pool that does not.
//!
//! `atol` of the C library reads a text through the pointer that it is given, whatever that is.

use std::error::Error;
use std::ffi::{CString, c_char, c_long};

use offspring::{Pool, TaskError, process};

unsafe extern "C" {
    fn atol(text: *const c_char) -> c_long;
}

/// What the C library makes of a text. It was written for texts, and there is none here sometimes.
#[process]
fn number_of(text: Option<CString>) -> c_long {
    let pointer = text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    // SAFETY: none, if there is no text: that is what the process of its own is for. Reading from
    // address 0 ends it.
    unsafe { atol(pointer) }
}

pub fn main() -> Result<(), Box<dyn Error>> {
    let texts = [Some("42"), Some("7 apples"), None, Some("pears"), None, Some("-1")];
    let inputs = texts.map(|text| text.map(|text| CString::new(text).expect("no zeros in it")));
    let pool = Pool::new(2)?;
    for (text, outcome) in
        texts.map(|text| text.unwrap_or("no text")).iter().zip(pool.map_settled(number_of, inputs))
    {
        match outcome {
            Ok(number) => println!("{text}: the number {number}"),
            Err(TaskError::WorkerDied(death)) => {
                println!("{text}: the end of its process, by {}", death.status())
            }
            Err(other) => return Err(other.into()),
        }
    }
    println!("and the program goes on");
    pool.join()?;
    Ok(())
}
