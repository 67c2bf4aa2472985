//! What a lock protects here: it shows whether two were inside at once, and whether each death
//! inside was told.

use std::collections::HashSet;
use std::hint::spin_loop;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use offspring::shm::Shareable;
use offspring::sync::{PoisonCause, PoisonError};

use tests::storm::Storm;

const LOG: usize = 512;

/// Of several locks that were poisoned at once, the error names the holder of the first.
pub(crate) const NOT_ASKED: u32 = u32::MAX;

/// Numbers that are right whenever nobody is inside. They are atomic only so that readers can see
/// them through a shared reference: nobody changes them in one step.
#[derive(Debug, Shareable)]
pub(crate) struct Ledger {
    words: [AtomicU64; 2],
    /// The number of who is inside.
    inside: AtomicU64,
    told: AtomicU64,
    /// Who was told to have held the lock, and who was inside.
    log: [[AtomicU64; 2]; LOG],
}

fn get(word: &AtomicU64) -> u64 {
    let value = word.load(Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    value
}

fn set(word: &AtomicU64, value: u64) {
    compiler_fence(Ordering::SeqCst);
    word.store(value, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
}

/// Whether the lock was taken in peace, or from somebody who died with it.
pub(crate) type Taken<G> = Result<G, PoisonError<G>>;

impl Ledger {
    pub(crate) fn new() -> Self {
        let pair = || [AtomicU64::new(0), AtomicU64::new(0)];
        Self {
            words: pair(),
            inside: AtomicU64::new(0),
            told: AtomicU64::new(0),
            log: std::array::from_fn(|_| pair()),
        }
    }

    /// What a holder does.
    pub(crate) fn visit(&self, who: u64) {
        self.look();
        set(&self.inside, who);
        let [first, second] = &self.words;
        let seen = get(first);
        set(first, seen + 1);
        (0..seen % 64).for_each(|_| spin_loop());
        assert_eq!(get(second), seen, "somebody has changed it meanwhile");
        set(second, seen + 1);
        assert_eq!(get(&self.inside), who, "somebody else came in");
        set(&self.inside, 0);
    }

    /// What a reader does.
    pub(crate) fn look(&self) {
        assert_eq!(get(&self.inside), 0, "inside, and not told");
        let [first, second] = &self.words;
        let seen = get(first);
        (0..seen % 64).for_each(|_| spin_loop());
        assert_eq!((get(first), get(second)), (seen, seen), "torn");
        assert_eq!(get(&self.inside), 0, "somebody came in");
    }

    /// Puts right what somebody has left who died with the lock; `pid` is who was named, 0 if the
    /// library does not know, [`NOT_ASKED`] if it cannot be asked.
    pub(crate) fn repair(&self, pid: u32) {
        let at = get(&self.told);
        let [holder, mark] = &self.log[at as usize];
        set(holder, u64::from(pid));
        set(mark, get(&self.inside));
        set(&self.told, at + 1);
        set(&self.words[0], get(&self.words[1]));
        set(&self.inside, 0);
    }

    /// Looks through what was told, and forgets it. To be called with the lock held, and when all
    /// are dead who are to be killed.
    pub(crate) fn audit(&self, told: &mut HashSet<u64>, storm: &mut Storm) {
        for entry in &self.log[..get(&self.told) as usize] {
            let [pid, mark] = entry.each_ref().map(get);
            let inside = storm.dead.get(&mark).map(|pid| u64::from(*pid));
            if pid == u64::from(NOT_ASKED) {
                assert!(mark == 0 || inside.is_some(), "number {mark} lives");
                storm.count("died inside", u64::from(mark != 0 && told.insert(mark)));
                continue;
            }
            if pid == 0 {
                // It died when it had just taken the lock, or was about to give it back.
                assert!(mark == 0 || told.contains(&mark), "{mark} died inside, and is not named");
                storm.count("unnamed", 1);
                continue;
            }
            assert!(storm.has_killed(pid), "{pid} was named, and was not killed");
            if mark == 0 || !told.insert(mark) {
                storm.count("died with the lock", 1);
                continue;
            }
            assert!(inside.is_some(), "number {mark} was told to be dead, and lives");
            storm.count("died inside", 1);
            if inside != Some(pid) {
                // Who was told of it died in its turn, before it could put that down.
                storm.count("told to the dead", 1);
            }
        }
        set(&self.told, 0);
    }
}

/// What a writer does when it has the lock: `heal` clears the poison.
pub(crate) fn enter<G: Deref<Target = Ledger>>(
    taken: Taken<G>,
    who: u64,
    heal: impl FnOnce(),
) -> G {
    match taken {
        Ok(guard) => {
            guard.visit(who);
            guard
        }
        Err(poisoned) => {
            assert_eq!(poisoned.cause(), PoisonCause::Died, "{poisoned}");
            poisoned.get_ref().repair(poisoned.holder().pid());
            heal();
            poisoned.into_inner()
        }
    }
}
