//! As many permits and readers as the kernel keeps track of: the next is refused, whatever it is,
//! and when their holder is killed all of them come back.

use std::thread;

use offspring::sync::{
    AcquireError, Barrier, BarrierError, LockAllError, LockError, LockTimeoutError, OnceError,
    RwLock, Semaphore, TryAcquireError, TryLockError, lock_all,
};
use offspring::{Sender, pipe, process};
use tests::each_start_method;

use super::deaths::{Death, LONG, Locks};

/// How many locks a thread can hold.
const MOST: usize = 2000;

#[process]
fn hold_permits(semaphore: Semaphore, held: Sender<()>) {
    let permits: Vec<_> = (0..MOST).map(|_| semaphore.acquire().unwrap()).collect();
    // No more of whatever kind; and nothing hangs, or is lost.
    let locks = Locks::new().unwrap();
    for _ in 0..3 {
        assert!(matches!(semaphore.acquire(), Err(AcquireError::TooMany)));
        assert!(matches!(semaphore.try_acquire(), Err(TryAcquireError::TooMany)));
        assert!(matches!(locks.mutex.lock(), Err(LockError::TooMany)));
        assert!(matches!(locks.mutex.try_lock(), Err(TryLockError::TooMany)));
        assert!(matches!(locks.mutex.lock_timeout(LONG), Err(LockTimeoutError::TooMany)));
        assert!(matches!(locks.reentrant.lock(), Err(LockError::TooMany)));
        assert!(matches!(locks.rwlock.read(), Err(LockError::TooMany)));
        assert!(matches!(locks.rwlock.write(), Err(LockError::TooMany)));
        assert!(matches!(lock_all(&locks.several), Err(LockAllError::TooMany)));
        assert!(matches!(locks.once.call_once(|| {}), Err(OnceError::TooMany)));
        assert_eq!(Barrier::new(2).unwrap().wait(), Err(BarrierError::TooMany));
        let text = locks.mutex.lock().unwrap_err().to_string();
        assert!(text.contains("2,000"), "{text}");
    }
    // Another thread has a list of its own.
    thread::scope(|scope| scope.spawn(|| drop(locks.mutex.lock().unwrap())).join().unwrap());
    held.send(()).unwrap();
    Death::Killed.die();
    drop(permits);
}

#[process]
fn read_often(lock: RwLock<u32>, held: Sender<()>) {
    let guards: Vec<_> = (0..MOST).map(|_| lock.read().unwrap()).collect();
    assert!(matches!(lock.read(), Err(LockError::TooMany)));
    held.send(()).unwrap();
    Death::Killed.die();
    drop(guards);
}

each_start_method! {
    only [forkserver ForkServer]
    fn two_thousand_permits_and_readers_of_the_dead_come_back() {
        let semaphore = Semaphore::bounded(MOST + 1)?;
        let lock = RwLock::new(0)?;
        let (held, holds) = pipe()?;
        let holder = hold_permits(semaphore.clone(), held.clone()).spawn()?;
        let reader = read_often(lock.clone(), held).spawn()?;
        holds.recv()?;
        holds.recv()?;
        assert_eq!(semaphore.available(), 1);
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        holder.kill()?;
        reader.kill()?;
        assert!(lock.write_timeout(LONG).is_ok());
        holder.wait()?;
        assert_eq!(semaphore.available(), MOST + 1);
    }
}
