//! Pipes, files, locks, queues and shared memory in the arguments and results of tasks.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use offspring::queue::TryGetError;
use offspring::shm::{Shared, SharedSlice};
use offspring::sync::{Mutex, Semaphore};
use offspring::{Fd, Pool, Queue, Receiver, Sender, pipe, pipe::RecvError, process};
use tests::each_start_method;
use tests::tasks::{square, squares};

#[process]
fn send_twice(to: Sender<u64>, x: u64) {
    to.send(x).unwrap();
    to.send(x).unwrap();
}

#[process]
fn make_pipe(x: u64) -> Receiver<u64> {
    let (tx, rx) = pipe().unwrap();
    tx.send(x).unwrap();
    rx
}

#[process]
fn write_into(mut file: Fd<File>, text: String) -> Fd<File> {
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[process]
fn count_up(mutex: Mutex<u64>, shared: Shared<AtomicU64>, times: u64) {
    for _ in 0..times {
        *mutex.lock().unwrap() += 1;
        shared.fetch_add(1, Ordering::Relaxed);
    }
}

#[process]
fn put(queue: Queue<u64>, x: u64) {
    queue.put(x).unwrap();
}

#[process]
fn sum(numbers: SharedSlice<u64>, from: usize, to: usize) -> u64 {
    numbers[from..to].iter().sum()
}

#[process]
fn make_slice(len: u64) -> SharedSlice<u64> {
    SharedSlice::try_from_iter(0..len).unwrap()
}

#[process]
fn many_pipes(count: u64) -> Vec<Receiver<u64>> {
    (0..count).map(|x| make_pipe(x).run()).collect()
}

#[process]
fn use_permit(permits: Semaphore) -> usize {
    let _permit = permits.acquire().unwrap();
    permits.available()
}

each_start_method! {
    fn pipe_ends_go_there_and_come_back() {
        let pool = Pool::new(2)?;
        let (tx, rx) = pipe()?;
        pool.map(|x| send_twice(tx.clone(), x), 0..50)?;
        drop(tx);
        let mut all: Vec<_> = rx.iter().collect(); // nobody holds the other end any more
        all.sort();
        assert_eq!(all, (0..100).map(|x| x / 2).collect::<Vec<u64>>());
        for (x, receiver) in (0..50).zip(pool.map(make_pipe, 0..50)?) {
            assert_eq!(receiver.recv()?, x);
            assert!(matches!(receiver.recv(), Err(RecvError::Disconnected)));
        }
        let many = pool.apply(many_pipes(20))?;
        assert!(many.iter().enumerate().all(|(x, rx)| rx.recv().unwrap() == x as u64));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn files_go_there_and_come_back() {
        let pool = Pool::new(2)?;
        let mut file = Fd::new(tempfile::tempfile()?);
        for turn in 0..20 {
            file = pool.apply(write_into(file, format!("{turn} ")))?;
        }
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        assert_eq!(text, (0..20).map(|turn| format!("{turn} ")).collect::<String>());
    }

    only [forkserver ForkServer, spawn Spawn]
    fn locks_and_shared_numbers_are_the_same_in_all_tasks() {
        let pool = Pool::new(3)?;
        let mutex = Mutex::new(0)?;
        let shared = Shared::new(AtomicU64::new(0))?;
        for size in [1, 10] {
            let task = |times| count_up(mutex.clone(), shared.clone(), times);
            pool.mapper().chunk_size(size).map(task, [100; 40])?;
        }
        assert_eq!(*mutex.lock().unwrap(), 8000);
        assert_eq!(shared.load(Ordering::Relaxed), 8000);
        let permits = Semaphore::new(2)?;
        let left = pool.map(|_| use_permit(permits.clone()), 0..20)?;
        assert!(left.into_iter().all(|left| left < 2));
        assert_eq!(permits.available(), 2);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn queues_go_to_tasks() {
        let pool = Pool::new(2)?;
        let queue = Queue::unbounded()?;
        pool.map(|x| put(queue.clone(), x), 0..100)?;
        let mut all: Vec<_> = (0..100).map(|_| queue.try_get().unwrap()).collect();
        all.sort();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn shared_memory_goes_there_and_comes_back() {
        let pool = Pool::new(2)?;
        let numbers = SharedSlice::try_from_iter(0..100_000)?;
        let sums = pool.map(|at| sum(numbers.clone(), at * 1000, (at + 1) * 1000), 0..100)?;
        assert_eq!(sums.into_iter().sum::<u64>(), (0..100_000).sum::<u64>());
        let made = pool.apply(make_slice(50_000))?;
        assert!(made.iter().copied().eq(0..50_000));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_ressources_gced_in_workers`, `test_release_task_refs`, `test_free_reference`: neither a worker
    /// nor the pool keeps the arguments or the results of tasks.
    fn test_release_task_refs_when_it_is_done() {
        let pool = Pool::new(2)?;
        let (tx, rx) = pipe::<u64>()?;
        let job = pool.submit(send_twice(tx.clone(), 1));
        pool.map(|x| send_twice(tx.clone(), x), 0..10)?;
        let failed = pool.submit(send_and_fail(tx.clone()));
        assert!(failed.wait().is_err());
        assert!(matches!(pool.apply(send_and_exit(tx.clone())), Err(offspring::TaskError::WorkerDied(_))));
        job.wait()?;
        drop(tx);
        assert_eq!(rx.iter().count(), 24);
        // A result that nobody takes is gone as well.
        let (result_tx, result_rx) = pipe::<u64>()?;
        drop(pool.submit(give_back(result_tx)));
        assert!(matches!(result_rx.recv(), Err(RecvError::Disconnected)));
        assert_eq!(pool.map(square, 0..10)?, squares(10));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn handles_in_tasks_and_results_leave_no_descriptor_open() {
        let pool = Pool::new(2)?;
        let (tx, rx) = pipe()?;
        let round = || -> Result<(), Box<dyn std::error::Error>> {
            pool.map(|x| send_twice(tx.clone(), x), 0..20)?;
            assert_eq!((0..40).map(|_| rx.recv().unwrap()).sum::<u64>(), 2 * 190);
            drop(pool.map(make_pipe, 0..20)?);
            drop(pool.apply(make_slice(1000))?);
            assert_eq!(pool.map(|_| open_descriptors(), [(); 2])?.len(), 2);
            Ok(())
        };
        round()?;
        let before = (tests::descriptors(), pool.map(|_| open_descriptors(), [(); 2])?);
        for _ in 0..20 {
            round()?;
        }
        let after = (tests::descriptors(), pool.map(|_| open_descriptors(), [(); 2])?);
        assert_eq!(before.0, after.0);
        assert_eq!(before.1.into_iter().max(), after.1.into_iter().max());
    }
}

#[process]
fn send_and_fail(to: Sender<u64>) {
    to.send(1).unwrap();
    panic!("on purpose");
}

#[process]
fn send_and_exit(to: Sender<u64>) {
    to.send(1).unwrap();
    std::process::exit(0);
}

#[process]
fn give_back(to: Sender<u64>) -> Sender<u64> {
    to
}

#[process]
fn open_descriptors() -> usize {
    tests::descriptors().len()
}
