//! The lock of one writer or many readers.

use std::time::Duration;

use super::{Noted, is_dead};
use crate::kernel::{self, Check, Release, check, deaths, gettid, settle, spawn, victim};
use crate::sync::{LockError, LockTimeoutError, PoisonCause, RwLock};

/// What all do with the lock, and what they note.
#[derive(Clone)]
struct Place {
    lock: RwLock<[u32; 2]>,
    /// Who writes now.
    writer: Noted<u32>,
    /// A writer that was killed while it wrote, and of whom nobody has been told.
    half: Noted<u32>,
}

impl Place {
    fn new() -> Self {
        let lock = RwLock::new([0u32; 2]).unwrap();
        Self { lock, writer: Noted::new(0), half: Noted::new(0) }
    }

    fn look(&self, value: &[u32; 2], poisoned: bool) {
        let writer = self.writer.get();
        assert!(writer == 0 || is_dead(writer), "{writer} writes, and {} reads", gettid());
        kernel::step();
        let writer = self.writer.get();
        assert!(writer == 0 || is_dead(writer), "{writer} writes, and {} reads", gettid());
        assert!(poisoned || value[0] == value[1], "half changed, and nobody says so");
        assert!(poisoned || writer == 0, "its writer died, and nobody says so");
    }

    fn change(&self, value: &mut [u32; 2]) {
        let (writer, own) = (self.writer.get(), gettid());
        assert!(writer == 0 || is_dead(writer), "{writer} and {own} write");
        self.writer.set(own);
        value[0] += 1;
        kernel::step();
        assert_eq!(self.writer.get(), own);
        value[1] = value[0];
        self.writer.set(0);
    }

    fn read(&self) {
        match self.lock.read() {
            Ok(value) => self.look(&value, false),
            Err(LockError::Poisoned(error)) => {
                self.check_culprit(error.cause(), error.holder().tid());
                self.look(&error.into_inner(), true);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn read_twice(&self) {
        let first = self.lock.read();
        self.read();
        drop(first);
    }

    /// Reads again, and is done with the first reading before the second.
    fn read_in_turn(&self) {
        let first = self.lock.read().unwrap_or_else(|error| error.into_inner());
        let second = self.lock.read();
        drop(first);
        match second {
            Ok(value) => self.look(&value, false),
            Err(error) => self.look(&error.into_inner(), true),
        }
    }

    fn read_for_a_while(&self) {
        match self.lock.read_timeout(Duration::from_secs(3600)) {
            Ok(value) => self.look(&value, false),
            Err(LockTimeoutError::Poisoned(error)) => self.look(&error.into_inner(), true),
            Err(LockTimeoutError::Timeout { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn write(&self) {
        match self.lock.write() {
            Ok(mut value) => {
                assert_eq!(self.writer.get(), 0, "its writer died, and nobody says so");
                self.change(&mut value);
            }
            Err(LockError::Poisoned(error)) => {
                self.check_culprit(error.cause(), error.holder().tid());
                self.change(&mut error.into_inner());
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn write_for_a_while(&self) {
        match self.lock.write_timeout(Duration::from_secs(3600)) {
            Ok(mut value) => self.change(&mut value),
            Err(LockTimeoutError::Poisoned(error)) => self.change(&mut error.into_inner()),
            Err(LockTimeoutError::Timeout { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn check_culprit(&self, cause: PoisonCause, tid: u32) {
        assert_eq!(cause, PoisonCause::Died);
        assert!(tid == 0 || is_dead(tid), "{tid} is alive");
    }

    fn check_at_end(&self) {
        assert_eq!(settle(), 0);
        let tried = self.lock.try_write();
        assert!(!matches!(tried, Err(crate::sync::TryLockError::WouldBlock)), "it is not free");
        if self.writer.get() != 0 {
            assert!(tried.is_err(), "its writer died, and nobody says so");
        }
        if deaths().is_empty() {
            assert!(tried.is_ok());
        }
        drop(tried);
        self.lock.clear_poison();
        assert!(self.lock.read().is_ok());
    }
}

type Doing = fn(&Place);

/// Some of whom, the first, are killed.
fn run(check: Check, victims: usize, doing: &'static [Doing]) {
    check.run(move || {
        let place = Place::new();
        for (index, work) in doing.iter().enumerate() {
            let place = place.clone();
            let work = move || work(&place);
            if index < victims {
                victim(200, work)
            } else {
                spawn(work)
            };
        }
        place.check_at_end();
    });
}

#[test]
fn nobody_dies() {
    run(Check::times(4_000), 0, &[Place::read, Place::write, Place::read_twice, Place::write]);
}

#[test]
fn readers_die() {
    run(Check::times(8_000), 2, &[Place::read, Place::read_twice, Place::write, Place::read]);
}

#[test]
fn writers_die() {
    run(Check::times(8_000), 2, &[Place::write, Place::write, Place::read, Place::read]);
}

#[test]
fn both_die() {
    run(
        Check::times(8_000),
        3,
        &[Place::write, Place::read, Place::read_twice, Place::read, Place::write],
    );
}

#[test]
fn some_do_not_wait_for_ever() {
    run(
        Check::times(6_000),
        2,
        &[Place::write_for_a_while, Place::read_for_a_while, Place::read_for_a_while, Place::write],
    );
}

/// One who reads already reads again, and goes on with that only.
#[test]
fn read_in_turn() {
    run(Check::times(4_000), 1, &[Place::read_in_turn, Place::write, Place::read_in_turn]);
}

/// One who reads already reads again, although a writer waits.
#[test]
fn read_again() {
    check(3_000, || {
        let place = Place::new();
        let reading = place.clone();
        let reading = spawn(move || reading.read_twice());
        let writing = place.clone();
        victim(150, move || writing.write());
        let writing = place.clone();
        spawn(move || writing.write());
        place.check_at_end();
        assert!(reading.join().is_some());
    });
}
