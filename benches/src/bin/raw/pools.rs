//! C1, C2, D: what a pool is at the least: numbers in shared memory, a cursor that workers claim with, and
//! a mailbox. No one finds out when a worker has died.

use std::hint::spin_loop;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};

use benches::{Round, measure, pools};

use crate::futex::{sleep, wake};
use crate::helper;
use crate::shared::shared;

/// A cache line of its own.
#[repr(align(64))]
struct Line<T>(T);

pub(crate) fn run(round: &Round) {
    match round.work.as_str() {
        "C1" => map(round, 1024),
        "C2" => map(round, 1),
        _ => round_trips(round, if round.variant == "spin" { SPINS } else { 0 }),
    }
}

/// How many numbers there may be.
const MOST: usize = 100_000;

struct Board {
    /// How many maps there were.
    round: Line<AtomicU32>,
    /// The next number that no one has claimed.
    cursor: Line<AtomicUsize>,
    /// How many workers have found nothing more in this round.
    done: Line<AtomicU32>,
    count: AtomicUsize,
    inputs: [AtomicU64; MOST],
    outputs: [AtomicU64; MOST],
}

/// The next value that is not `seen`.
fn awaited(word: &AtomicU32, seen: u32, spins: u32) -> u32 {
    for _ in 0..spins {
        if word.load(Acquire) != seen {
            break;
        }
        spin_loop();
    }
    while word.load(Acquire) == seen {
        sleep(word, seen);
    }
    word.load(Acquire)
}

/// Claims `grain` numbers at a time, until there are no more.
fn work(board: &Board, grain: usize) {
    let mut seen = 0;
    loop {
        seen = awaited(&board.round.0, seen, 0);
        let count = board.count.load(Relaxed);
        loop {
            let from = board.cursor.0.fetch_add(grain, Relaxed);
            let to = count.min(from.saturating_add(grain));
            if from >= count {
                break;
            }
            for (input, output) in board.inputs[from..to].iter().zip(&board.outputs[from..to]) {
                output.store(pools::square(input.load(Relaxed)), Relaxed);
            }
        }
        if board.done.0.fetch_add(1, AcqRel) + 1 == pools::WORKERS as u32 {
            wake(&board.done.0, 1);
        }
    }
}

fn map(round: &Round, grain: usize) {
    assert!(round.count <= MOST);
    let board: &Board = shared(Board {
        round: Line(0.into()),
        cursor: Line(0.into()),
        done: Line(0.into()),
        count: 0.into(),
        inputs: [const { AtomicU64::new(0) }; MOST],
        outputs: [const { AtomicU64::new(0) }; MOST],
    });
    for _ in 0..pools::WORKERS {
        helper(|| work(board, grain));
    }
    pools::map(round, |count| {
        let len = count as usize;
        for (input, number) in board.inputs[..len].iter().zip(0..) {
            input.store(number, Relaxed);
        }
        board.count.store(len, Relaxed);
        board.cursor.0.store(0, Relaxed);
        board.done.0.store(0, Relaxed);
        board.round.0.fetch_add(1, Release);
        wake(&board.round.0, i32::MAX);
        let mut done = 0;
        while done < pools::WORKERS as u32 {
            done = awaited(&board.done.0, done, 0);
        }
        // Out of the shared memory, as a map gives them.
        let squares: Vec<u64> = board.outputs[..len].iter().map(|out| out.load(Relaxed)).collect();
        squares.into_iter().fold(0, u64::wrapping_add)
    });
}

/// How often a side looks again before it sleeps.
const SPINS: u32 = 2000;

struct Mailbox {
    asked: Line<AtomicU32>,
    answered: Line<AtomicU32>,
    value: Line<AtomicU64>,
}

fn round_trips(round: &Round, spins: u32) {
    let mailbox: &Mailbox =
        shared(Mailbox { asked: Line(0.into()), answered: Line(0.into()), value: Line(0.into()) });
    helper(|| {
        let mut seen = 0;
        loop {
            seen = awaited(&mailbox.asked.0, seen, spins);
            let value = &mailbox.value.0;
            value.store(pools::square(value.load(Relaxed)), Relaxed);
            mailbox.answered.0.store(seen, Release);
            wake(&mailbox.answered.0, 1);
        }
    });
    let mut x = 0;
    measure::round_trips(round, || {
        x += 1;
        mailbox.value.0.store(x.into(), Relaxed);
        mailbox.asked.0.store(x, Release);
        wake(&mailbox.asked.0, 1);
        awaited(&mailbox.answered.0, x - 1, spins);
        assert_eq!(mailbox.value.0.load(Relaxed), pools::square(x.into()));
    });
}
