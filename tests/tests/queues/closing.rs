//! The end that somebody makes: after crossbeam's `disconnect_wakes_*`, `*_after_disconnect` and
//! `iter.rs`, and Go's tests of `close`.

use nix::unistd::gettid;
use offspring::queue::{
    GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError,
};
use offspring::{Queue, Sender, pipe, process};
use tests::crew::{By, Worker, until_asleep};
use tests::each_start_method;

use super::{LONG, Outcome};

/// Says who it is, and waits for an item, of which there will be none.
#[process]
fn get_in_vain(queue: Queue<u64>, how: u32, about_to: Sender<i32>) -> bool {
    about_to.send(gettid().as_raw()).unwrap();
    match how {
        0 => matches!(queue.get(), Err(GetError::Closed)),
        1 => matches!(queue.get_timeout(LONG), Err(GetTimeoutError::Closed)),
        2 => matches!(queue.get_many(3).unwrap_err().error(), GetError::Closed),
        _ => {
            let mut items = queue.iter();
            items.next().is_none() && items.error().is_none()
        }
    }
}

/// Says who it is, and waits for room, of which there will be none.
#[process]
fn put_in_vain(queue: Queue<u64>, how: u32, about_to: Sender<i32>) -> bool {
    about_to.send(gettid().as_raw()).unwrap();
    match how {
        0 => matches!(queue.put(5), Err(PutError::Closed(5))),
        1 => matches!(queue.put_timeout(5, LONG), Err(PutTimeoutError::Closed(5))),
        _ => {
            let error = queue.put_many([5, 6]).unwrap_err();
            matches!(error.error(), PutError::Closed(5)) && error.into_inner() == [5, 6]
        }
    }
}

#[process]
fn close(queue: Queue<u64>) {
    queue.close();
}

fn closing_wakes_all(by: By) -> Outcome {
    let (about_to, waiting) = pipe()?;
    let empty = Queue::unbounded()?;
    let full = Queue::bounded(1)?;
    full.put(1)?;
    let start = |work: Worker<bool>| {
        until_asleep(waiting.recv().unwrap());
        work
    };
    let mut workers = Vec::new();
    for how in 0..4 {
        workers.push(start(by.start(get_in_vain(empty.clone(), how, about_to.clone()))));
    }
    for how in 0..3 {
        workers.push(start(by.start(put_in_vain(full.clone(), how, about_to.clone()))));
    }
    by.start(close(empty.clone())).join();
    full.close();
    for worker in workers {
        assert!(worker.join());
    }
    assert_eq!((full.get()?, full.is_empty()), (1, true));
    Ok(())
}

/// What was put before is got, whoever closes, and then the end is told to each.
fn what_is_left_is_got(by: By) -> Outcome {
    let queue = Queue::unbounded()?;
    queue.put_many(0..100)?;
    by.start(close(queue.clone())).join();
    assert!(matches!(queue.put(100), Err(PutError::Closed(100))));
    assert!(matches!(queue.try_put(100), Err(TryPutError::Closed(100))));
    assert_eq!(by.start(get_all(queue.clone())).join(), (0..100).collect::<Vec<_>>());
    queue.close();
    assert!(matches!(queue.get(), Err(GetError::Closed)));
    assert!(matches!(queue.try_get(), Err(TryGetError::Closed)));
    assert!(by.start(get_all(queue.clone())).join().is_empty());
    Ok(())
}

#[process]
fn get_all(queue: Queue<u64>) -> Vec<u64> {
    queue.iter().collect()
}

each_start_method! {
    fn closing_wakes_all_processes() {
        closing_wakes_all(By::Children)?;
    }

    only [spawn Spawn]
    fn closing_wakes_all_threads() {
        closing_wakes_all(By::Threads)?;
    }

    fn what_is_left_is_got_in_any_process() {
        what_is_left_is_got(By::Children)?;
    }

    only [spawn Spawn]
    fn what_is_left_is_got_on_any_thread() {
        what_is_left_is_got(By::Threads)?;
    }
}

/// An item is in a queue that is not closed, or not: what was put before the closing is always got,
/// what came after never.
fn nothing_slips_in_or_out_as_it_closes(by: By) -> Outcome {
    for _ in 0..20 {
        let queue = Queue::bounded(8)?;
        let (putting, at_it) = pipe()?;
        let producers: Vec<_> =
            (0..2).map(|_| by.start(put_until_closed(queue.clone(), putting.clone()))).collect();
        let consumer = by.start(get_all(queue.clone()));
        at_it.recv()?;
        queue.close();
        let put: u64 = producers.into_iter().map(Worker::join).sum();
        let got = consumer.join().len() as u64;
        assert_eq!(put, got + queue.len() as u64);
        assert!(queue.is_empty());
    }
    Ok(())
}

/// Gives how many it has put.
#[process]
fn put_until_closed(queue: Queue<u64>, putting: Sender<()>) -> u64 {
    for count in 0.. {
        match queue.put(count) {
            Ok(()) if count == 20 => putting.send(()).unwrap(),
            Ok(()) => {}
            Err(PutError::Closed(_)) => {
                if count <= 20 {
                    putting.send(()).unwrap();
                }
                return count;
            }
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

each_start_method! {
    fn nothing_slips_in_or_out_as_it_closes_between_processes() {
        nothing_slips_in_or_out_as_it_closes(By::Children)?;
    }

    only [spawn Spawn]
    fn nothing_slips_in_or_out_as_it_closes_between_threads() {
        nothing_slips_in_or_out_as_it_closes(By::Threads)?;
    }
}

/// crossbeam's `recv_iter_break`, `into_iter_borrowed`.
#[test]
fn an_iterator_takes_no_more_than_it_is_asked_for() {
    let queue = Queue::unbounded().unwrap();
    queue.put_many(0..10).unwrap();
    assert!(queue.iter().take(3).eq(0..3));
    assert_eq!(queue.len(), 7);
    let mut seen = Vec::new();
    for item in &queue {
        seen.push(item);
        if item == 5 {
            break;
        }
    }
    assert_eq!(seen, [3, 4, 5]);
    queue.close();
    assert!(queue.iter().eq(6..10));
    assert_eq!(queue.iter().next(), None);
}
