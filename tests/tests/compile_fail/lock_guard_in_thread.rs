use std::thread::scope;

use offspring::sync::{Mutex, ReentrantLock, RwLock, Semaphore, lock_all};

// What is locked by a thread is that thread's to unlock.

fn guard(mutex: &Mutex<u32>) {
    let guard = mutex.lock().unwrap();
    scope(|scope| drop(scope.spawn(move || drop(guard))));
}

fn guards(mutexes: &[Mutex<u32>]) {
    let guards = lock_all(mutexes).unwrap();
    scope(|scope| drop(scope.spawn(move || drop(guards))));
}

fn read_guard(lock: &RwLock<u32>) {
    let guard = lock.read().unwrap();
    scope(|scope| drop(scope.spawn(move || drop(guard))));
}

fn write_guard(lock: &RwLock<u32>) {
    let guard = lock.write().unwrap();
    scope(|scope| drop(scope.spawn(move || drop(guard))));
}

fn reentrant_guard(lock: &ReentrantLock<u32>) {
    let guard = lock.lock().unwrap();
    scope(|scope| drop(scope.spawn(move || drop(guard))));
}

fn permit(semaphore: &Semaphore) {
    let permit = semaphore.acquire().unwrap();
    scope(|scope| drop(scope.spawn(move || drop(permit))));
}

fn main() {}
