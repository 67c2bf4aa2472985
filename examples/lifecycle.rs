//! The life of a process: its name, whether it lives, how it is ended, and what it leaves behind.

use std::error::Error;
use std::time::Duration;

use offspring::{Builder, JoinError, Stdio, process};

#[process]
fn nap(time: Duration) -> String {
    std::thread::sleep(time);
    format!("{} slept {time:?}", offspring::current().name())
}

#[process]
fn divide(a: i32, b: i32) -> i32 {
    a / b
}

#[process]
fn leave(code: i32) {
    std::process::exit(code);
}

pub fn main() -> Result<(), Box<dyn Error>> {
    const LONG: Duration = Duration::from_secs(600);

    // A builder sets what a plain `spawn` leaves at its default. `ps` shows the name.
    let named = Builder::new().name("sleeper").spawn(nap(Duration::from_millis(30)))?;
    println!("  {} lives: {}", named.name(), named.is_alive());
    println!("  not yet done: {}", named.wait_timeout(Duration::ZERO)?.is_none());
    println!("  {}", named.join()?);

    // A daemon does not keep the program from ending: it is ended with it.
    let daemon = Builder::new().daemon(true).spawn(nap(LONG))?;
    println!("  {} is a daemon: {}", daemon.name(), daemon.is_daemon());

    for child in offspring::active_children() {
        println!("  alive now: {} (pid {})", child.name(), child.pid());
    }

    // Waiting tells how a process ended, as often as one asks.
    let stopped = nap(LONG).spawn()?;
    stopped.terminate()?;
    println!("  ended by {}", stopped.wait()?);

    // Joining gives its value, or tells why there is none.
    println!("  {}", stopped.join().expect_err("it was terminated"));
    println!("  {}", leave(3).spawn()?.join().expect_err("it exited"));
    let quiet = Builder::new().stderr(Stdio::null()).spawn(divide(1, 0))?;
    match quiet.join() {
        Err(JoinError::Panicked(panic)) => {
            println!("  {panic}");
            println!("  ({:?}, at {})", panic.message(), panic.location().unwrap_or("no place"));
        }
        other => return Err(format!("expected a panic, got {other:?}").into()),
    }
    println!("  and this program goes on: 6 / 3 = {}", divide(6, 3).spawn()?.join()?);
    Ok(())
}
