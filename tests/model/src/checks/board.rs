//! The board of a pool: each chunk is claimed once, and by somebody, whoever is killed; nobody sleeps while
//! there is one; and the parent hears of each reply.

use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::{self, Check, Release, settle, spawn, victim};
use crate::pool::board::{Board, Chunk, Claimed, Holder};
use crate::pool::desk::Desk;
use crate::shm::object::Object;
use crate::sync::event::Event;
use crate::sys::poll::Wait;

type Pool = Object<Board, ()>;

fn put_up(board: &Board, chunks: u32) {
    let mut posting = board.post();
    for _ in 0..chunks {
        posting.next().expect("there is room");
        posting.put(Chunk { at: 0, len: 0, count: Some(1), process: 0 });
    }
}

/// What all have in mind, without steps.
#[derive(Default)]
struct Seen {
    /// The thread of each worker, 0 as long as it has not begun.
    threads: [AtomicU32; 4],
    /// How often each chunk was claimed.
    claims: [AtomicU32; 4],
    /// How many replies were heard.
    heard: AtomicU32,
}

/// How long tasks take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tasks {
    Short,
    /// Until all chunks should be claimed, each by a worker of its own.
    Long,
}

/// Claims chunks, and replies, until the board is closed.
fn work(pool: &Pool, worker: usize, seen: &Seen, end: &Event) {
    seen.threads[worker].store(kernel::gettid(), Ordering::Relaxed);
    let board = pool.state();
    while let Some(Claimed { seq, .. }) = board.await_chunk(worker, None) {
        let before = seen.claims[seq as usize].fetch_add(1, Ordering::Relaxed);
        assert_eq!(before, 0, "chunk {seq} was claimed twice");
        pool.tail()[worker].reply();
        assert!(!board.call(), "nobody wants the bell");
        end.wait();
    }
}

/// Hears of replies, as a thread does that waits for what comes of its tasks, until there were so many.
fn listen(pool: &Pool, replies: u32, seen: &Seen) {
    let board = pool.state();
    let count = || pool.tail().iter().map(Desk::replies).sum();
    loop {
        seen.heard.store(count(), Ordering::Relaxed);
        if seen.heard.load(Ordering::Relaxed) >= replies {
            return;
        }
        board.begin_listening();
        if count() == seen.heard.load(Ordering::Relaxed) {
            board.listen(Wait::Forever);
        }
        board.end_listening();
    }
}

/// The pool's own thread hears of each of the first `victims` that was killed, once. Says how many sleep
/// for ever then.
fn settle_and_bury(
    pool: &Pool,
    seen: &Seen,
    victims: usize,
    buried: &mut BTreeSet<usize>,
) -> usize {
    let mut asleep = settle();
    while let Some(worker) = (0..victims).find(|worker| {
        let thread = seen.threads[*worker].load(Ordering::Relaxed);
        thread != 0 && kernel::has_died(thread) && !buried.contains(worker)
    }) {
        buried.insert(worker);
        pool.state().forget(worker);
        pool.state().call_listener();
        asleep = settle();
    }
    asleep
}

/// `puts`: so many chunks are put up, one after the other; of the `workers` that wait for them, the first
/// are killed.
fn run(check: Check, tasks: Tasks, workers: usize, victims: usize, puts: &'static [u32]) {
    check.run(move || {
        let end = Event::new().unwrap();
        if tasks == Tasks::Short {
            end.set();
        }
        let pool = Pool::new(Board::new(workers), (), Location::caller()).unwrap();
        let seen = Arc::new(Seen::default());
        let chunks: u32 = puts.iter().sum();
        for worker in 0..workers {
            let (pool, seen, end) = (pool.clone(), Arc::clone(&seen), end.clone());
            let work = move || work(&pool, worker, &seen, &end);
            if worker < victims {
                victim(100, work);
            } else {
                spawn(work);
            }
        }
        let listener = {
            let (pool, seen) = (pool.clone(), Arc::clone(&seen));
            spawn(move || listen(&pool, chunks, &seen))
        };
        let mut buried = BTreeSet::new();
        let mut settle_and_bury = || settle_and_bury(&pool, &seen, victims, &mut buried);
        // The last ones when all sleep.
        let (last, first) = puts.split_last().unwrap();
        first.iter().for_each(|chunks| put_up(pool.state(), *chunks));
        settle_and_bury();
        put_up(pool.state(), *last);
        settle_and_bury();
        let board = pool.state();
        kernel::still(|| {
            for seq in 0..chunks {
                let holder = board.holder(seq);
                assert!(matches!(holder, Holder::Worker(_)), "chunk {seq}: {holder:?}");
            }
            let replies: u32 = pool.tail().iter().map(Desk::replies).sum();
            assert_eq!(seen.heard.load(Ordering::Relaxed), replies, "a reply was not heard");
        });
        // Those that the killed have not left do not come any more.
        pool.tail()[0].reply_for(chunks);
        board.call_listener();
        end.set();
        board.close();
        assert_eq!(settle(), 0);
        drop(listener);
    });
}

/// The board is closed while the first of the `workers` come to sleep, and are killed.
fn close(check: Check, workers: usize, victims: usize) {
    check.run(move || {
        let end = Event::new().unwrap();
        let pool = Pool::new(Board::new(workers), (), Location::caller()).unwrap();
        let seen = Arc::new(Seen::default());
        for worker in 0..workers {
            let (pool, seen, end) = (pool.clone(), Arc::clone(&seen), end.clone());
            let work = move || work(&pool, worker, &seen, &end);
            if worker < victims {
                victim(40, work);
            } else {
                spawn(work);
            }
        }
        pool.state().close();
        assert_eq!(settle_and_bury(&pool, &seen, victims, &mut BTreeSet::new()), 0);
    });
}

#[test]
fn it_is_closed_when_one_dies() {
    close(Check::times(60_000), 2, 1);
}

#[test]
fn it_is_closed_when_most_die() {
    close(Check::times(60_000), 4, 3);
}

#[test]
fn it_is_closed_when_one_dies_whom_the_kernel_leaves_alone() {
    close(Check::times(60_000).on(Release::PendingIfZero), 3, 2);
}

#[test]
fn nobody_dies() {
    run(Check::times(8_000), Tasks::Short, 3, 0, &[1, 2, 1]);
}

#[test]
fn one_by_one() {
    run(Check::times(16_000), Tasks::Short, 3, 1, &[1, 1, 1, 1]);
}

#[test]
fn one_dies() {
    run(Check::times(16_000), Tasks::Short, 3, 1, &[2, 1, 1]);
}

#[test]
fn most_die() {
    run(Check::times(24_000), Tasks::Short, 4, 3, &[1, 2, 1]);
}

#[test]
fn only_one_is_left_of_two() {
    run(Check::times(16_000), Tasks::Short, 2, 1, &[1, 1, 2]);
}

#[test]
fn each_worker_has_one() {
    run(Check::times(16_000), Tasks::Long, 3, 0, &[1, 1, 1]);
}

#[test]
fn each_has_one_who_is_left() {
    run(Check::times(24_000), Tasks::Long, 4, 2, &[1, 1]);
}
