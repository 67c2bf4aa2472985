//! Finding circles.

use crate::kernel::{check, deaths, settle, spawn, victim};
use crate::sync::{DeadlockDetector, LockError, Mutex};

/// Three threads each hold one of three locks and want the next: one is told, and none waits for
/// ever, whoever is killed.
#[test]
fn a_circle_is_told() {
    check(800, || {
        let detector = DeadlockDetector::new().unwrap();
        let locks = [(); 3].map(|()| Mutex::new(0u32).unwrap().detect_deadlocks(&detector));
        let start = |index: usize| {
            let locks = locks.clone();
            let work = move || {
                let first = locks[index].lock();
                if let Err(LockError::Deadlock(_)) = first {
                    panic!("it holds nothing yet");
                }
                match locks[(index + 1) % 3].lock() {
                    Err(LockError::Deadlock(deadlock)) => deadlock.members().count(),
                    _ => 0,
                }
            };
            if index == 0 { victim(1_500, work) } else { spawn(work) }
        };
        let all = [0, 1, 2].map(start);
        assert_eq!(settle(), 0);
        for process in all {
            match process.join() {
                Some(count) => assert!(count == 0 || count == 3, "a circle of {count}"),
                None => assert!(!deaths().is_empty()),
            }
        }
    });
}
