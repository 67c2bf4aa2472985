//! procspawn: executes its program anew for each closure. It has no pipes.

use std::collections::VecDeque;

use benches::{Round, measure, memory, pools, sums};

fn main() {
    procspawn::init();
    let round = Round::from_args();
    if round.work == "I" {
        let mut child = procspawn::spawn((), |()| std::thread::park());
        std::thread::sleep(std::time::Duration::from_millis(200)); // it has no way to say it is up
        memory::figures(child.pid().unwrap());
        child.kill().unwrap();
        return;
    }
    if round.work == "Iw" || round.work.starts_with(['C', 'D', 'H']) {
        return pool(&round);
    }
    let start = || procspawn::spawn(7u64, |number| number);
    measure::starts(&round, start, |child| assert_eq!(child.join().unwrap(), 7));
}

/// C2: how many tasks are under way.
const AHEAD: usize = 128;

/// What the oldest of these tasks gives.
fn joined(under_way: &mut VecDeque<procspawn::JoinHandle<u64>>) -> u64 {
    under_way.pop_front().unwrap().join().unwrap()
}

fn pool(round: &Round) {
    let alone = ["C5", "C6", "H1"].contains(&round.work.as_str());
    let pool = procspawn::Pool::new(if alone { 1 } else { pools::WORKERS }).unwrap();
    match round.work.as_str() {
        // It has no map: one task for each worker's share of the numbers, or for each number.
        "C1" => pools::map(round, |count| {
            let share = count.div_ceil(pools::WORKERS as u64);
            let shares: Vec<_> = (0..count)
                .step_by(share as usize)
                .map(|from| {
                    pool.spawn((from, count.min(from + share)), |(from, to)| {
                        (from..to).map(pools::square).collect::<Vec<u64>>()
                    })
                })
                .collect();
            let squares = shares.into_iter().flat_map(|share| share.join().unwrap());
            squares.fold(0, u64::wrapping_add)
        }),
        // Each task under way has sockets of its own, of which a process may have only so many.
        "C2" => pools::map(round, |count| {
            let mut under_way = VecDeque::with_capacity(AHEAD);
            let mut sum = 0u64;
            for x in 0..count {
                if under_way.len() == AHEAD {
                    sum = sum.wrapping_add(joined(&mut under_way));
                }
                under_way.push_back(pool.spawn(x, pools::square));
            }
            while !under_way.is_empty() {
                sum = sum.wrapping_add(joined(&mut under_way));
            }
            sum
        }),
        "C3" | "C4" => pools::efficiency(round, |naps| {
            let tasks: Vec<_> = naps.into_iter().map(|nap| pool.spawn(nap, pools::nap)).collect();
            for task in tasks {
                task.join().unwrap();
            }
        }),
        "C5" | "H1" => pools::numbers_in(round, |numbers| {
            pool.spawn(numbers, |numbers| sums::sum(&numbers)).join().unwrap()
        }),
        "C6" => pools::numbers_out(
            round,
            || pool.spawn((), |()| pools::make_numbers()).join().unwrap(),
            || pool.spawn((), |()| pools::take_numbers()).join().unwrap(),
        ),
        "Iw" => pools::idle(pool.spawn((), |()| std::process::id()).join().unwrap()),
        _ => {
            let mut x = 0;
            measure::round_trips(round, || {
                x += 1;
                assert_eq!(pool.spawn(x, pools::square).join().unwrap(), pools::square(x));
            });
        }
    }
}
