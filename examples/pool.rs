//! A pool: workers that wait for tasks, and that may die.

use std::error::Error;
use std::time::Duration;

use offspring::{Pool, TaskError, as_completed, process};

#[process]
fn square(x: u64) -> u64 {
    x * x
}

#[process]
fn scale(factor: u64, x: u64) -> u64 {
    factor * x
}

/// Crashes on some inputs, as code that reads files from elsewhere does.
#[process]
fn parse(text: String) -> usize {
    if text.contains('\0') {
        std::process::abort();
    }
    text.len()
}

#[process]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

pub fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder().workers(3).name("worker").build()?;

    // The closure runs here, and may capture; the work is done there.
    let factor = 10;
    println!("squares: {:?}", pool.map(square, 0..6)?);
    println!("scaled:  {:?}", pool.map(|x| scale(factor, x), 0..6)?);

    // Results as they are needed, of inputs that never end.
    let big = pool.imap(square, 1..).find(|square| matches!(square, Ok(1000..)));
    println!("the first square from 1000 on is {}", big.expect("they never end")?);

    // One task that crashes is one error. Its worker is replaced, and nothing else happens.
    let texts = ["one", "two\0", "three"].map(String::from);
    for outcome in pool.map_settled(parse, texts) {
        match outcome {
            Ok(len) => println!("parsed {len} bytes"),
            Err(TaskError::WorkerDied(death)) => {
                println!("{} died of {}", death.task(), death.status())
            }
            Err(other) => return Err(other.into()),
        }
    }

    // Whichever is done first.
    let jobs = [40, 1, 20].map(|millis| pool.submit(nap(millis)));
    for (place, result) in as_completed(jobs) {
        println!("job {place} is done: it slept for {} ms", result?);
    }

    // A task that runs is ended by ending its worker.
    let job = pool.submit(nap(3_600_000));
    job.cancel();
    println!("{}", job.wait().expect_err("nobody sleeps for so long"));

    pool.join()?;
    Ok(())
}
