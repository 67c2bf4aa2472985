//! Queues among other things to wait for: `offspring::wait`, in place of the `select` of Go's and
//! crossbeam's tests.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use offspring::queue::TryGetError;
use offspring::{Queue, Receiver, Sender, Waitable, pipe, process, wait, wait_timeout};
use tests::crew::{By, daemon};
use tests::each_start_method;

use super::{LONG, Outcome, SHORT, keep};

#[process]
fn put_when_told(queue: Queue<u64>, item: u64, go: Receiver<()>) {
    let _ = go.recv();
    queue.put(item).unwrap();
}

#[process]
fn close_when_told(queue: Queue<u64>, go: Receiver<()>) {
    let _ = go.recv();
    queue.close();
}

#[process]
fn send_when_told(to: Sender<u64>, item: u64, go: Receiver<()>) {
    let _ = go.recv();
    to.send(item).unwrap();
}

each_start_method! {
    fn a_wait_is_woken_by_each() {
        let queue = Queue::unbounded()?;
        let (to, from) = pipe::<u64>()?;
        let (has_it, it_has) = pipe()?;
        let (release, until) = pipe()?;
        let child = daemon(keep(queue.clone(), has_it, until))?;
        it_has.recv()?;
        let sources: [&dyn Waitable; 3] = [&queue, &from, &child];
        let before = Instant::now();
        assert_eq!(wait_timeout(&sources, SHORT)?, []);
        assert!(before.elapsed() >= SHORT);
        assert_eq!(wait_timeout(&sources, Duration::ZERO)?, []);

        let (go, told) = pipe::<()>()?;
        let putter = daemon(put_when_told(queue.clone(), 7, told))?;
        let telling = thread::spawn(move || drop(go));
        assert_eq!(wait(&sources)?, [0]);
        assert_eq!(wait_timeout(&sources, LONG)?, [0]); // until it is got
        assert_eq!(wait_timeout(&sources, Duration::ZERO)?, [0]);
        assert_eq!(queue.get()?, 7);
        assert_eq!(wait_timeout(&sources, Duration::ZERO)?, []);
        telling.join().unwrap();
        putter.join()?;

        let (go, told) = pipe::<()>()?;
        let sender = daemon(send_when_told(to.clone(), 8, told))?;
        let telling = thread::spawn(move || drop(go));
        assert_eq!(wait(&sources)?, [1]);
        telling.join().unwrap();
        sender.join()?;

        // Fair: none hides another.
        queue.put(9)?;
        assert_eq!(wait(&sources)?, [0, 1]);
        assert_eq!(wait(&[&from, &queue, &queue])?, [0, 1, 2]);
        assert_eq!((from.recv()?, queue.get()?), (8, 9));
        assert_eq!(wait_timeout(&sources, Duration::ZERO)?, []);

        let leaving = thread::spawn(move || drop(release));
        let ready = wait(&[&from, &child])?;
        assert_eq!(ready, [1]);
        assert!(wait(&sources)?.contains(&2));
        leaving.join().unwrap();
    }

    fn a_wait_is_woken_by_the_closing_and_by_the_last_end() {
        let queue = Queue::unbounded()?;
        let (go, told) = pipe::<()>()?;
        let child = daemon(close_when_told(queue.clone(), told))?;
        let telling = thread::spawn(move || drop(go));
        assert_eq!(wait(&[&queue])?, [0]);
        assert!(matches!(queue.try_get(), Err(TryGetError::Closed)));
        telling.join().unwrap();
        child.join()?;

        let queue = Queue::unbounded()?;
        let (has_it, it_has) = pipe()?;
        let (_release, until) = pipe()?;
        let child = daemon(keep(queue.clone(), has_it, until))?;
        it_has.recv()?;
        assert_eq!(wait_timeout(&[&queue], SHORT)?, []);
        child.kill()?;
        assert_eq!(wait(&[&queue])?, [0]);
        assert!(queue.get().is_err());
    }

    /// Go's `TestSelectDuplicateChannel`, `TestSelfSelect`: two that wait for the same.
    fn several_that_wait_share_the_items() {
        let queue = Queue::unbounded()?;
        let other = Queue::unbounded()?;
        let workers: Vec<_> = (0..3)
            .map(|_| daemon(wait_and_get(queue.clone(), other.clone())))
            .collect::<Result<_, _>>()?;
        for item in 0..300 {
            if item % 3 == 0 { other.put(item)? } else { queue.put(item)? }
            if item % 50 == 0 {
                while !(queue.is_empty() && other.is_empty()) {
                    thread::yield_now(); // so that all fall asleep now and then
                }
            }
        }
        queue.close();
        other.close();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join()?);
        }
        all.sort();
        assert!(all.into_iter().eq(0..300));
    }
}

/// Gets from both, by waiting for either, until both are closed.
#[process]
fn wait_and_get(first: Queue<u64>, second: Queue<u64>) -> Vec<u64> {
    let mut got = Vec::new();
    let mut open = vec![first, second];
    while !open.is_empty() {
        let sources: Vec<&dyn Waitable> = open.iter().map(|queue| queue as _).collect();
        for index in wait(&sources).unwrap().into_iter().rev() {
            match open[index].try_get() {
                Ok(item) => got.push(item),
                Err(TryGetError::Empty) => {} // another was quicker
                Err(TryGetError::Closed) => drop(open.remove(index)),
                Err(other) => panic!("{other}"),
            }
        }
    }
    got
}

/// How much time of a processor this process has used.
fn used() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros as u64)
}

/// Takes all items as they come, as one that others wait beside.
#[process]
fn get_all(queue: Queue<u64>) -> u64 {
    queue.iter().count() as u64
}

each_start_method! {
    only [forkserver ForkServer]
    /// Nor does it spin when others have got what the bell was rung for.
    fn who_waits_does_not_spin() {
        let queue = Queue::unbounded()?;
        let (_to, from) = pipe::<u64>()?;
        let (has_it, it_has) = pipe()?;
        let (_release, until) = pipe()?;
        let _child = daemon(keep(queue.clone(), has_it, until))?;
        it_has.recv()?;
        let sources: [&dyn Waitable; 2] = [&queue, &from];
        let long = Duration::from_millis(700);
        let before = used();
        assert_eq!(wait_timeout(&sources, long)?, []);
        assert!(queue.get_timeout(long).is_err());

        // A bell that was rung for somebody else.
        queue.put(1)?;
        queue.get()?;
        assert_eq!(wait_timeout(&sources, SHORT)?, []);
        queue.put(2)?;
        assert_eq!(wait(&sources)?, [0]);
        queue.get()?;
        assert_eq!(wait_timeout(&sources, long)?, []);
        let spent = used() - before;
        assert!(spent < long / 3, "{spent:?} of a processor");
    }

    fn who_waits_beside_one_that_gets_misses_nothing() {
        let queue = Queue::bounded(1)?;
        let getters = [daemon(get_all(queue.clone()))?, daemon(wait_all(queue.clone()))?];
        for item in 0..1000 {
            queue.put(item)?;
        }
        queue.close();
        let mut got = 0;
        for getter in getters {
            got += getter.join()?;
        }
        assert_eq!(got, 1000);
    }
}

#[process]
fn wait_all(queue: Queue<u64>) -> u64 {
    let empty = Queue::unbounded().unwrap();
    wait_and_get_from(&queue, &empty)
}

fn wait_and_get_from(queue: &Queue<u64>, beside: &Queue<u64>) -> u64 {
    let mut got = 0;
    let _company = beside.clone();
    loop {
        assert_eq!(wait(&[queue, beside]).unwrap(), [0]);
        match queue.try_get() {
            Ok(_) => got += 1,
            Err(TryGetError::Empty) => {}
            Err(TryGetError::Closed) => return got,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Go's `TestNonblockSelectRace`: one of the two has an item all the time.
fn one_of_two_is_always_ready(by: By) -> Outcome {
    for item in 0..30 {
        let (first, second) = (Queue::bounded(1)?, Queue::bounded(1)?);
        first.put(item)?;
        let worker = by.start(is_either_ready(first.clone(), second.clone()));
        second.put(item)?;
        let _ = first.try_get();
        assert!(worker.join());
    }
    Ok(())
}

#[process]
fn is_either_ready(first: Queue<u64>, second: Queue<u64>) -> bool {
    !wait_timeout(&[&first, &second], LONG).unwrap().is_empty()
}

each_start_method! {
    only [forkserver ForkServer, fork Fork]
    fn one_of_two_is_always_ready_for_another_process() {
        one_of_two_is_always_ready(By::Children)?;
    }

    only [spawn Spawn]
    fn one_of_two_is_always_ready_for_another_thread() {
        one_of_two_is_always_ready(By::Threads)?;
    }
}
