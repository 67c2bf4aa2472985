//! Locks: processes that take turns, wait for each other, and hear of those who did not make it.

use std::error::Error;
use std::time::Duration;

use offspring::process;
use offspring::sync::{Barrier, DeadlockDetector, Event, Mutex, Semaphore};

/// A lock and what it protects are one thing, so nobody forgets to lock.
#[process]
fn count(total: Mutex<u64>, times: u32) {
    for _ in 0..times {
        *total.lock().unwrap() += 1;
    }
}

/// A semaphore has permits for so many. This one tells how many others it met inside.
#[process]
fn cross(bridge: Semaphore, on_it: Mutex<u32>) -> u32 {
    let _permit = bridge.acquire().unwrap();
    let met = {
        let mut on_it = on_it.lock().unwrap();
        *on_it += 1;
        *on_it
    };
    std::thread::sleep(Duration::from_millis(5));
    *on_it.lock().unwrap() -= 1;
    met
}

/// Each takes one lock, waits until the other has done so as well, and wants the other's.
#[process]
fn meet(own: Mutex<()>, others: Mutex<()>, both_hold_one: Barrier) -> Result<(), String> {
    let _own = own.lock().unwrap();
    both_hold_one.wait().unwrap();
    let _others = others.lock().map_err(|error| error.to_string())?;
    Ok(())
}

#[process]
fn hold_for_ever(lock: Mutex<u64>, has_it: Event) {
    let _held = lock.lock().unwrap();
    has_it.set();
    std::thread::park();
}

pub fn main() -> Result<(), Box<dyn Error>> {
    // Handles to a lock clone, and travel like any other argument.
    let total = Mutex::new(0)?;
    let children = [1, 2, 3, 4].map(|_| count(total.clone(), 1_000).spawn());
    for child in children {
        child?.join()?;
    }
    println!("  four processes have counted to {} together", total.lock().unwrap());

    let (bridge, on_it) = (Semaphore::new(2)?, Mutex::new(0)?);
    let travellers = [(); 6].map(|()| cross(bridge.clone(), on_it.clone()).spawn());
    let mut most = 0;
    for traveller in travellers {
        most = traveller?.join()?.max(most);
    }
    println!("  six have crossed the bridge, never more than two at once: {most} at most");

    // Two processes that would wait for each other for ever: one of them is told.
    let detector = DeadlockDetector::new()?;
    let left = Mutex::new(())?.detect_deadlocks(&detector);
    let right = Mutex::new(())?.detect_deadlocks(&detector);
    let barrier = Barrier::new(2)?;
    let pair = [
        meet(left.clone(), right.clone(), barrier.clone()).spawn()?,
        meet(right, left, barrier).spawn()?,
    ];
    for child in pair {
        match child.join()? {
            Ok(()) => println!("  one of two has got both locks"),
            Err(deadlock) => println!("  the other was told of a {deadlock}"),
        }
    }

    // A holder that is killed: the next one gets the lock at once, and hears what has happened.
    let has_it = Event::new()?;
    let holder = hold_for_ever(total.clone(), has_it.clone()).spawn()?;
    has_it.wait();
    holder.kill()?;
    let poisoned = total.lock().expect_err("its holder was killed");
    println!("  {poisoned}");
    let value = poisoned.into_inner();
    total.clear_poison();
    println!("  looked at, and found to be in order: {value}");
    Ok(())
}
