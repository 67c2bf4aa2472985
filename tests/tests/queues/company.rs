//! Whether anybody else is left, which those who wait are told: whoever has a handle, in whatever
//! process, thread or message.

use std::process::exit;
use std::thread;

use nix::sys::signal::{Signal, raise};
use nix::unistd::gettid;
use offspring::queue::{
    GetError, GetTimeoutError, PutError, PutTimeoutError, QueueJoinError, TryGetError, TryPutError,
};
use offspring::{Queue, Receiver, Sender, Waitable, pipe, process, wait, wait_timeout};
use serde::{Deserialize, Serialize};
use tests::crew::{daemon, until_asleep};
use tests::each_start_method;

use super::{AMPLE, LONG, LOOKS, Outcome, SHORT, keep};

/// How somebody lets go of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum End {
    Return,
    Exit,
    Panic,
    Kill,
    /// It drops its handle, and lives on.
    Drop,
}

const ENDS: [End; 5] = [End::Return, End::Exit, End::Panic, End::Kill, End::Drop];

/// Puts an item, and lets go of the queue when it is told.
#[process]
fn put_and_go(queue: Queue<u64>, how: End, go: Receiver<()>, until: Receiver<()>) {
    queue.put(1).unwrap();
    let _ = go.recv();
    match how {
        End::Return => {}
        End::Exit => exit(0),
        End::Panic => std::panic::resume_unwind(Box::new("on purpose")),
        End::Kill => raise(Signal::SIGKILL).unwrap(),
        End::Drop => {
            drop(queue);
            let _ = until.recv();
        }
    }
}

/// A queue that is let go of in each way, when they are told, and is then to be waited for. (All are
/// there before the threads that wait are, beside which nothing can be forked.)
fn at_each_end(make: fn() -> offspring::Result<Queue<u64>>, waits: fn(Queue<u64>, End)) -> Outcome {
    let (go, told) = pipe::<()>()?;
    let (_release, until) = pipe::<()>()?;
    let mut queues = Vec::new();
    for how in ENDS {
        let queue = make()?;
        let child = daemon(put_and_go(queue.clone(), how, told.clone(), until.clone()))?;
        while queue.is_empty() {
            assert!(!wait_timeout(&[&queue], AMPLE)?.is_empty());
        }
        assert!(!queue.is_closed());
        queues.push((queue, how, child));
    }
    drop(told);
    let waiting = queues.into_iter().map(|(queue, how, child)| {
        let thread = thread::spawn(move || waits(queue, how));
        (thread, child)
    });
    let waiting: Vec<_> = waiting.collect();
    thread::sleep(SHORT); // most wait by then, but it is right in any case
    drop(go);
    for (thread, child) in waiting {
        thread.join().unwrap();
        drop(child);
    }
    Ok(())
}

fn get_until_nobody_is_left(queue: Queue<u64>, how: End) {
    assert_eq!(queue.get().unwrap(), 1);
    assert!(matches!(queue.get(), Err(GetError::Disconnected)), "{how:?}");
    // And in whatever way it waits.
    assert!(matches!(queue.get_timeout(AMPLE), Err(GetTimeoutError::Disconnected)));
    assert!(matches!(queue.get_many(2).unwrap_err().error(), GetError::Disconnected));
    assert_eq!(queue.iter().next(), None);
    assert_eq!(wait(&[&queue]).unwrap(), [0]);
    assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
    // Alone, it is a queue like any other.
    queue.put(2).unwrap();
    assert_eq!(queue.get().unwrap(), 2);
}

fn put_until_nobody_is_left(queue: Queue<u64>, how: End) {
    assert!(matches!(queue.put(2), Err(PutError::Disconnected(2))), "{how:?}");
    assert!(matches!(queue.put_timeout(2, AMPLE), Err(PutTimeoutError::Disconnected(2))));
    let error = queue.put_many([2, 3]).unwrap_err();
    assert!(matches!(error.error(), PutError::Disconnected(2)));
    assert!(matches!(queue.try_put(2), Err(TryPutError::Full(2))));
    assert_eq!(queue.get().unwrap(), 1);
    queue.put(2).unwrap();
}

each_start_method! {
    fn who_waits_for_an_item_is_told_that_nobody_is_left() {
        at_each_end(Queue::unbounded, get_until_nobody_is_left)?;
    }

    fn who_waits_for_room_is_told_that_nobody_is_left() {
        at_each_end(|| Queue::bounded(1), put_until_nobody_is_left)?;
    }

    /// All that was put is got first.
    fn what_the_last_producer_left_is_got_before_the_end() {
        let queue = Queue::unbounded()?;
        let children: Vec<_> = (0..3)
            .map(|from| daemon(put_hundred(queue.clone(), from * 100)))
            .collect::<Result<_, _>>()?;
        let mut got: Vec<_> = queue.iter().collect();
        got.sort();
        assert!(got.into_iter().eq(0..300));
        drop(children);
    }

    only [spawn Spawn] // nothing is started
    /// The other handles of this process are company as well.
    fn a_handle_on_another_thread_is_waited_for() {
        let queue = Queue::bounded(1)?;
        let (go, told) = pipe::<()>()?;
        let other = queue.clone();
        let thread = thread::spawn(move || {
            let _ = told.recv();
            drop(other);
        });
        assert!(matches!(queue.get_timeout(LOOKS), Err(GetTimeoutError::Timeout)));
        queue.put(1)?;
        assert!(matches!(queue.put_timeout(2, LOOKS), Err(PutTimeoutError::Timeout(2))));
        drop(go);
        assert!(matches!(queue.put_timeout(2, LONG), Err(PutTimeoutError::Disconnected(2))));
        assert_eq!(queue.get()?, 1);
        assert!(matches!(queue.get_timeout(LONG), Err(GetTimeoutError::Disconnected)));
        thread.join().unwrap();
    }

    only [spawn Spawn] // nothing is started
    /// Nor is the end told while a handle is still to be received.
    fn a_handle_in_a_message_is_waited_for() {
        let queue = Queue::<u64>::bounded(1)?;
        let (to, from) = pipe()?;
        to.send(queue.clone())?;
        assert!(matches!(queue.get_timeout(LOOKS), Err(GetTimeoutError::Timeout)));
        // Received, it is a handle of this process.
        let arrived = from.recv()?;
        assert!(matches!(queue.get_timeout(LOOKS), Err(GetTimeoutError::Timeout)));
        arrived.put(5)?;
        drop(arrived);
        assert_eq!(queue.get()?, 5);
        assert!(matches!(queue.get_timeout(LONG), Err(GetTimeoutError::Disconnected)));
        // One that nobody receives any more is none.
        to.send(queue.clone())?;
        let leaving = thread::spawn(move || drop((to, from)));
        assert!(matches!(queue.get_timeout(LONG), Err(GetTimeoutError::Disconnected)));
        leaving.join().unwrap();
    }

    /// Nor while it lies in another queue.
    fn a_handle_in_another_queue_is_waited_for() {
        let (carrier, queue) = (Queue::unbounded()?, Queue::<u64>::unbounded()?);
        carrier.put(queue.clone())?;
        assert!(matches!(queue.get_timeout(LOOKS), Err(GetTimeoutError::Timeout)));
        let taker = daemon(take_and_put(carrier.clone()))?;
        assert_eq!(queue.get()?, 7);
        assert!(matches!(queue.get_timeout(LONG), Err(GetTimeoutError::Disconnected)));
        taker.join()?;
    }

    /// A child that was not given the queue is no company, although it was started while it was
    /// there; nor is a fork server.
    fn a_child_without_a_handle_is_not_waited_for() {
        let queue = Queue::<u64>::unbounded()?;
        let stranger = Queue::<u64>::unbounded()?;
        let (has_it, it_has) = pipe()?;
        let (release, until) = pipe()?;
        let child = daemon(keep(stranger.clone(), has_it, until))?;
        it_has.recv()?;
        assert!(matches!(queue.get_timeout(LONG), Err(GetTimeoutError::Disconnected)));
        assert!(matches!(stranger.get_timeout(LOOKS), Err(GetTimeoutError::Timeout)));
        drop(release);
        assert!(matches!(stranger.get_timeout(LONG), Err(GetTimeoutError::Disconnected)));
        child.join()?;
    }

    /// The child's child is company when nobody else is.
    fn a_grandchild_with_a_handle_is_waited_for() {
        let queue = Queue::<u64>::unbounded()?;
        let (release, until) = pipe()?;
        let child = daemon(hand_on(queue.clone(), until))?;
        assert_eq!(queue.get()?, 3); // the child has dropped its handle by now, or is about to
        assert!(matches!(queue.get_timeout(LOOKS), Err(GetTimeoutError::Timeout)));
        drop(release);
        assert!(matches!(queue.get_timeout(LONG), Err(GetTimeoutError::Disconnected)));
        child.join()?;
    }
}

#[process]
fn put_hundred(queue: Queue<u64>, from: u64) {
    queue.put_many(from..from + 100).unwrap();
}

#[process]
fn take_and_put(carrier: Queue<Queue<u64>>) {
    carrier.get().unwrap().put(7).unwrap();
}

#[process]
fn hand_on(queue: Queue<u64>, until: Receiver<()>) {
    let (has_it, it_has) = pipe().unwrap();
    let child = daemon(keep(queue.clone(), has_it, until)).unwrap();
    it_has.recv().unwrap();
    queue.put(3).unwrap();
    drop(queue);
    child.join().unwrap();
}

/// Waits for the others, which wait for it.
#[process]
fn wait_for_each_other(queue: Queue<u64>, how: u32, about_to: Sender<()>) -> bool {
    about_to.send(()).unwrap();
    match how {
        0 => matches!(queue.get(), Err(GetError::Disconnected)),
        1 => queue.iter().next().is_none(),
        _ => queue.join() == Err(QueueJoinError::Disconnected),
    }
}

each_start_method! {
    fn those_that_wait_for_each_other_are_all_told() {
        let queue = Queue::unbounded()?;
        let (about_to, waiting) = pipe()?;
        queue.put(1)?;
        let waiters: Vec<_> = (0..5)
            .map(|who| daemon(wait_for_each_other(queue.clone(), who % 3, about_to.clone())))
            .collect::<Result<_, _>>()?;
        (0..5).try_for_each(|_| waiting.recv())?;
        let sources: Vec<&dyn Waitable> = waiters.iter().map(|child| child as _).collect();
        while !queue.is_empty() {
            thread::yield_now(); // the one item goes to one of them, which ends
        }
        assert!(wait_timeout(&sources, LOOKS)?.len() <= 1); // this one might put something
        drop(queue);
        let told: Result<Vec<_>, _> = waiters.into_iter().map(|waiter| waiter.join()).collect();
        assert!(told?.into_iter().filter(|told| *told).count() >= 4);
    }

    /// They are not told while a thread of one of them may put something, also if it has its handle
    /// only now.
    fn a_handle_that_arrives_beside_one_that_waits_is_waited_for() {
        let queue = Queue::<u64>::unbounded()?;
        let (to, from) = pipe()?;
        let (go, told) = pipe::<()>()?;
        let (tid, waits) = pipe()?;
        let child = daemon(get_when_told(queue.clone(), told))?;
        to.send(queue.clone())?;
        let thread = thread::spawn(move || {
            tid.send(gettid().as_raw()).unwrap();
            queue.get()
        });
        until_asleep(waits.recv()?);
        let arrived = from.recv()?;
        drop(go);
        assert_eq!(wait_timeout(&[&child], LOOKS)?, []);
        arrived.put(1)?;
        arrived.put(1)?;
        assert_eq!(thread.join().unwrap()?, 1);
        assert_eq!(child.join()?, Some(1));
    }
}

/// Several threads of one process, each of which waits, wait in vain as one does.
fn threads_wait(queue: &Queue<u64>) -> Vec<thread::JoinHandle<bool>> {
    let get = |queue: Queue<u64>| thread::spawn(move || is_disconnected(&queue.get()));
    (0..3).map(|_| get(queue.clone())).collect()
}

fn is_disconnected(result: &Result<u64, GetError>) -> bool {
    matches!(result, Err(GetError::Disconnected))
}

#[process]
fn get_on_threads(queue: Queue<u64>) -> bool {
    let threads = threads_wait(&queue);
    drop(queue);
    threads.into_iter().all(|thread| thread.join().unwrap())
}

each_start_method! {
    fn threads_that_wait_are_all_told() {
        let queue = Queue::unbounded()?;
        let child = daemon(get_on_threads(queue.clone()))?;
        let threads = threads_wait(&queue);
        assert_eq!(wait_timeout(&[&child], LOOKS)?, []); // this thread's handle might put something
        let told = is_disconnected(&queue.get());
        assert!(told && child.join()?);
        // They were told, or looked when this process had gone back to one handle that was in use.
        drop(queue);
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    }

    only [spawn Spawn]
    fn threads_that_wait_are_told_when_the_last_other_handle_goes() {
        let queue = Queue::unbounded()?;
        let threads = threads_wait(&queue);
        queue.put(1)?;
        drop(queue);
        let told = threads.into_iter().map(|thread| thread.join().unwrap());
        assert_eq!(told.filter(|told| *told).count(), 2); // and one got the item
    }
}

#[process]
fn get_when_told(queue: Queue<u64>, go: Receiver<()>) -> Option<u64> {
    let _ = go.recv();
    queue.get().ok()
}
