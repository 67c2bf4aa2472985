//! Ten thousand tasks, each in a fresh process of its own, three at a time.

use std::collections::HashSet;
use std::error::Error;
use std::time::Instant;

use offspring::{Pool, process};

/// How often this process was asked: always once.
static ASKED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

#[process]
fn who_am_i() -> (u32, u32) {
    let before = ASKED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    (std::process::id(), before)
}

pub fn main() -> Result<(), Box<dyn Error>> {
    const TASKS: usize = 10_000;
    let begin = Instant::now();
    let pool = Pool::builder().workers(3).max_tasks_per_child(1).build()?;
    let answers = pool.map(|_| who_am_i(), 0..TASKS)?;
    pool.join()?;
    assert!(answers.iter().all(|(_, before)| *before == 0), "each process is fresh");
    let pids: HashSet<_> = answers.into_iter().map(|(pid, _)| pid).collect();
    println!(
        "{TASKS} tasks in {TASKS} processes, with {} different numbers, in {:.2} s",
        pids.len(),
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}
