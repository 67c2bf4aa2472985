//! Why processes: a parser with three bugs, and a program that survives all of them.
//!
//! `expand` stands for what one has no choice but to call: a decoder for somebody else's format, a
//! C library, a plugin. In a thread, each of these bugs would take the whole program down.

use std::error::Error;
use std::time::Duration;

use offspring::{Builder, Child, JoinError, Stdio, process};

/// Expands a text in which `3(ab)` stands for `ababab`.
#[process]
fn expand(text: String) -> Result<String, String> {
    let mut rest = text.as_str();
    let expanded = expand_group(&mut rest)?;
    if rest.is_empty() { Ok(expanded) } else { Err(format!("trailing {rest:?}")) }
}

fn expand_group(rest: &mut &str) -> Result<String, String> {
    let mut expanded = String::new();
    while let Some(first) = rest.chars().next() {
        if first == ')' {
            break;
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 {
            expanded.push(first);
            *rest = &rest[first.len_utf8()..];
            continue;
        }
        let count: usize = rest[..digits].parse().map_err(|e| format!("{e}"))?;
        *rest = &rest[digits..];
        *rest = rest.strip_prefix('(').ok_or("a number without a group")?;
        if count == 0 {
            skip_group(rest); // the first bug is in there
            continue;
        }
        let group = expand_group(rest)?; // the second: each level takes stack
        *rest = rest.strip_prefix(')').ok_or("a group without an end")?;
        expanded.push_str(&group.repeat(count)); // the third: a few bytes can ask for terabytes
    }
    Ok(expanded)
}

/// Skips a group that is not wanted.
fn skip_group(rest: &mut &str) {
    let mut depth = 1;
    while depth > 0 {
        let next = rest.chars().next();
        match next {
            Some('(') => depth += 1,
            Some(')') => depth -= 1,
            _ => {}
        }
        *rest = &rest[next.map_or(0, char::len_utf8)..]; // at the end of the text: for ever
    }
}

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
