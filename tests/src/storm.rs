//! Processes that are killed at random moments and replaced at once, and threads that work beside
//! them and must go on.

use std::cell::Cell;
use std::collections::HashMap;
use std::env;
use std::hint::spin_loop;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, SystemTime};

use offspring::{Child, JoinError, Receiver, Sender, Waitable, pipe};
use serde::{Deserialize, Serialize};

use crate::family::until;

/// How many are killed in each storm.
pub fn kills() -> usize {
    if crate::soak() { 10_000 } else { 1000 }
}

/// Numbers that nobody foresees, and that are the same again for the same seed (xorshift64*).
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Random {
    /// Those of this seed.
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    /// Any number.
    #[allow(clippy::should_implement_trait, reason = "it has no end")]
    pub fn next(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number less than `n`.
    pub fn below(&self, n: u64) -> u64 {
        (self.next() >> 32) % n
    }

    /// Whether it is one time out of `n`.
    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Holds this thread up for a moment of no particular length. Nothing waits for anything here:
    /// it is for being hit somewhere else each time.
    pub fn dawdle(&self) {
        match self.below(4) {
            0 => {}
            1 => (0..self.below(3000)).for_each(|_| spin_loop()),
            2 => thread::yield_now(),
            _ => thread::sleep(Duration::from_micros(self.below(250))),
        }
    }
}

/// What a process that is to be killed is told about itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// Which one it is: numbers of processes come again, these do not.
    pub serial: u64,
    seed: u64,
    at_work: Sender<u64>,
}

impl Job {
    /// Says that it is at work now; from here on it may be killed.
    pub fn begin(&self) -> Random {
        self.at_work.send(self.serial).unwrap();
        Random::new(self.seed)
    }
}

/// Starts processes and kills them.
#[derive(Debug)]
pub struct Storm {
    seed: u64,
    /// What decides who is killed, and when.
    pub random: Random,
    /// Those who were killed, and their process numbers.
    pub dead: HashMap<u64, u32>,
    alive: Vec<(u64, Child<()>)>,
    started: u64,
    tell: Sender<u64>,
    at_work: Receiver<u64>,
    counts: Vec<(&'static str, u64)>,
}

impl Storm {
    /// One that goes by `OFFSPRING_STORM_SEED`, or by the clock.
    #[allow(clippy::new_without_default, reason = "no two are alike")]
    pub fn new() -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let given = env::var("OFFSPRING_STORM_SEED").ok();
        let seed = given.map_or(now, |seed| seed.parse().expect("a number"));
        println!("OFFSPRING_STORM_SEED={seed}");
        Self::of(seed)
    }

    /// One more, which goes by the same seed.
    pub fn another(&self) -> Self {
        Self::of(self.random.next())
    }

    fn of(seed: u64) -> Self {
        let (tell, at_work) = pipe().unwrap();
        Self {
            seed,
            random: Random::new(seed),
            dead: HashMap::new(),
            alive: Vec::new(),
            started: 0,
            tell,
            at_work,
            counts: Vec::new(),
        }
    }

    /// Something that is worth telling at the end.
    pub fn count(&mut self, what: &'static str, n: u64) {
        match self.counts.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += n,
            None => self.counts.push((what, n)),
        }
    }

    /// How often it was counted.
    pub fn counted(&self, what: &str) -> u64 {
        self.counts.iter().find(|(known, _)| *known == what).map_or(0, |(_, count)| *count)
    }

    /// Kills so many. `width` of them are at work at a time. Whenever all of them were killed at
    /// once, and before any is replaced, `settled` looks whether things go on without them.
    pub fn rage(
        &mut self,
        kills: usize,
        width: usize,
        start: impl Fn(Job) -> offspring::Result<Child<()>>,
        mut settled: impl FnMut(&mut Self),
    ) {
        let end = self.dead.len() + kills;
        while self.dead.len() < end {
            self.fill(width, &start);
            self.random.dawdle();
            let victims = match self.random.below(3) {
                0 => width as u64,
                1 => 1,
                _ => 1 + self.random.below(width as u64),
            };
            self.kill(victims as usize);
            if self.alive.is_empty() {
                settled(self);
            }
        }
        self.kill_all();
        settled(self);
    }

    /// Kills all who are at work.
    pub fn kill_all(&mut self) {
        self.kill(self.alive.len());
    }

    /// Has `width` processes be at work.
    pub fn fill(&mut self, width: usize, start: impl Fn(Job) -> offspring::Result<Child<()>>) {
        let mut awaited = 0;
        while self.alive.len() < width {
            self.started += 1;
            let (serial, at_work) = (self.started, self.tell.clone());
            let child = start(Job { serial, seed: self.random.next(), at_work }).unwrap();
            self.alive.push((serial, child));
            awaited += 1;
        }
        while awaited > 0 {
            let mut all: Vec<&dyn Waitable> = vec![&self.at_work];
            all.extend(self.alive.iter().map(|(_, child)| child as &dyn Waitable));
            match offspring::wait(&all).unwrap()[0] {
                0 => {
                    self.at_work.recv().unwrap();
                    awaited -= 1;
                }
                early => {
                    let (serial, child) = self.alive.swap_remove(early - 1);
                    panic!("number {serial} ended by itself: {:?}", child.join());
                }
            }
        }
    }

    /// All that was counted.
    pub fn counts(&self) -> String {
        format!("{:?}", self.counts)
    }

    /// How many were ever started: their numbers go from 1 up to this.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// How many are at work.
    pub fn width(&self) -> usize {
        self.alive.len()
    }

    /// Waits until those at work have ended by themselves, and well.
    pub fn ebb(&mut self) {
        for (serial, child) in self.alive.drain(..) {
            if let Err(error) = child.join() {
                panic!("number {serial}: {error}");
            }
        }
    }

    /// Kills so many of those at work, in no particular order, and waits until they are gone.
    pub fn kill(&mut self, victims: usize) {
        let mut dying = Vec::new();
        for _ in 0..victims {
            let victim = self.random.below(self.alive.len() as u64) as usize;
            let (serial, child) = self.alive.swap_remove(victim);
            child.kill().unwrap();
            if self.random.one_in(2) {
                (0..self.random.below(300)).for_each(|_| spin_loop());
            }
            dying.push((serial, child));
        }
        for (serial, child) in dying {
            let pid = child.pid();
            match child.join() {
                Err(JoinError::Exited(exit)) if exit.status().signal() == Some(9) => {}
                other => panic!("number {serial} ended by itself: {other:?}"),
            }
            self.dead.insert(serial, pid);
            if self.dead.len().is_multiple_of(500) {
                println!("killed {}: {:?}", self.dead.len(), self.counts);
            }
        }
    }

    /// Whether somebody who was killed had this process number.
    pub fn has_killed(&self, pid: u64) -> bool {
        self.dead.values().any(|dead| u64::from(*dead) == pid)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        for (_, child) in &self.alive {
            let _ = child.kill();
        }
        if thread::panicking() || crate::soak() {
            eprintln!(
                "seed {}: {} killed of {} started, {:?}",
                self.seed,
                self.dead.len(),
                self.started,
                self.counts
            );
        }
    }
}

/// The number of those who are not killed.
pub const SURVIVOR: u64 = u64::MAX;

/// A thread of this process that does something again and again, beside those who are killed.
#[derive(Debug)]
pub struct Survivor<'scope> {
    shared: Arc<Shared>,
    thread: ScopedJoinHandle<'scope, ()>,
}

#[derive(Debug, Default)]
struct Shared {
    rounds: AtomicU64,
    stop: AtomicBool,
    paused: Mutex<bool>,
    resumed: Condvar,
    /// Held while it is at work.
    at_work: Mutex<()>,
}

impl<'scope> Survivor<'scope> {
    /// Begins to do `work`, until this value is dropped.
    pub fn new<'env>(
        scope: &'scope Scope<'scope, 'env>,
        mut work: impl FnMut(&Random) + Send + 'scope,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = scope.spawn(move || {
            let random = Random::new(SURVIVOR);
            while !own.stop.load(Ordering::Relaxed) {
                let paused = own.paused.lock().unwrap();
                drop(own.resumed.wait_while(paused, |paused| *paused).unwrap());
                let at_work = own.at_work.lock().unwrap();
                work(&random);
                drop(at_work);
                own.rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { shared, thread }
    }

    /// Waits until it has done something that it began after this was called. If it hangs, the
    /// watchdog barks.
    pub fn goes_on(&self) {
        self.goes_on_until(|| false);
    }

    /// As [`goes_on`](Self::goes_on), unless `or` is true before.
    pub fn goes_on_until(&self, or: impl Fn() -> bool) {
        let rounds = || self.shared.rounds.load(Ordering::Relaxed);
        let before = rounds();
        until(|| self.has_failed() || rounds() >= before + 2 || or());
    }

    /// Fails if it has failed; never true.
    pub fn has_failed(&self) -> bool {
        assert!(!self.thread.is_finished(), "a survivor has failed");
        false
    }

    /// Does something while it is in the middle of nothing.
    pub fn at_rest<R>(&self, body: impl FnOnce() -> R) -> R {
        self.pause(true);
        let at_work = self.shared.at_work.lock().unwrap();
        let result = body();
        drop(at_work);
        self.pause(false);
        result
    }

    /// Has it not begin anything from now on, or again. It may be in the middle of something.
    pub fn pause(&self, paused: bool) {
        *self.shared.paused.lock().unwrap() = paused;
        self.shared.resumed.notify_all();
    }
}

impl Drop for Survivor<'_> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.pause(false);
    }
}
