//! A process from a function.
//!
//! `#[process]` makes `factor(..)` describe work instead of doing it. `.spawn()` starts that work
//! in another process; `.join()` waits for it, and gives what the function returned.

use std::error::Error;

use offspring::process;

/// The prime factors of `n`, the slow way. Whatever serialises can be an argument or a result.
#[process]
fn factor(n: u64) -> Vec<u64> {
    let mut rest = n;
    let mut factors = Vec::new();
    let mut divisor = 2;
    while rest > 1 {
        while rest.is_multiple_of(divisor) {
            factors.push(divisor);
            rest /= divisor;
        }
        divisor += 1;
    }
    println!("  {} (pid {}) is done", offspring::current().name(), std::process::id());
    factors
}

/// A function that returns nothing is a process, too.
#[process]
fn greet(name: String) {
    println!("  hello from {name}, in process {}", std::process::id());
}

pub fn main() -> Result<(), Box<dyn Error>> {
    println!("This is process {}, on {} processors.", std::process::id(), offspring::cpu_count());

    // All three run at once. Each has a process number, and a name made from its function's.
    let numbers = [720_720, 999_983 * 2, 97 * 89 * 83];
    let children = numbers.map(|n| factor(n).spawn());
    for child in children.iter().flatten() {
        println!("  started {} with pid {}", child.name(), child.pid());
    }
    for (n, child) in numbers.into_iter().zip(children) {
        println!("  {n} = {:?}", child?.join()?);
    }

    // The same work, in this process: nothing is started.
    assert_eq!(factor(12).run(), [2, 2, 3]);

    // A child whose handle is dropped runs on. When `main` returns, it is waited for.
    greet("a child nobody joins".into()).spawn()?;
    Ok(())
}
