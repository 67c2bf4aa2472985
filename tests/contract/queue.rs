//! Many producers and consumers share one bounded queue.
use offspring::{Queue, process};

#[process]
fn produce(queue: Queue<u64>, from: u64, to: u64) {
    (from..to).for_each(|n| queue.put(n).unwrap());
}

#[process]
fn consume(queue: Queue<u64>) -> u64 {
    std::iter::from_fn(|| queue.get().ok()).sum() // `get` drains what is left, then fails: closed
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Queue::bounded(64)?;
    let consumers = [consume(queue.clone()).spawn()?, consume(queue.clone()).spawn()?];
    let producers =
        [produce(queue.clone(), 0, 5000).spawn()?, produce(queue.clone(), 5000, 10_000).spawn()?];
    for producer in producers {
        producer.join()?;
    }
    queue.close();
    let mut sum = 0;
    for consumer in consumers {
        sum += consumer.join()?;
    }
    assert_eq!(sum, (0..10_000).sum());
    Ok(())
}
