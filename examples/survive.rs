//! Why processes: a parser with three bugs, and a program that survives all of them.
//!
//! [`expand`](parser::expand) stands for what one has no choice but to call: a decoder for somebody else's format, a
//! C library, a plugin. In a thread, each of these bugs would take the whole program down.

use std::error::Error;
use std::time::Duration;

use offspring::{Builder, Child, JoinError, Stdio};
use parser::expand;

#[path = "parser.rs"]
mod parser;

/// What became of one input.
fn outcome(child: Child<Result<String, String>>) -> Result<String, Box<dyn Error>> {
    if child.wait_timeout(Duration::from_secs(1))?.is_none() {
        child.kill()?;
        return Ok("took too long, and was killed".into());
    }
    Ok(match child.join() {
        Ok(Ok(text)) => format!("gave {text:?}"),
        Ok(Err(error)) => format!("was refused: {error}"),
        Err(JoinError::Exited(exit)) => format!("crashed: {exit}"),
        Err(other) => format!("failed: {other}"),
    })
}

pub fn main() -> Result<(), Box<dyn Error>> {
    let inputs = [
        ("a sound text", "2(na)batm".into()),
        ("a mistake", "2(na".into()),
        ("deep nesting", "1(".repeat(1_000_000)),
        ("an endless skip", "0(".into()),
        ("a bomb", "99999(99999(99999(boom)))".into()),
        ("another sound text", "0(x)2(hey!)".into()),
    ];
    let mut builder = Builder::new();
    builder.memory_limit(512 << 20).stderr(Stdio::null());
    // All at once: one that hangs does not hold up the others.
    let children = inputs.map(|(what, text)| (what, builder.spawn(expand(text))));
    for (what, child) in children {
        println!("  {what:18} {}", outcome(child?)?);
    }
    println!("  and this program is alive and well");
    Ok(())
}
