//! A lock for readers and writers.

use std::collections::HashSet;
use std::thread;

use offspring::process;
use offspring::sync::{LockTimeoutError, RwLock, TryLockError};
use tests::each_start_method;
use tests::storm::{Job, Random, SURVIVOR, Storm, Survivor, kills};

use super::ledger::{Ledger, enter};
use super::moment;

pub(super) fn use_rwlock(lock: &RwLock<Ledger>, who: u64, random: &Random) {
    if random.one_in(3) {
        let taken = match random.below(4) {
            0 => taken!(lock.try_write(), TryLockError::WouldBlock),
            1 => taken!(lock.write_timeout(moment(random)), LockTimeoutError::Timeout { .. }),
            _ => taken!(lock.write()),
        };
        if let Some(taken) = taken {
            drop(enter(taken, who, || lock.clear_poison()));
        }
    } else {
        let taken = match random.below(4) {
            0 => taken!(lock.try_read(), TryLockError::WouldBlock),
            1 => taken!(lock.read_timeout(moment(random)), LockTimeoutError::Timeout { .. }),
            _ => taken!(lock.read()),
        };
        // What a writer has left who died is for the next writer.
        if let Some(Ok(guard)) = taken {
            guard.look();
            if random.one_in(8) {
                lock.read().inspect(|again| again.look()).ok();
            }
            guard.look();
        }
    }
}

#[process]
fn keep_reading_and_writing(job: Job, lock: RwLock<Ledger>) {
    let random = job.begin();
    loop {
        use_rwlock(&lock, job.serial, &random);
    }
}

each_start_method! {
    only [forkserver ForkServer]
    fn rwlock() {
        let lock = RwLock::new(Ledger::new())?;
        let (mut storm, mut told) = (Storm::new(), HashSet::new());
        thread::scope(|scope| {
            let survivor = Survivor::new(scope, |random| use_rwlock(&lock, SURVIVOR, random));
            let start = |job| keep_reading_and_writing(job, lock.clone()).spawn();
            storm.rage(kills(), 5, start, |storm| {
                survivor.goes_on();
                let taken = lock.write().map_err(|error| error.into_poisoned().unwrap());
                enter(taken, SURVIVOR, || lock.clear_poison()).audit(&mut told, storm);
            });
        });
        assert!(lock.read().is_ok() && lock.write().is_ok() && !lock.is_poisoned());
        assert!(storm.counted("died inside") > 0, "the storm missed");
    }
}
