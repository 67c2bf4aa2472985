//! The guards of a [`RwLock`].

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;
use std::thread;

use super::errors::PoisonError;
use super::kernel::Thread;
use super::rwlock::RwLock;
use super::rwlock_state::MORE;
use super::slots::{Occupancy, Slot};

/// Access to what a [`RwLock`] protects, together with other readers; dropping it ends that.
///
/// It belongs to the thread that reads, so it cannot be moved to another.
#[must_use = "reading ends at once if the guard is not kept"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    slot: &'a Slot,
    of_thread: PhantomData<*const ()>,
}

/// Access to what a [`RwLock`] protects, alone; dropping it lets the others in.
///
/// It belongs to the thread that writes, so it cannot be moved to another.
#[must_use = "writing ends at once if the guard is not kept"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    panicking: bool,
    of_thread: PhantomData<*const ()>,
}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// Of a thread that has begun to read with this slot.
    #[inline(always)]
    pub(super) fn new(lock: &'a RwLock<T>, slot: &'a Slot) -> Result<Self, PoisonError<Self>> {
        let guard = Self { lock, slot, of_thread: PhantomData };
        match lock.object.state().writer.poisoned(lock.subject()) {
            None => Ok(guard),
            Some(how) => Err(PoisonError::new(guard, how)),
        }
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Of the thread that has begun to write.
    #[inline(always)]
    pub(super) fn new(lock: &'a RwLock<T>) -> Result<Self, PoisonError<Self>> {
        let guard = Self { lock, panicking: thread::panicking(), of_thread: PhantomData };
        match lock.object.state().writer.poisoned(lock.subject()) {
            None => Ok(guard),
            Some(how) => Err(PoisonError::new(guard, how)),
        }
    }
}

// SAFETY: a shared guard gives out `&T` and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(detector) = &self.lock.detector {
            detector.released(self.lock.object.segment(), true);
        }
        match self.slot.note[MORE].load(Ordering::Relaxed) {
            0 => {
                self.slot.give_back();
            }
            more if self.slot.occupancy() == Occupancy::Taken(Thread::current().tid()) => {
                self.slot.note[MORE].store(more - 1, Ordering::Relaxed);
            }
            _ => {} // in a copy of the reader's process
        }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(detector) = &self.lock.detector {
            detector.released(self.lock.object.segment(), false);
        }
        self.lock.give_word_back(self.panicking);
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value was written when the lock was made, any mixture of bytes that a killed
        // writer has left is one, and no writer gets past this thread's slot.
        unsafe { self.lock.object.content().as_ref() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: as above, and there is neither another writer nor a reader.
        unsafe { self.lock.object.content().as_ref() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed for changes.
        unsafe { self.lock.object.content().as_mut() }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
