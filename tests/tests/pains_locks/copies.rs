//! Copies of a holder's process, which `fork` makes: they hold nothing, whatever they do, and hide no
//! death.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use offspring::sync::{Mutex, TryLockError, lock_all};
use offspring::{Sender, pipe, process};
use tests::each_start_method;

use super::deaths::{Death, Locks, inherit};

/// What a copy of this process comes to, that `libc::fork` makes.
fn in_a_copy(work: impl FnOnce()) {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            // SAFETY: _exit has no memory effects.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        copy => assert_eq!(
            waitpid(Pid::from_raw(copy), None),
            Ok(WaitStatus::Exited(Pid::from_raw(copy), 0))
        ),
    }
}

/// Whether all of them are still in the hands of somebody else.
#[process]
fn are_held(locks: Locks) -> bool {
    use TryLockError::WouldBlock;
    matches!(locks.mutex.try_lock(), Err(WouldBlock))
        && matches!(locks.reentrant.try_lock(), Err(WouldBlock))
        && matches!(locks.rwlock.try_read(), Err(WouldBlock))
        && matches!(locks.read.try_write(), Err(WouldBlock))
        && locks.several.iter().all(|mutex| matches!(mutex.try_lock(), Err(WouldBlock)))
        && locks.semaphore.try_acquire().is_err()
        && !locks.once.is_completed()
}

each_start_method! {
    /// What a copy of the holder does with its copies of the guards concerns nobody.
    fn a_copy_of_a_holder_does_not_hold() {
        let locks = Locks::new()?;
        let guards = (
            locks.mutex.lock().unwrap(),
            locks.slice.lock().unwrap(),
            locks.reentrant.lock().unwrap(),
            locks.rwlock.write().unwrap(),
            locks.read.read().unwrap(),
            lock_all(&locks.several).unwrap(),
            (locks.semaphore.acquire()?, locks.semaphore.acquire()?),
        );
        let held = || are_held(locks.clone()).spawn().unwrap().join().unwrap();
        assert!(held());
        let mut guards = Some(guards);
        in_a_copy(|| {}); // it just ends
        assert!(held());
        in_a_copy(|| drop(guards.take()));
        assert!(held());
        in_a_copy(|| {
            let (mutex, ..) = guards.take().unwrap();
            let _dropped_while_panicking = catch_unwind(AssertUnwindSafe(|| {
                let _mutex = mutex;
                resume_unwind(Box::new(()));
            }));
        });
        assert!(held() && !locks.mutex.is_poisoned());
        in_a_copy(|| {
            // It is somebody else, who has to wait like all others.
            assert!(matches!(locks.mutex.try_lock(), Err(TryLockError::WouldBlock)));
            assert!(matches!(locks.reentrant.try_lock(), Err(TryLockError::WouldBlock)));
            assert!(matches!(locks.rwlock.try_read(), Err(TryLockError::WouldBlock)));
            assert!(matches!(locks.read.try_write(), Err(TryLockError::WouldBlock)));
            assert!(locks.semaphore.try_acquire().is_err());
            // And has locks of its own.
            let own = Mutex::new(1).unwrap();
            let watcher = own.clone();
            in_a_copy_that_dies(|| {
                std::mem::forget(own.lock().unwrap());
            });
            assert!(watcher.lock().is_err());
        });
        assert!(held());
        drop(guards);
        assert!(!are_held(locks.clone()).spawn()?.join()?);
        assert!(locks.mutex.lock().is_ok() && locks.rwlock.write().is_ok());
        assert_eq!(locks.semaphore.available(), 2);
    }

    /// The other way round: the holder dies, and the copy lives.
    fn a_copy_of_a_holder_does_not_hide_its_death() {
        let locks = Locks::new()?;
        let (held, holds) = pipe()?;
        let child = hold_copy_and_die(locks.clone(), held).spawn()?;
        let copy = holds.recv()?;
        child.wait()?;
        inherit(&locks, &child);
        kill(Pid::from_raw(copy), Signal::SIGKILL)?;
        tests::await_end_of(copy as u32);
        assert!(locks.mutex.lock().is_ok());
    }
}

pub(crate) fn in_a_copy_that_dies(work: impl FnOnce()) {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            work();
            // SAFETY: this ends the process.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            unreachable!()
        }
        copy => {
            let died = WaitStatus::Signaled(Pid::from_raw(copy), Signal::SIGKILL, false);
            assert_eq!(waitpid(Pid::from_raw(copy), None), Ok(died));
        }
    }
}

#[process]
fn hold_copy_and_die(locks: Locks, held: Sender<i32>) {
    locks.hold(|| {
        // SAFETY: this process has one thread; the copy sleeps.
        match unsafe { libc::fork() } {
            0 => Death::Killed.die(),
            copy => {
                held.send(copy).unwrap();
                Death::ExitAtOnce.die();
            }
        }
    });
}
