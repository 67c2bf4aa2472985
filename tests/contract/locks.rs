//! Mutual exclusion, re-entry, locks taken together without deadlock, and a lock whose holder was killed.
use std::{thread::sleep, time::Duration};

use offspring::process;
use offspring::sync::{Mutex, ReentrantLock, Semaphore, lock_all};

#[process]
fn deposit(balance: Mutex<i64>, times: u32) {
    for _ in 0..times {
        *balance.lock().unwrap() += 1;
    }
}

#[process]
fn transfer(from: Mutex<i64>, to: Mutex<i64>, times: u32) {
    for _ in 0..times {
        let (mut from, mut to) = lock_all((&from, &to)).unwrap(); // any order of arguments, never a deadlock
        *from -= 1;
        *to += 1;
    }
}

#[process]
fn nest(lock: ReentrantLock<()>, depth: u32) -> u32 {
    let _held = lock.lock().unwrap();
    if depth == 0 { 0 } else { 1 + nest(lock.clone(), depth - 1).run() }
}

#[process]
fn seize(lock: Mutex<i64>, permits: Semaphore) {
    let _held = lock.lock().unwrap();
    let _permit = permits.acquire().unwrap();
    sleep(Duration::from_secs(600));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (a, b) = (Mutex::new(0i64)?, Mutex::new(0i64)?);
    let children = [deposit(a.clone(), 10_000).spawn()?, deposit(a.clone(), 10_000).spawn()?];
    for child in children {
        child.join()?;
    }
    assert_eq!(*a.lock().unwrap(), 20_000);

    let crossing = [
        transfer(a.clone(), b.clone(), 5000).spawn()?,
        transfer(b.clone(), a.clone(), 4000).spawn()?,
    ];
    for child in crossing {
        child.join()?;
    }
    assert_eq!((*a.lock().unwrap(), *b.lock().unwrap()), (19_000, 1_000));

    assert_eq!(nest(ReentrantLock::new(())?, 5).spawn()?.join()?, 5);

    let permits = Semaphore::new(1)?;
    let holder = seize(a.clone(), permits.clone()).spawn()?;
    while permits.available() == 1 {
        sleep(Duration::from_millis(1));
    }
    holder.kill()?;
    holder.wait()?;
    let poisoned =
        a.lock().expect_err("the holder was killed: the lock says so instead of hanging");
    assert_eq!(*poisoned.into_inner(), 19_000);
    assert!(
        permits.acquire_timeout(Duration::from_secs(2)).is_ok(),
        "a killed holder's permit comes back"
    );
    Ok(())
}
