//! What the kernel does when a thread ends: `exit_robust_list` of Linux's `kernel/futex/core.c`.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::{Release, futex, me, switch, trace, world};
use crate::sys::robust::{DIED, OWNER, WAITERS};

/// `struct robust_list_head`, as the C library has registered it for a thread.
#[repr(C)]
pub(super) struct Head {
    list: AtomicUsize,
    distance: isize,
    pending: AtomicUsize,
}

/// From the `next` pointer of glibc's `pthread_mutex_t` to its word.
const DISTANCE: isize = -32;
/// The kernel looks no further.
const LIMIT: usize = 2048;

impl Head {
    pub(super) fn new() -> Box<Self> {
        let head = Box::new(Self {
            list: AtomicUsize::new(0),
            distance: DISTANCE,
            pending: AtomicUsize::new(0),
        });
        head.list.store(std::ptr::from_ref(&*head) as usize, Ordering::Relaxed);
        head
    }

    /// The words in the list, and the pending one, or 0.
    fn words(&self) -> (Vec<usize>, usize) {
        let word = |entry: usize| entry.wrapping_add_signed(DISTANCE);
        let pending = self.pending.load(Ordering::Relaxed) & !1;
        let mut words = Vec::new();
        let mut entry = self.list.load(Ordering::Relaxed) & !1;
        while entry != std::ptr::from_ref(self) as usize {
            if entry != pending {
                words.push(word(entry));
            }
            assert!(entry != 0 && words.len() < LIMIT, "a list of owned words that does not end");
            // SAFETY: an entry of the list is the `next` pointer of a word that is kept.
            let next = unsafe { &*(entry as *const AtomicUsize) };
            entry = next.load(Ordering::Relaxed) & !1;
        }
        (words, if pending == 0 { 0 } else { word(pending) })
    }
}

/// Says where the calling thread's list begins.
pub(crate) fn get_robust_list<T>(head: *mut *const T, len: *mut usize) -> bool {
    let me = me();
    let own = world(|world| std::ptr::from_ref(&*world.task(me).head));
    // SAFETY: both are the caller's to be written to.
    unsafe {
        *head = own.cast();
        *len = size_of::<Head>();
    }
    true
}

/// A thread that was killed, and what it owned then.
#[derive(Debug, Clone)]
pub(crate) struct Death {
    pub(crate) tid: u32,
    /// The addresses of the words that it owned.
    pub(crate) owned: Vec<usize>,
}

/// Who was killed so far.
pub(crate) fn deaths() -> Vec<Death> {
    world(|world| world.deaths.clone())
}

/// Whether it was killed, be it that the kernel is not done with it.
pub(crate) fn has_died(tid: u32) -> bool {
    world(|world| world.deaths.iter().any(|death| death.tid == tid))
}

/// The calling thread has looked whether there is something, and goes to sleep if not.
pub(crate) fn has_looked() {
    let me = me();
    world(|world| world.task(me).looked = world.deaths.len());
}

/// The thread falls asleep.
pub(super) fn fall_asleep(me: usize) {
    world(|world| {
        let unseen = world.deaths[world.tasks[me].as_ref().unwrap().looked..].to_vec();
        world.task(me).unseen = unseen;
    });
}

/// Whether one who sleeps fell asleep when it had looked, and another was killed in between, who did not
/// own the word that it sleeps on.
pub(crate) fn died_unseen() -> bool {
    world(|world| {
        world.sleepers.iter().any(|(word, sleeper)| {
            let sleeper = world.tasks[*sleeper].as_ref().expect("it has begun");
            sleeper.unseen.iter().any(|death| !death.owned.contains(word))
        })
    })
}

/// What a victim's stack is unwound with.
pub(super) struct Killed;

/// Dies, if it is to.
pub(super) fn die_if_doomed(me: usize) {
    let (due, panicking) = world(|world| {
        let task = world.task(me);
        (task.doomed && !task.dying && !task.dead, task.panicking)
    });
    if !due {
        return;
    }
    trace!("killed");
    let (words, pending) = world(|world| {
        let task = world.task(me);
        task.dying = true;
        task.head.words()
    });
    let tid = world(|world| world.task(me).tid);
    let mut owned: Vec<usize> = words.clone();
    owned.push(pending);
    owned.retain(|word| *word != 0 && at(*word).load(Ordering::Relaxed) & OWNER == tid);
    world(|world| world.deaths.push(Death { tid, owned }));
    leave(me, words, pending);
    world(|world| {
        let task = world.task(me);
        task.dead = true;
        task.dying = false;
    });
    // Who panics already cannot be unwound from here: it goes on, without effect.
    if !panicking {
        std::panic::resume_unwind(Box::new(Killed));
    }
}

/// A thread ends by itself.
pub(super) fn end(me: usize) {
    let (words, pending) = world(|world| world.task(me).head.words());
    leave(me, words, pending);
}

fn leave(me: usize, words: Vec<usize>, pending: usize) {
    for word in words {
        hand_over(me, word, false);
    }
    if pending != 0 {
        hand_over(me, pending, true);
    }
}

fn at(word: usize) -> &'static AtomicU32 {
    // SAFETY: what is in a list is kept until the end of the execution.
    unsafe { &*(word as *const AtomicU32) }
}

/// `handle_futex_death`.
fn hand_over(me: usize, word: usize, pending: bool) {
    switch();
    let (tid, release) = world(|world| (world.task(me).tid, world.release));
    let value = at(word).load(Ordering::Relaxed);
    let owner = value & OWNER;
    if pending && owner == 0 {
        if release != Release::PendingIfZero || value == 0 {
            trace!("the kernel wakes one of {word:#x}, which was pending");
            switch();
            futex::wake_address(word, 1);
        }
        return;
    }
    if owner != tid {
        return;
    }
    trace!("the kernel marks {word:#x}, which was {value:#x}");
    at(word).store(value & WAITERS | DIED, Ordering::Relaxed);
    if value & WAITERS != 0 {
        switch();
        futex::wake_address(word, 1);
    }
}
