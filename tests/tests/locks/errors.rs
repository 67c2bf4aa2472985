//! Errors as values: what they give, what they say, and to whom they are told.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::Duration;

use nix::unistd::gettid;
use offspring::sync::{
    LockError, LockTimeoutError, Mutex, PoisonCause, ReentrantLock, RwLock, TryLockError,
};
use offspring::{Builder, current, process};
use tests::each_start_method;

use super::LONG;

/// `PoisonError` as a value: what it gives, and what it gives back.
#[test]
fn a_poison_error_has_the_guard_inside() {
    let made = line!() + 1;
    let mutex = Mutex::new(1).unwrap();
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _held = mutex.lock();
        resume_unwind(Box::new("on purpose"));
    }));
    let error = mutex.lock().unwrap_err();
    assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock))); // it is held
    let LockError::Poisoned(mut poisoned) = error else { panic!("{error}") };
    assert_eq!(**poisoned.get_ref(), 1);
    **poisoned.get_mut() += 1;
    assert_eq!(poisoned.holder().process(), "main");
    assert_eq!(poisoned.holder().pid(), std::process::id());
    assert_eq!(poisoned.holder().tid(), gettid().as_raw().cast_unsigned());
    assert_eq!(poisoned.cause(), PoisonCause::Panicked);
    let made_at = format!("made at {}:{made}:", file!());
    assert!(poisoned.lock_name().starts_with("Mutex ") && poisoned.lock_name().contains(&made_at));
    let shown = format!("{poisoned:?}");
    assert!(shown.contains("Panicked") && shown.contains("\"main\""), "{shown}");
    drop(poisoned.into_inner());

    let error = mutex.try_lock().unwrap_err();
    assert!(format!("{error:?}").contains("poisoned: process 'main'"), "{error:?}");
    assert_eq!(*error.into_inner(), 2);
    assert_eq!(*mutex.lock_timeout(LONG).unwrap_err().into_inner(), 2);

    // Without the guard, it can go elsewhere, and the mutex is free.
    let error = mutex.lock().map(drop).map_err(LockError::without_guard).unwrap_err();
    assert!(matches!(mutex.try_lock(), Err(TryLockError::Poisoned(_))));
    let text = thread::spawn(move || error.to_string()).join().unwrap();
    assert!(text.contains(&made_at), "{text}");

    // From within, while the guard is held.
    let guard = mutex.lock().unwrap_err().into_inner();
    mutex.clear_poison();
    drop(guard);
    assert_eq!(*mutex.lock().unwrap(), 2);
}

each_start_method! {
    only [spawn Spawn]
    /// What was not taken has no guard to give.
    fn an_error_without_a_guard_panics_with_its_text_when_asked_for_one() {
        let mutex = Mutex::new(()).unwrap();
        let _held = mutex.lock().unwrap();
        let text = |panic: Box<dyn std::any::Any + Send>| *panic.downcast::<String>().unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| drop(mutex.lock().unwrap_err().into_inner())));
        assert!(text(panic.unwrap_err()).contains("deadlock"));
        let panic =
            catch_unwind(AssertUnwindSafe(|| drop(mutex.try_lock().unwrap_err().into_inner())));
        assert!(text(panic.unwrap_err()).contains("somebody holds the lock"));
        assert!(mutex.lock().unwrap_err().into_poisoned().is_none());
    }

    only [spawn Spawn]
    /// What a thread is told that waits for itself, with its own line numbers.
    fn a_second_lock_by_the_same_thread_is_a_deadlock_at_once() {
        let made = line!() + 1;
        let mutex = Mutex::new(()).unwrap();
        let taken = line!() + 1;
        let _held = mutex.lock().unwrap();
        let wanted = line!() + 1;
        let deadlock = match mutex.lock() {
            Err(LockError::Deadlock(deadlock)) => deadlock,
            other => panic!("{other:?}"),
        };
        let text = deadlock.to_string();
        for line in [made, taken, wanted] {
            assert!(text.contains(&format!("{}:{line}:", file!())), "{text}");
        }
        assert!(text.contains(&format!("process '{}' (pid {})", current().name(), std::process::id())), "{text}");
        let circle: Vec<_> = deadlock.members().map(|member| (member.pid(), member.tid())).collect();
        assert_eq!(circle, [(std::process::id(), gettid().as_raw().cast_unsigned())]);

        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
        assert!(matches!(mutex.lock_timeout(LONG), Err(LockTimeoutError::Deadlock(_))));
        assert!(matches!(mutex.lock_timeout(Duration::MAX), Err(LockTimeoutError::Deadlock(_))));
        assert!(matches!(mutex.clone().lock(), Err(LockError::Deadlock(_)))); // another handle
    }

    only [spawn Spawn]
    /// More guards than the kernel keeps track of: the thread is told, and goes on.
    fn the_two_thousand_and_first_lock_of_a_thread_is_refused() {
        let shared = RwLock::new(()).unwrap();
        let mut guards: Vec<_> = (0..2000).map(|_| shared.read().unwrap()).collect();
        let (mutex, reentrant) = (Mutex::new(()).unwrap(), ReentrantLock::new(()).unwrap());
        let error = mutex.lock().unwrap_err();
        assert!(matches!(error, LockError::TooMany), "{error}");
        assert!(error.to_string().contains("2,000"), "{error}");
        assert!(matches!(mutex.try_lock(), Err(TryLockError::TooMany)));
        assert!(matches!(mutex.lock_timeout(LONG), Err(LockTimeoutError::TooMany)));
        assert!(matches!(reentrant.lock(), Err(LockError::TooMany)));
        assert!(matches!(shared.read(), Err(LockError::TooMany)));
        thread::scope(|scope| scope.spawn(|| drop(mutex.lock().unwrap())).join().unwrap());
        guards.pop();
        drop(mutex.lock().unwrap());
        assert!(!mutex.is_poisoned());
    }
}

/// As `Poison` tells: names that are too long are cut, between characters.
#[process]
fn lose_under_a_long_name(mutex: Mutex<()>, thread: String) {
    let lose = move || mem::forget(mutex.lock().unwrap());
    thread::Builder::new().name(thread).spawn(lose).unwrap().join().unwrap();
}

each_start_method! {
    fn long_names_of_holders_are_cut_off() {
        let process = "a process of some importance, with a name of its own";
        for (thread, expected) in
            [("main", "main"), ("a thread of importance", "a thread of imp")]
        {
            let mutex = Mutex::new(())?;
            let work = lose_under_a_long_name(mutex.clone(), thread.into());
            Builder::new().name(process).spawn(work)?.join()?;
            let error = mutex.lock().unwrap_err().into_poisoned().ok_or("it is free")?;
            assert_eq!(error.holder().process(), &process[..32]);
            assert_eq!(error.holder().thread(), expected);
            assert_ne!(error.holder().pid(), error.holder().tid());
        }
        let mutex = Mutex::new(())?;
        let work = lose_under_a_long_name(mutex.clone(), "x".into());
        let umlauts = format!("umlauts: {}", "äöü".repeat(7));
        Builder::new().name(umlauts).spawn(work)?.join()?;
        let error = mutex.lock().unwrap_err().into_poisoned().ok_or("it is free")?;
        assert_eq!(error.holder().process(), "umlauts: äöüäöüäöüäö");
    }
}
