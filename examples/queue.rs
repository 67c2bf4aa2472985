//! Queues: many processes put in, many get out; nobody waits for the dead.

use std::error::Error;
use std::time::Duration;

use offspring::{JoinError, Queue, process, queue::GetError};

/// Divides a number by small ones, for as long as there are numbers.
#[process]
fn factor(numbers: Queue<u64>, found: Queue<(u64, Vec<u64>)>) -> usize {
    let mut factored = 0;
    for number in &numbers {
        let (mut rest, mut factors) = (number, Vec::new());
        for divisor in 2.. {
            while rest % divisor == 0 {
                rest /= divisor;
                factors.push(divisor);
            }
            if rest == 1 {
                break;
            }
        }
        found.put((number, factors)).unwrap();
        numbers.task_done().unwrap();
        factored += 1;
    }
    factored
}

/// Puts ever more, and is killed while it does.
#[process]
fn count_for_ever(numbers: Queue<u64>) {
    for number in 0.. {
        numbers.put(number).unwrap();
    }
}

/// Puts more than anybody wants, and ends.
#[process]
fn put_much(texts: Queue<String>) {
    for line in 0..10_000 {
        texts.put(format!("line {line}")).unwrap();
    }
}

pub fn main() -> Result<(), Box<dyn Error>> {
    // Two workers share the work: who is done takes the next. The first queue holds at most four.
    let (numbers, found) = (Queue::bounded(4)?, Queue::unbounded()?);
    let workers = [
        factor(numbers.clone(), found.clone()).spawn()?,
        factor(numbers.clone(), found.clone()).spawn()?,
    ];
    for number in 1_000_000..1_000_020 {
        numbers.put(number)?; // waits while it is full
    }
    numbers.join()?; // until each is done
    println!("  {} numbers are done, {} are left", found.len(), numbers.len());
    let prime = found.get_many(20)?.into_iter().find(|(_, factors)| factors.len() == 1);
    let (prime, _) = prime.ok_or("there is no prime among them")?;
    println!("  the first prime among them: {prime}");
    numbers.close(); // now the workers end
    let mut factored = 0;
    for worker in workers {
        factored += worker.join()?;
    }
    println!("  the workers have factored {factored} together");

    // What a process has put is there, whatever becomes of it; and the end is told.
    let numbers = Queue::bounded(100)?;
    let counter = count_for_ever(numbers.clone()).spawn()?;
    let first: Vec<_> = numbers.iter().take(1_000).collect();
    counter.kill()?;
    assert!(first.iter().copied().eq(0..1_000));
    let rest = numbers.iter().count();
    assert!(matches!(numbers.get(), Err(GetError::Disconnected)));
    println!("  a process was killed; of what it had put, {rest} were left");
    assert!(matches!(counter.join(), Err(JoinError::Exited(_))));

    // Nobody need wait for a process to get rid of what it has put.
    let texts = Queue::unbounded()?;
    put_much(texts.clone()).spawn()?.join()?;
    println!("  {} lines of a process that has ended, the first: {:?}", texts.len(), texts.get()?);
    println!("  none after the last: {}", {
        texts.get_many(10_000)?;
        texts.get_timeout(Duration::from_millis(10)).unwrap_err()
    });
    Ok(())
}
