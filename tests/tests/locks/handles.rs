//! Handles: they cross by pipes, the last takes the lock with it, and a copy of the process that
//! holds a lock does not hold it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;

use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{self, ForkResult};
use offspring::sync::{Mutex, ReentrantLock};
use offspring::{Receiver, pipe, process};
use tests::{Holdings, each_start_method};

use super::{Lock, Outcome, SHORT, take};

#[process]
fn add(values: Mutex<[u16]>, handles: Receiver<Mutex<[u16]>>) -> usize {
    let sent = handles.recv().unwrap();
    let mut both = (values.lock().unwrap(), sent.lock().unwrap());
    both.0.iter_mut().zip(both.1.iter()).for_each(|(value, other)| *value += other);
    both.0.len()
}

each_start_method! {
    fn slices_are_shared_and_handles_cross_by_pipes() {
        let counted = Mutex::from_fn(1000, |index| index as u16)?;
        let copied = Mutex::from_slice(&[1000; 1000])?;
        let (to, from) = pipe()?;
        to.send(copied)?;
        assert_eq!(add(counted.clone(), from).spawn()?.join()?, 1000);
        assert!(counted.lock().unwrap().iter().copied().eq(1000..2000));
        let empty = Mutex::<[u16]>::from_slice(&[])?;
        assert!(empty.lock().unwrap().is_empty());
        assert_eq!(*Mutex::<[f64]>::zeroed(3)?.lock().unwrap(), [0.0; 3]);
        let cells = ReentrantLock::from_fn(3, Cell::new)?;
        assert!(cells.lock().unwrap().iter().map(Cell::get).eq(0..3));
    }

    fn the_last_handle_takes_the_lock_with_it() {
        let take = |kind: usize| -> Outcome {
            let [mutex, reentrant, write] = Lock::one_of_each()?;
            let lock = [mutex, reentrant, write].into_iter().nth(kind % 3).unwrap();
            let (about_to, _waiting) = pipe()?;
            assert_eq!(take(lock.clone(), about_to).spawn()?.join()?, Ok(1));
            assert_eq!(lock.clone().lock(), Ok(1));
            Ok(())
        };
        take(0)?; // whatever is made on first use
        let before = Holdings::now();
        (0..6).try_for_each(take)?;
        let after = Holdings::now();
        assert_eq!(
            (after.descriptors, after.mappings, after.threads),
            (before.descriptors, before.mappings, before.threads)
        );
    }

    /// A process that was copied by other means than ours does not have what its original holds.
    fn a_copy_of_the_holders_process_does_not_hold_it() {
        let original = std::process::id();
        let locks = Lock::one_of_each()?;
        for (lock, panics) in locks.iter().flat_map(|lock| [(lock, false), (lock, true)]) {
            let copy_and_give_back = || {
                lock.hold(false, |value| {
                    // SAFETY: this process has one thread.
                    match unsafe { unistd::fork() }.unwrap() {
                        ForkResult::Child => {
                            value.store(5, Ordering::Relaxed);
                            if lock.try_lock().is_ok() || lock.lock_timeout(SHORT).is_ok() {
                                // SAFETY: it ends at once, without what belongs to the original.
                                unsafe { libc::_exit(1) };
                            }
                            if panics {
                                resume_unwind(Box::new("on purpose"));
                            }
                        }
                        ForkResult::Parent { child } => {
                            let ended = waitpid(child, None).unwrap();
                            assert_eq!(ended, WaitStatus::Exited(child, 0));
                            assert!(lock.try_lock().is_err() || matches!(lock, Lock::Reentrant(_)));
                        }
                    }
                });
            };
            let unwound = catch_unwind(AssertUnwindSafe(copy_and_give_back)).is_err();
            // The copy has dropped its guard by now; it gets no further than the original lets it.
            if std::process::id() != original {
                let wrong = unwound != panics || lock.try_lock().is_ok();
                // SAFETY: as above.
                unsafe { libc::_exit(i32::from(wrong)) };
            }
            assert!(!unwound);
            assert_eq!((lock.lock(), lock.is_poisoned()), (Ok(5), false));
        }
    }
}
