//! Sleeping on words, and waking who sleeps: `kernel/futex/waitwake.c`.

use std::sync::atomic::{self, Ordering};

use super::atomics::AtomicU32;
use super::{Plan, Release, death, me, once_in, process, step, switch, trace, world};
use crate::sys::poll::Wait;

/// The most words that [`wait_any`] can watch.
pub(crate) const MAX_WATCHED: usize = 8;

/// Sleeps while `word` is `expected`, until it is woken; false when the time is up.
#[track_caller]
pub(crate) fn wait(word: &AtomicU32, expected: u32, wait: Wait) -> bool {
    if !step() {
        return true;
    }
    match wait {
        Wait::Never => false,
        Wait::Until(_) => sleep_on(&[(word, expected)], true),
        Wait::Forever => sleep_on(&[(word, expected)], false),
    }
}

/// Sleeps while every word is what is expected of it, until one is woken; false when the time is up.
#[track_caller]
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], until: Wait) -> bool {
    assert!(words.len() <= MAX_WATCHED);
    if let [(word, expected)] = words {
        return wait(word, *expected, until);
    }
    if !step() {
        return true;
    }
    let old = world(|world| world.release) == Release::NoWaitv;
    match until {
        Wait::Never => false,
        // A tenth of a second, unless the time is up before that.
        Wait::Forever if old => sleep_on(&words[..1], true) || true,
        Wait::Until(_) if old => sleep_on(&words[..1], true) || once_in(2),
        Wait::Forever => sleep_on(words, false),
        Wait::Until(_) => sleep_on(words, true),
    }
}

/// Wakes up to `count` of those who sleep on `word`; says how many there were.
#[track_caller]
pub(crate) fn wake(word: &AtomicU32, count: u32) -> usize {
    if step() { wake_address(word.address(), count) } else { 0 }
}

/// Ends all sleeps, as those do that are for a limited time.
pub(crate) fn alarm() {
    let mut words = world(|world| world.sleepers.clone());
    words.dedup();
    for (word, _) in words {
        wake_address(word, u32::MAX);
    }
}

/// Who sleeps on the word, and was not woken.
pub(crate) fn asleep_on(word: usize) -> usize {
    world(|world| world.sleepers.iter().filter(|(of, _)| *of == word).count())
}

#[track_caller]
pub(super) fn wake_address(word: usize, count: u32) -> usize {
    let mut woken = Vec::new();
    world(|world| {
        let mut left = count;
        let mut sleepers = std::mem::take(&mut world.sleepers);
        sleepers.retain(|&(of, sleeper)| {
            let is_woken = of == word && left > 0;
            if is_woken {
                left -= 1;
                woken.push(sleeper);
            }
            !is_woken
        });
        world.sleepers = sleepers;
        for &sleeper in &woken {
            let task = world.task(sleeper);
            // Woken through one word, it is in the queues of the others until it runs: who wakes it
            // again there counts it as one who sleeps.
            task.woken = true;
            match &mut task.plan {
                Plan::AtWaking(0) => task.doomed = true,
                Plan::AtWaking(times) => *times -= 1,
                _ => {}
            }
        }
    });
    trace!("wake {word:#x}: {woken:?}");
    for &sleeper in &woken {
        process::unpark(sleeper);
    }
    woken.len()
}

/// Takes its place among those who sleep on each of the words, one after the other; and sleeps.
#[track_caller]
fn sleep_on(words: &[(&AtomicU32, u32)], timed: bool) -> bool {
    let me = me();
    assert!(!world(|world| world.still), "it would sleep, and nobody else goes on");
    let spurious = world(|world| world.spurious);
    if once_in(spurious) {
        trace!("no sleep, for no reason");
        return true;
    }
    world(|world| world.task(me).woken = false);
    for (index, (word, expected)) in words.iter().enumerate() {
        if index > 0 {
            switch();
        }
        let value = word.peek();
        if value != *expected {
            trace!("no sleep: {word:p} is {value:#x}, not {expected:#x}");
            rise(me);
            return true;
        }
        world(|world| world.sleepers.push((word.address(), me)));
    }
    death::fall_asleep(me);
    trace!("sleep on {:x?}", words.iter().map(|(word, _)| word.address()).collect::<Vec<_>>());
    switch();
    loop {
        let (woken, doomed) = world(|world| {
            let task = world.task(me);
            (task.woken, task.doomed)
        });
        if woken || doomed {
            break;
        }
        if timed {
            if once_in(4) {
                break;
            }
            shuttle::thread::yield_now();
        } else {
            world(|world| world.task(me).asleep = true);
            process::tell_settled();
            shuttle::thread::park();
            world(|world| world.task(me).asleep = false);
        }
    }
    rise(me);
    let woken = world(|world| world.task(me).woken);
    trace!("{}", if woken { "woken" } else { "up by itself" });
    death::die_if_doomed(me);
    woken
}

/// Leaves all queues.
fn rise(me: usize) {
    world(|world| world.sleepers.retain(|(_, sleeper)| *sleeper != me));
}
