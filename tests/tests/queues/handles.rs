//! Items that carry handles: ends of pipes, locks, files, other queues, and the queue itself; after
//! crossbeam's `channel_through_channel`.

use std::fs::File;
use std::io::{Read, Seek, Write};

use offspring::queue::{PutTimeoutError, TryPutError};
use offspring::sync::Mutex;
use offspring::{Fd, Queue, Sender, pipe, process};
use serde::{Deserialize, Serialize};
use tests::Holdings;
use tests::crew::{By, Worker, daemon};
use tests::each_start_method;

use super::{LONG, Outcome, SHORT};

#[derive(Debug, Serialize, Deserialize)]
enum Parcel {
    Number(u64),
    Sender(Sender<u64>),
    Counter(Mutex<u64>),
    File(Fd<File>),
    Queue(Queue<u64>),
    /// Several in one, with something before and after them.
    Mixed(String, Vec<Fd<File>>, Queue<Parcel>, String),
}

/// Makes use of whatever comes, and gives the numbers that did.
#[process]
fn unpack(parcels: Queue<Parcel>) -> Vec<u64> {
    let mut numbers = Vec::new();
    for parcel in &parcels {
        match parcel {
            Parcel::Number(number) => numbers.push(number),
            Parcel::Sender(sender) => sender.send(10).unwrap(),
            Parcel::Counter(counter) => *counter.lock().unwrap() += 20,
            Parcel::File(file) => write!(file.into_inner(), "thirty").unwrap(),
            Parcel::Queue(queue) => queue.put(40).unwrap(),
            Parcel::Mixed(before, files, back, after) => {
                for file in files {
                    write!(file.into_inner(), "{before}-{after}").unwrap();
                }
                back.put(Parcel::Number(50)).unwrap();
            }
        }
    }
    numbers
}

fn text_of(mut file: &File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn handles_work_where_they_arrive(by: By) -> Outcome {
    let parcels = Queue::bounded(2)?;
    let worker = by.start(unpack(parcels.clone()));
    let (sender, receiver) = pipe()?;
    let counter = Mutex::new(1)?;
    let queue = Queue::unbounded()?;
    let back = Queue::unbounded()?;
    let files: Vec<_> = (0..4).map(|_| tempfile::tempfile()).collect::<Result<_, _>>()?;
    let mut copies = files.iter().map(|file| Fd::new(file.try_clone().unwrap()));

    parcels.put(Parcel::Number(1))?;
    parcels.put(Parcel::Sender(sender))?;
    parcels.put(Parcel::Counter(counter.clone()))?;
    parcels.put(Parcel::Number(2))?;
    parcels.put(Parcel::File(copies.next().unwrap()))?;
    parcels.put_many([Parcel::Number(3), Parcel::Queue(queue.clone()), Parcel::Number(4)])?;
    let rest = copies.collect();
    parcels.put(Parcel::Mixed("before".into(), rest, back.clone(), "after".into()))?;
    parcels.put(Parcel::Number(5))?;

    assert_eq!(receiver.recv()?, 10);
    assert!(receiver.recv().is_err()); // the handle that was put is nowhere any more
    assert_eq!(queue.get()?, 40);
    assert!(matches!(back.get()?, Parcel::Number(50)));
    parcels.close();
    assert_eq!(worker.join(), [1, 2, 3, 4, 5]);
    assert_eq!(*counter.lock().unwrap(), 21);
    assert_eq!(text_of(&files[0]), "thirty");
    assert!(files[1..].iter().all(|file| text_of(file) == "before-after"));
    Ok(())
}

/// Once before it counts: what is loaded lazily then is.
fn leaves_nothing(round: impl Fn() -> Outcome) -> Outcome {
    round()?;
    let before = Holdings::now();
    (0..5).try_for_each(|_| round())?;
    let after = Holdings::now();
    assert_eq!(
        (after.descriptors, after.mappings, after.threads),
        (before.descriptors, before.mappings, before.threads)
    );
    Ok(())
}

each_start_method! {
    fn handles_work_in_the_process_where_they_arrive() {
        handles_work_where_they_arrive(By::Children)?;
    }

    only [spawn Spawn]
    fn handles_work_on_the_thread_where_they_arrive() {
        handles_work_where_they_arrive(By::Threads)?;
    }
}

/// A queue whose items are queues of the same kind.
#[derive(Debug, Serialize, Deserialize)]
enum Link {
    Next(Queue<Link>),
    End,
}

/// Puts a queue into the queue, and the next into that, and so on.
#[process]
fn put_chain(queue: Queue<Link>, length: usize) {
    let mut last = queue;
    for _ in 0..length {
        let next = Queue::bounded(1).unwrap();
        last.put(Link::Next(next.clone())).unwrap();
        last = next;
    }
    last.put(Link::End).unwrap();
}

/// Goes along them, and gives how many there were.
#[process]
fn follow_chain(queue: Queue<Link>) -> usize {
    let mut queue = queue;
    let mut length = 0;
    while let Link::Next(next) = queue.get().unwrap() {
        queue = next;
        length += 1;
    }
    length
}

each_start_method! {
    /// crossbeam's `channel_through_channel`
    fn queue_through_queue() {
        let first = Queue::bounded(1)?;
        let follower = daemon(follow_chain(first.clone()))?;
        let putter = daemon(put_chain(first.clone(), 50))?;
        putter.join()?;
        assert_eq!(follower.join()?, 50);
    }

    /// It takes itself along, is the same queue when it comes out, and nothing of it is left.
    fn a_queue_goes_through_itself() {
        leaves_nothing(|| {
            let queue = Queue::unbounded()?;
            queue.put(Link::Next(queue.clone()))?;
            queue.put(Link::End)?;
            let Link::Next(same) = queue.get()? else { panic!() };
            assert!(matches!(same.get()?, Link::End));
            same.put(Link::End)?;
            assert_eq!(queue.len(), 1);
            // Two of one process are one, with nothing more to it.
            let child = daemon(follow_chain(same))?;
            assert_eq!(child.join()?, 0);
            Ok(())
        })?;
    }
}

#[process]
fn put_files(queue: Queue<Parcel>, count: u64) {
    let mut file = tempfile::tempfile().unwrap();
    write!(file, "something").unwrap();
    for number in 0..count {
        queue.put(Parcel::File(Fd::new(file.try_clone().unwrap()))).unwrap();
        queue.put(Parcel::Number(number)).unwrap();
    }
}

each_start_method! {
    /// More than a socket takes: whoever puts waits, and all arrive in order.
    fn more_handles_than_fit_arrive_in_order() {
        let queue = Queue::unbounded()?;
        let children: Vec<_> =
            (0..2).map(|_| daemon(put_files(queue.clone(), 500))).collect::<Result<_, _>>()?;
        let (mut files, mut sum) = (0, 0);
        for parcel in &queue {
            match parcel {
                Parcel::File(file) => {
                    assert_eq!(text_of(&file.into_inner()), "something");
                    files += 1;
                }
                Parcel::Number(number) => sum += number,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((files, sum), (1000, 2 * (0..500).sum::<u64>()));
        children.into_iter().try_for_each(|child| child.join())?;
    }
}

/// Those that do not fit are refused as by a full queue; what has no handles still goes in.
#[test]
fn handles_that_do_not_fit_are_refused_and_come_back() {
    let queue = Queue::unbounded().unwrap();
    let _other = queue.clone();
    let file = tempfile::tempfile().unwrap();
    let parcel = || Parcel::File(Fd::new(file.try_clone().unwrap()));
    let mut count = 0;
    let refused = loop {
        match queue.try_put(parcel()) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(count > 100, "{count}");
    assert!(matches!(refused, TryPutError::Full(Parcel::File(_))), "{refused:?}");
    assert!(matches!(queue.put_timeout(parcel(), SHORT), Err(PutTimeoutError::Timeout(_))));
    queue.try_put(Parcel::Number(9)).unwrap();
    assert_eq!(queue.len(), count + 1);
    for _ in 0..count {
        assert!(matches!(queue.try_get().unwrap(), Parcel::File(_)));
    }
    queue.put_timeout(parcel(), LONG).unwrap();
    assert!(matches!(queue.try_get().unwrap(), Parcel::Number(9)));
    assert!(matches!(queue.try_get().unwrap(), Parcel::File(_)));
    assert!(queue.is_empty());
}

#[process]
fn count_up(queue: Queue<Queue<u64>>) {
    let own = Queue::unbounded().unwrap();
    queue.put(own.clone()).unwrap();
    own.put_many(0..100).unwrap();
    own.close();
}

each_start_method! {
    /// A queue outlives who made it, and who sent it, also while it is only in a pipe.
    fn a_queue_in_a_pipe_outlives_its_maker() {
        let (to, from) = pipe()?;
        {
            let queue = Queue::unbounded()?;
            queue.put_many(0..10)?;
            to.send(queue)?;
        }
        assert!(from.recv()?.get_many(20)?.into_iter().eq(0..10));

        let carrier = Queue::unbounded()?;
        daemon(count_up(carrier.clone()))?.join()?;
        assert!(carrier.get()?.iter().eq(0..100));
    }

    fn the_last_handle_takes_the_queue_with_it() {
        leaves_nothing(|| {
            let queue = Queue::unbounded()?;
            let child = daemon(put_files(queue.clone(), 20))?;
            child.join()?;
            drop(queue.get()?); // the others are never got
            Ok(())
        })?;
    }
}

/// Each comes with what it was put with.
#[test]
fn several_producers_of_handles_do_not_mix_them_up() {
    let queue = Queue::bounded(4).unwrap();
    let producers: Vec<_> =
        (0..3).map(|who| By::Threads.start(put_named(queue.clone(), who))).collect();
    let mut next = [0; 3];
    for _ in 0..300 {
        let (who, number, file) = queue.get().unwrap();
        assert_eq!(next[who], number);
        assert_eq!(text_of(&file.into_inner()), format!("{who} {number}"));
        next[who] += 1;
    }
    producers.into_iter().for_each(Worker::join);
    assert!(queue.is_empty());
}

#[process]
fn put_named(queue: Queue<(usize, u32, Fd<File>)>, who: usize) {
    for number in 0..100 {
        let mut file = tempfile::tempfile().unwrap();
        write!(file, "{who} {number}").unwrap();
        queue.put((who, number, Fd::new(file))).unwrap();
    }
}
