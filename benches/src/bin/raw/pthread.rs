//! The process-shared locks of glibc.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::mem::{MaybeUninit, zeroed};

use nix::libc;

use crate::locks::{Barrier, Lock, Place, Semaphore};

fn succeeded(code: c_int) {
    assert_eq!(code, 0);
}

/// Fills in an attribute object and makes something with it.
macro_rules! with_attributes {
    ($attributes:ident: $type:ty, $init:ident, $($set:ident($value:expr)),* => $make:expr) => {{
        let mut place = MaybeUninit::<$type>::uninit();
        let $attributes = place.as_mut_ptr();
        succeeded(libc::$init($attributes));
        $(succeeded(libc::$set($attributes, $value));)*
        succeeded($make);
    }};
}

const SHARED: c_int = libc::PTHREAD_PROCESS_SHARED;

/// A mutex, robust or reentrant or both.
pub(crate) struct Mutex<const ROBUST: bool, const REENTRANT: bool>(
    UnsafeCell<libc::pthread_mutex_t>,
);

// SAFETY: that is what it is for.
unsafe impl<const ROBUST: bool, const REENTRANT: bool> Sync for Mutex<ROBUST, REENTRANT> {}

impl<const ROBUST: bool, const REENTRANT: bool> Place for Mutex<ROBUST, REENTRANT> {
    fn blank() -> Self {
        Self(libc::PTHREAD_MUTEX_INITIALIZER.into())
    }

    fn set_up(&self) {
        let robust = if ROBUST { libc::PTHREAD_MUTEX_ROBUST } else { libc::PTHREAD_MUTEX_STALLED };
        let kind =
            if REENTRANT { libc::PTHREAD_MUTEX_RECURSIVE } else { libc::PTHREAD_MUTEX_NORMAL };
        // SAFETY: it is where it will stay, and nobody uses it yet.
        unsafe {
            with_attributes!(attributes: libc::pthread_mutexattr_t, pthread_mutexattr_init,
                pthread_mutexattr_setpshared(SHARED), pthread_mutexattr_setrobust(robust),
                pthread_mutexattr_settype(kind)
                => libc::pthread_mutex_init(self.0.get(), attributes));
        }
    }
}

impl<const ROBUST: bool, const REENTRANT: bool> Lock for Mutex<ROBUST, REENTRANT> {
    fn lock(&self) {
        // SAFETY: it is set up.
        succeeded(unsafe { libc::pthread_mutex_lock(self.0.get()) });
    }

    fn unlock(&self) {
        // SAFETY: it is set up, and locked by this thread.
        succeeded(unsafe { libc::pthread_mutex_unlock(self.0.get()) });
    }
}

/// A lock for readers and writers, as a reader takes it.
pub(crate) struct ReadLock(UnsafeCell<libc::pthread_rwlock_t>);

// SAFETY: that is what it is for.
unsafe impl Sync for ReadLock {}

impl Place for ReadLock {
    fn blank() -> Self {
        Self(libc::PTHREAD_RWLOCK_INITIALIZER.into())
    }

    fn set_up(&self) {
        // SAFETY: it is where it will stay, and nobody uses it yet.
        unsafe {
            with_attributes!(attributes: libc::pthread_rwlockattr_t, pthread_rwlockattr_init,
                pthread_rwlockattr_setpshared(SHARED)
                => libc::pthread_rwlock_init(self.0.get(), attributes));
        }
    }
}

impl Lock for ReadLock {
    fn lock(&self) {
        // SAFETY: it is set up.
        succeeded(unsafe { libc::pthread_rwlock_rdlock(self.0.get()) });
    }

    fn unlock(&self) {
        // SAFETY: it is set up, and this thread reads.
        succeeded(unsafe { libc::pthread_rwlock_unlock(self.0.get()) });
    }
}

/// A mutex, a condition variable, and whether something was asked that is not answered.
pub(crate) struct Monitor<const ROBUST: bool> {
    mutex: Mutex<ROBUST, false>,
    condvar: UnsafeCell<libc::pthread_cond_t>,
    asked: UnsafeCell<bool>,
}

// SAFETY: only who has the mutex looks at `asked`.
unsafe impl<const ROBUST: bool> Sync for Monitor<ROBUST> {}

impl<const ROBUST: bool> Place for Monitor<ROBUST> {
    fn blank() -> Self {
        let condvar = libc::PTHREAD_COND_INITIALIZER.into();
        Self { mutex: Mutex::blank(), condvar, asked: false.into() }
    }

    fn set_up(&self) {
        self.mutex.set_up();
        // SAFETY: it is where it will stay, and nobody uses it yet.
        unsafe {
            with_attributes!(attributes: libc::pthread_condattr_t, pthread_condattr_init,
                pthread_condattr_setpshared(SHARED)
                => libc::pthread_cond_init(self.condvar.get(), attributes));
        }
    }
}

impl<const ROBUST: bool> Monitor<ROBUST> {
    /// Asks, and waits for the answer.
    pub(crate) fn ask(&self) {
        self.mutex.lock();
        self.change_to(true);
        self.wait_until(false);
        self.mutex.unlock();
    }

    /// Waits until something is asked, and answers.
    pub(crate) fn answer(&self) {
        self.mutex.lock();
        self.wait_until(true);
        self.change_to(false);
        self.mutex.unlock();
    }

    fn change_to(&self, asked: bool) {
        // SAFETY: this thread has the mutex, and the condition variable is set up.
        unsafe {
            *self.asked.get() = asked;
            succeeded(libc::pthread_cond_signal(self.condvar.get()));
        }
    }

    fn wait_until(&self, asked: bool) {
        // SAFETY: this thread has the mutex, and the condition variable is set up.
        unsafe {
            while *self.asked.get() != asked {
                succeeded(libc::pthread_cond_wait(self.condvar.get(), self.mutex.0.get()));
            }
        }
    }
}

/// `sem_t`
pub(crate) struct PosixSemaphore(UnsafeCell<libc::sem_t>);

// SAFETY: that is what it is for.
unsafe impl Sync for PosixSemaphore {}

impl Place for PosixSemaphore {
    fn blank() -> Self {
        // SAFETY: plain bytes.
        Self(unsafe { zeroed() })
    }
}

impl Semaphore for PosixSemaphore {
    fn set_to(&self, permits: u32) {
        // SAFETY: it is where it will stay, and nobody uses it yet.
        succeeded(unsafe { libc::sem_init(self.0.get(), 1, permits) });
    }

    fn acquire(&self) {
        // SAFETY: it is set up.
        succeeded(unsafe { libc::sem_wait(self.0.get()) });
    }

    fn release(&self) {
        // SAFETY: it is set up.
        succeeded(unsafe { libc::sem_post(self.0.get()) });
    }
}

/// `pthread_barrier_t`
pub(crate) struct PthreadBarrier(UnsafeCell<libc::pthread_barrier_t>);

// SAFETY: that is what it is for.
unsafe impl Sync for PthreadBarrier {}

impl Place for PthreadBarrier {
    fn blank() -> Self {
        // SAFETY: plain bytes.
        Self(unsafe { zeroed() })
    }
}

impl Barrier for PthreadBarrier {
    fn set_for(&self, parties: u32) {
        // SAFETY: it is where it will stay, and nobody uses it yet.
        unsafe {
            with_attributes!(attributes: libc::pthread_barrierattr_t, pthread_barrierattr_init,
                pthread_barrierattr_setpshared(SHARED)
                => libc::pthread_barrier_init(self.0.get(), attributes, parties));
        }
    }

    fn wait(&self) {
        // SAFETY: it is set up.
        let code = unsafe { libc::pthread_barrier_wait(self.0.get()) };
        assert!(code == 0 || code == libc::PTHREAD_BARRIER_SERIAL_THREAD);
    }
}
