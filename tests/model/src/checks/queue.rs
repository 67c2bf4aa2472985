//! Waiting at a queue: nobody sleeps while there is something for it, whoever is killed, and without
//! anybody looking again; and who waits in vain is told so, and nobody else.

use std::time::Duration;

use crate::kernel::{self, Check, alarm, check, once_in, settle, spawn, victim};
use crate::queue::core::{Process, Queue, World};
use crate::queue::waiting::GaveUp;
use crate::sys::poll::Wait;

/// What a process does with its handle. False if it was told that nobody is left.
type Doing = fn(&Queue) -> bool;

fn told<T>(result: Result<T, GaveUp>) -> bool {
    result.is_ok()
}

fn get(queue: &Queue) -> bool {
    told(queue.get())
}

fn get_twice(queue: &Queue) -> bool {
    get(queue) && get(queue)
}

fn put(queue: &Queue) -> bool {
    told(queue.put())
}

fn put_twice(queue: &Queue) -> bool {
    put(queue) && put(queue)
}

fn hour() -> Wait {
    Wait::at_most(Duration::from_secs(3600))
}

fn get_in_time(queue: &Queue) -> bool {
    !matches!(queue.get_within(hour()), Err(GaveUp::Disconnected))
}

fn put_in_time(queue: &Queue) -> bool {
    !matches!(queue.put_within(hour()), Err(GaveUp::Disconnected))
}

/// Puts, and goes on to get what others have put.
fn put_and_get(queue: &Queue) -> bool {
    put(queue) && get(queue)
}

/// Gets, puts, and waits again.
fn hand_on(queue: &Queue) -> bool {
    get(queue) && put(queue) && get(queue)
}

fn start(world: &World, dies: bool, work: Doing) -> kernel::Process<bool> {
    let process = world.process();
    let work = move || {
        let [queue] = process.open();
        let queue = queue.begin();
        work(&queue)
    };
    if dies { victim(250, work) } else { spawn(work) }
}

/// Waits until all have ended, or sleep; and these have nothing that they could get.
fn settle_right(world: &World) -> usize {
    let mut asleep = settle();
    while asleep > 0 && world.needs_another_look() {
        alarm();
        asleep = settle();
    }
    assert!(!world.keeps_waiting(), "{asleep} sleep, and there is something for one of them");
    asleep
}

/// Some of whom, the first, are killed. Somebody else has the queue all the time, so that nobody is told
/// that nobody is left.
fn run(check: Check, capacity: u32, victims: usize, doing: &'static [Doing]) {
    check.run(move || {
        let world = World::new(capacity, false);
        let _stays = world.process();
        let started: Vec<_> = doing
            .iter()
            .enumerate()
            .map(|(index, work)| start(&world, index < victims, *work))
            .collect();
        settle_right(&world);
        assert_eq!(world.verdicts(), 0);
        drop(started);
        // So that all end.
        world.close();
        assert_eq!(settle(), 0);
    });
}

#[test]
fn nobody_dies() {
    run(Check::times(8_000), 1, 0, &[get_twice, put_twice, get, put]);
}

#[test]
fn consumers_die() {
    run(Check::times(24_000), 4, 2, &[get_twice, get, get, put, put_twice]);
}

#[test]
fn most_consumers_die() {
    run(Check::times(16_000), 4, 3, &[get, get, get, get, put, put]);
}

#[test]
fn producers_die() {
    run(Check::times(16_000), 1, 2, &[put_twice, put, put, get, get]);
}

#[test]
fn both_die() {
    run(Check::times(16_000), 2, 3, &[put_twice, get_twice, get, put, get]);
}

#[test]
fn some_do_not_wait_for_ever() {
    run(Check::times(16_000), 1, 2, &[get, get_in_time, put_in_time, put, get, put]);
}

/// All come to their end, or are told that nobody is left, once they have looked again a few times.
fn all_end(world: &World) {
    for _ in 0..4 {
        if settle_right(world) == 0 {
            return;
        }
        alarm();
    }
    assert_eq!(settle_right(world), 0, "they wait for ever");
}

/// Nobody but these has the queue. They look again when all sleep.
fn verdict(check: Check, capacity: u32, victims: usize, doing: &'static [Doing]) {
    check.run(move || {
        let world = World::new(capacity, false);
        for (index, work) in doing.iter().enumerate() {
            start(&world, index < victims, *work);
        }
        all_end(&world);
    });
}

#[test]
fn who_waits_in_vain_is_told() {
    verdict(Check::times(12_000), 4, 0, &[get_twice, get, put, put_and_get]);
}

#[test]
fn who_waits_again_is_counted_again() {
    verdict(Check::times(20_000), 4, 0, &[hand_on, get, put]);
}

#[test]
fn who_waits_for_the_dead_is_told() {
    verdict(Check::times(20_000), 4, 2, &[put_twice, get, get_twice, get]);
}

#[test]
fn who_waits_for_room_in_vain_is_told() {
    verdict(Check::times(16_000), 1, 2, &[get_twice, put, put_twice, put]);
}

#[test]
fn who_waits_for_a_limited_time_is_waited_for() {
    verdict(Check::times(16_000), 1, 1, &[get, put_in_time, get_in_time, put_and_get]);
}

/// They look again at any moment.
#[test]
fn who_looks_again_is_right() {
    check(12_000, || {
        let world = World::new(1, true);
        let doing: [Doing; 4] = [put_twice, get, put_and_get, get];
        for (index, work) in doing.into_iter().enumerate() {
            start(&world, index < 1, work);
        }
        assert_eq!(settle(), 0);
    });
}

/// Two threads of one process each have a handle.
fn threads_of_one(process: Process, doing: [Doing; 2]) {
    let handles: [Queue; 2] = process.open();
    for (queue, work) in handles.into_iter().zip(doing) {
        spawn(move || {
            let queue = queue.begin();
            work(&queue)
        });
    }
}

#[test]
fn threads_of_one_process_are_told() {
    check(12_000, || {
        let world = World::new(2, false);
        threads_of_one(world.process(), [get, if once_in(2) { get } else { put_and_get }]);
        start(&world, true, put);
        start(&world, false, get);
        all_end(&world);
    });
}

#[test]
fn threads_of_two_processes_are_told() {
    check(12_000, || {
        let world = World::new(1, false);
        threads_of_one(world.process(), [get, put_twice]);
        threads_of_one(world.process(), [put_and_get, get]);
        all_end(&world);
    });
}

#[test]
fn threads_of_one_process_look_again() {
    check(8_000, || {
        let world = World::new(1, true);
        threads_of_one(world.process(), [get, put_and_get]);
        start(&world, true, put_twice);
        assert_eq!(settle(), 0);
    });
}

/// One closes the queue: all are told, one after the other.
#[test]
fn closing_wakes_all() {
    check(12_000, || {
        let world = World::new(1, false);
        let _stays = world.process();
        for index in 0..4 {
            start(&world, index < 2, get);
        }
        start(&world, true, put);
        let closing = world.clone();
        spawn(move || closing.close());
        assert_eq!(settle_right(&world), 0, "they do not know that it is closed");
    });
}
