//! Locks: Python's `_TestLock`, and what becomes of a lock whose holder comes to grief.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fs, mem};

use nix::libc;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{self, ForkResult, gettid};
use offspring::sync::{
    Barrier, Condvar, DeadlockDetector, Event, LockError, LockTimeoutError, Mutex, Once,
    PoisonCause, ReentrantLock, RwLock, Semaphore, TryLockError, lock_all,
};
use offspring::{Builder, Child, Process, Receiver, Sender, pipe, process};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tests::family::until;
use tests::{Holdings, each_start_method};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(50);

type Outcome = Result<(), Box<dyn Error>>;

/// Starts a child that ends with the case, should that fail.
fn daemon<P: Process>(work: P) -> offspring::Result<Child<P::Output>> {
    Builder::new().daemon(true).spawn(work)
}

/// Who does the work of a case, beside the case itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Children,
    Threads,
}

enum Worker<T> {
    Child(Child<T>),
    Thread(JoinHandle<T>),
}

impl By {
    fn start<P: Process<Output: Send> + Send + 'static>(self, work: P) -> Worker<P::Output> {
        self.start_as("worker", work)
    }

    fn start_as<P>(self, name: &str, work: P) -> Worker<P::Output>
    where
        P: Process<Output: Send> + Send + 'static,
    {
        match self {
            Self::Children => {
                Worker::Child(Builder::new().name(name).daemon(true).spawn(work).unwrap())
            }
            Self::Threads => {
                let thread = thread::Builder::new().name(name.into());
                Worker::Thread(thread.spawn(|| work.run()).unwrap())
            }
        }
    }
}

impl<T: DeserializeOwned + 'static> Worker<T> {
    fn join(self) -> T {
        match self {
            Self::Child(child) => child.join().unwrap(),
            Self::Thread(thread) => thread.join().unwrap(),
        }
    }

    /// For one that need not end well.
    fn bury(self) {
        match self {
            Self::Child(child) => drop(child.wait().unwrap()),
            Self::Thread(thread) => drop(thread.join()),
        }
    }
}

/// Goes on when a thread, of whatever process, sleeps until a word changes: so all locks wait.
fn until_asleep(tid: i32) {
    until(|| {
        let call = fs::read_to_string(format!("/proc/{tid}/syscall")).unwrap_or_default();
        let number = call.split(' ').next().and_then(|number| number.parse().ok());
        matches!(number, Some(libc::SYS_futex | libc::SYS_futex_waitv))
    });
}

/// Does something to the value of a lock of any kind, without a guard in sight.
macro_rules! outcome {
    ($taken:expr) => {
        match $taken {
            Ok(value) => Ok(value.load(Ordering::Relaxed)),
            Err(error) => {
                let text = error.to_string();
                Err(Refusal {
                    text,
                    poison: error.into_poisoned().map(|poisoned| Poison {
                        process: poisoned.holder().process().into(),
                        pid: poisoned.holder().pid(),
                        thread: poisoned.holder().thread().into(),
                        tid: poisoned.holder().tid(),
                        panicked: match poisoned.cause() {
                            PoisonCause::Panicked => true,
                            PoisonCause::Died => false,
                            other => panic!("{other:?}"),
                        },
                        value: poisoned.into_inner().load(Ordering::Relaxed),
                    }),
                })
            }
        }
    };
}

/// Why a lock was not had, or was not sound.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Refusal {
    text: String,
    poison: Option<Poison>,
}

/// What a poisoned lock tells, and the value behind it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Poison {
    process: String,
    pid: u32,
    thread: String,
    tid: u32,
    panicked: bool,
    value: u32,
}

/// A lock that one thread at a time can have.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Lock {
    Mutex(Mutex<AtomicU32>),
    Reentrant(ReentrantLock<AtomicU32>),
    Write(RwLock<AtomicU32>),
}

impl Lock {
    fn one_of_each() -> offspring::Result<[Self; 3]> {
        Ok([
            Self::Mutex(Mutex::new(AtomicU32::new(1))?),
            Self::Reentrant(ReentrantLock::new(AtomicU32::new(1))?),
            Self::Write(RwLock::new(AtomicU32::new(1))?),
        ])
    }

    /// The value, by `lock` or `write`.
    fn lock(&self) -> Result<u32, Refusal> {
        match self {
            Self::Mutex(lock) => outcome!(lock.lock()),
            Self::Reentrant(lock) => outcome!(lock.lock()),
            Self::Write(lock) => outcome!(lock.write()),
        }
    }

    /// The value, by `try_lock` or `try_write`.
    fn try_lock(&self) -> Result<u32, Refusal> {
        match self {
            Self::Mutex(lock) => outcome!(lock.try_lock()),
            Self::Reentrant(lock) => outcome!(lock.try_lock()),
            Self::Write(lock) => outcome!(lock.try_write()),
        }
    }

    /// The value, by `lock_timeout` or `write_timeout`.
    fn lock_timeout(&self, timeout: Duration) -> Result<u32, Refusal> {
        match self {
            Self::Mutex(lock) => outcome!(lock.lock_timeout(timeout)),
            Self::Reentrant(lock) => outcome!(lock.lock_timeout(timeout)),
            Self::Write(lock) => outcome!(lock.write_timeout(timeout)),
        }
    }

    /// Does something with the lock held; then leaks the guard, if it comes to that.
    fn hold(&self, leak: bool, work: impl FnOnce(&AtomicU32)) {
        macro_rules! hold {
            ($guard:expr) => {{
                let guard = $guard.unwrap_or_else(|error| error.into_inner());
                work(&guard);
                if leak {
                    mem::forget(guard);
                }
            }};
        }
        match self {
            Self::Mutex(lock) => hold!(lock.lock()),
            Self::Reentrant(lock) => hold!(lock.lock()),
            Self::Write(lock) => hold!(lock.write()),
        }
    }

    fn is_poisoned(&self) -> bool {
        match self {
            Self::Mutex(lock) => lock.is_poisoned(),
            Self::Reentrant(lock) => lock.is_poisoned(),
            Self::Write(lock) => lock.is_poisoned(),
        }
    }

    fn clear_poison(&self) {
        match self {
            Self::Mutex(lock) => lock.clear_poison(),
            Self::Reentrant(lock) => lock.clear_poison(),
            Self::Write(lock) => lock.clear_poison(),
        }
    }
}

/// Holds the lock until the case lets go of it.
#[process]
fn hold(lock: Lock, held: Sender<i32>, until: Receiver<()>) {
    lock.hold(false, |_| {
        held.send(gettid().as_raw()).unwrap();
        let _ = until.recv();
    });
}

/// Says who it is, and takes the lock.
#[process]
fn take(lock: Lock, about_to: Sender<i32>) -> Result<u32, Refusal> {
    about_to.send(gettid().as_raw()).unwrap();
    lock.lock()
}

fn test_lock(by: By) -> Outcome {
    for lock in Lock::one_of_each()? {
        let (held, is_held) = pipe()?;
        let (release, until) = pipe()?;
        let holder = by.start(hold(lock.clone(), held, until));
        is_held.recv()?;
        assert!(lock.try_lock().unwrap_err().text.contains("somebody holds the lock"));
        drop(release);
        holder.join();
        assert_eq!(lock.try_lock(), Ok(1));
        assert_eq!(lock.lock(), Ok(1));
    }
    Ok(())
}

fn test_lock_waits(by: By) -> Outcome {
    for lock in Lock::one_of_each()? {
        let (about_to, waiting) = pipe()?;
        let mut waiters = Vec::new();
        lock.hold(false, |value| {
            for _ in 0..3 {
                waiters.push(by.start(take(lock.clone(), about_to.clone())));
                until_asleep(waiting.recv().unwrap());
            }
            value.store(2, Ordering::Relaxed);
        });
        for waiter in waiters {
            assert_eq!(waiter.join(), Ok(2));
        }
    }
    Ok(())
}

fn test_lock_timeout(by: By) -> Outcome {
    for lock in Lock::one_of_each()? {
        let (held, is_held) = pipe()?;
        let (release, until) = pipe()?;
        let holder = by.start(hold(lock.clone(), held, until));
        let (process, pid) = match &holder {
            Worker::Child(child) => ("worker", child.pid()),
            Worker::Thread(_) => ("case", std::process::id()),
        };
        is_held.recv()?;
        for timeout in [Duration::ZERO, SHORT] {
            let before = Instant::now();
            let refusal = lock.lock_timeout(timeout).unwrap_err();
            assert!(before.elapsed() >= timeout);
            assert!(refusal.text.contains("the whole time"), "{refusal:?}");
            // Who held it in the end; who does not wait does not look.
            let named = refusal.text.contains(&format!("by process '{process}' (pid {pid})"));
            assert_eq!(named, !timeout.is_zero(), "{refusal:?}");
        }
        drop(release);
        assert_eq!(lock.lock_timeout(Duration::MAX), Ok(1));
        holder.join();
        assert_eq!(lock.lock_timeout(Duration::ZERO), Ok(1));
    }
    Ok(())
}

#[process]
fn count(mutex: Mutex<u64>, reentrant: ReentrantLock<Cell<u64>>, times: u32) {
    for _ in 0..times {
        *mutex.lock().unwrap() += 1;
        let held = reentrant.lock().unwrap();
        held.set(held.get() + 1);
    }
}

fn test_lock_counts(by: By) -> Outcome {
    let (mutex, reentrant) = (Mutex::new(0)?, ReentrantLock::new(Cell::new(0))?);
    let counters: Vec<_> =
        (0..4).map(|_| by.start(count(mutex.clone(), reentrant.clone(), 2000))).collect();
    counters.into_iter().for_each(Worker::join);
    assert_eq!((*mutex.lock().unwrap(), reentrant.lock().unwrap().get()), (8000, 8000));
    Ok(())
}

#[process]
fn try_reentrant(lock: ReentrantLock<()>) -> bool {
    lock.try_lock().is_ok()
}

fn test_rlock(by: By) -> Outcome {
    let lock = ReentrantLock::new(())?;
    let others_can = || by.start(try_reentrant(lock.clone())).join();
    let (first, second, third) =
        (lock.lock().unwrap(), lock.try_lock().unwrap(), lock.lock_timeout(LONG).unwrap());
    assert!(!others_can());
    for guard in [second, first] {
        drop(guard); // in whatever order
        assert!(!others_can());
    }
    drop(third);
    assert!(others_can());
    Ok(())
}

fn test_repr_lock(by: By) -> Outcome {
    let made = line!() + 1;
    for lock in Lock::one_of_each()? {
        let free = format!("{lock:?}");
        assert!(free.contains("data: 1") && free.contains("poisoned: false"), "{free}");
        assert!(free.contains(file!()), "{free} {made}");

        let (held, is_held) = pipe()?;
        let (release, until) = pipe()?;
        let holder = by.start_as("an owner", hold(lock.clone(), held, until));
        let tid = is_held.recv()?;
        let shown = format!("{lock:?}");
        let expected = match &holder {
            Worker::Child(child) => format!(
                "process: \"an owner\", pid: {pid}, thread: \"main\", tid: {pid}",
                pid = child.pid()
            ),
            Worker::Thread(_) => format!(
                "process: \"case\", pid: {}, thread: \"an owner\", tid: {tid}",
                std::process::id()
            ),
        };
        assert!(shown.contains(&expected), "{shown} has not {expected}");
        assert!(!shown.contains("data"), "{shown}");
        drop(release);
        holder.join();
    }
    Ok(())
}

each_start_method! {
    /// `test_lock`, `test_lock_locked_2processes`, `test_rlock_locked_2processes`. There is no
    /// releasing of what one does not hold.
    fn test_lock_is_one_holders_at_a_time() {
        test_lock(By::Children)?;
    }

    only [spawn Spawn]
    fn test_lock_is_one_threads_at_a_time() {
        test_lock(By::Threads)?;
    }

    /// `test_lock`: who waits is let in.
    fn test_lock_waits_for_other_processes() {
        test_lock_waits(By::Children)?;
    }

    only [spawn Spawn]
    fn test_lock_waits_for_other_threads() {
        test_lock_waits(By::Threads)?;
    }

    /// `test_lock`, with a timeout.
    fn test_lock_timeout_is_no_shorter_than_it_is_told() {
        test_lock_timeout(By::Children)?;
    }

    only [spawn Spawn]
    fn test_lock_timeout_between_threads() {
        test_lock_timeout(By::Threads)?;
    }

    /// `test_lock_context`, `test_rlock_context`: a scope, with changes that exclude each other.
    fn test_lock_context_of_processes_that_count() {
        test_lock_counts(By::Children)?;
    }

    only [spawn Spawn]
    fn test_lock_context_of_threads_that_count() {
        test_lock_counts(By::Threads)?;
    }

    /// `test_rlock`
    fn test_rlock_is_free_after_as_many_drops_as_locks() {
        test_rlock(By::Children)?;
    }

    only [spawn Spawn]
    fn test_rlock_between_threads() {
        test_rlock(By::Threads)?;
    }

    /// `test_repr_lock`, `test_repr_rlock`
    fn test_repr_lock_names_the_process_that_holds_it() {
        test_repr_lock(By::Children)?;
    }

    only [spawn Spawn]
    fn test_repr_lock_names_the_thread_that_holds_it() {
        test_repr_lock(By::Threads)?;
    }
}

/// How a holder comes to grief.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Grief {
    Panic,
    Exit,
    Abort,
    Kill,
    /// Another program takes its place.
    Execute,
    /// A thread leaks the guard, and ends; its process goes on.
    Leak,
}

/// Takes the lock, makes its value a 7, says who it is, and comes to grief when it is told.
#[process]
fn come_to_grief(lock: Lock, how: Grief, held: Sender<u32>, go: Receiver<()>, until: Receiver<()>) {
    let lose = move || {
        lock.hold(how == Grief::Leak, |value| {
            value.store(7, Ordering::Relaxed);
            held.send(gettid().as_raw().cast_unsigned()).unwrap();
            let _ = go.recv();
            match how {
                Grief::Panic => resume_unwind(Box::new("on purpose")),
                Grief::Exit => std::process::exit(0),
                Grief::Abort => std::process::abort(),
                Grief::Kill => raise(Signal::SIGKILL).unwrap(),
                Grief::Execute => panic!("{}", Command::new("true").exec()),
                Grief::Leak => {}
            }
        });
        // The handle is gone as well, but not what it was of.
    };
    if how == Grief::Leak {
        thread::Builder::new().name("leaker".into()).spawn(lose).unwrap().join().unwrap();
        let _ = until.recv();
    } else {
        lose();
    }
}

/// Has somebody come to grief with the lock, with another who waits for it if `awaited`; says who
/// that was, and checks what the other was told.
fn lose(lock: &Lock, by: By, how: Grief, awaited: bool) -> Result<Poison, Box<dyn Error>> {
    let (held, is_held) = pipe()?;
    let (go, let_go) = pipe::<()>()?;
    let (release, released) = pipe::<()>()?;
    let clumsy = by.start_as("clumsy", come_to_grief(lock.clone(), how, held, let_go, released));
    let tid = is_held.recv()?;
    let (process, pid, thread) = match &clumsy {
        Worker::Child(child) => ("clumsy", child.pid(), "main"),
        Worker::Thread(_) => ("case", std::process::id(), "clumsy"),
    };
    let expected = Poison {
        process: process.into(),
        pid,
        thread: if how == Grief::Leak { "leaker" } else { thread }.into(),
        tid,
        panicked: how == Grief::Panic,
        value: 7,
    };
    let waiter = if awaited {
        let (about_to, waiting) = pipe()?;
        let waiter = by.start(take(lock.clone(), about_to));
        until_asleep(waiting.recv()?);
        Some(waiter)
    } else {
        None
    };
    drop(go);
    if let Some(waiter) = waiter {
        let told = waiter.join().unwrap_err();
        assert_eq!(told.poison.as_ref(), Some(&expected), "{how:?} {lock:?}: {told:?}");
    }
    if how != Grief::Leak {
        clumsy.bury();
    } else {
        // It lives; its thread has ended, or is about to.
        until(|| lock.is_poisoned());
        drop(release);
        clumsy.join();
    }
    Ok(expected)
}

fn a_lost_lock_is_poisoned(by: By, ways: &[Grief]) -> Outcome {
    for (lock, &how) in
        Lock::one_of_each()?.iter().flat_map(|lock| ways.iter().map(move |how| (lock, how)))
    {
        for awaited in [true, false] {
            let expected = lose(lock, by, how, awaited)?;
            assert!(lock.is_poisoned(), "{how:?} {lock:?}");
            // As often, and by whatever operation, one comes.
            for told in [lock.lock(), lock.try_lock(), lock.lock_timeout(SHORT), lock.lock()] {
                let told = told.unwrap_err();
                assert_eq!(told.poison.as_ref(), Some(&expected), "{how:?} {lock:?}");
                let how = if expected.panicked { "panicked" } else { "was killed, or exited," };
                let who = format!("process '{}' (pid {})", expected.process, expected.pid);
                assert!(told.text.contains(how) && told.text.contains(&who), "{}", told.text);
                if expected.tid != expected.pid {
                    let thread = format!("thread '{}' ({})", expected.thread, expected.tid);
                    assert!(told.text.contains(&thread), "{}", told.text);
                }
            }
            let shown = format!("{lock:?}");
            assert!(shown.contains("data: 7") && shown.contains("poisoned: true"), "{shown}");

            lock.clear_poison();
            assert!(!lock.is_poisoned());
            assert_eq!((lock.lock(), lock.try_lock()), (Ok(7), Ok(7)));

            // So it is when nobody was told in between.
            lose(lock, by, how, false)?;
            lock.clear_poison();
            assert!(!lock.is_poisoned());
            assert_eq!(lock.lock(), Ok(7));
        }
    }
    Ok(())
}

each_start_method! {
    fn a_process_that_panics_poisons_what_it_holds() {
        a_lost_lock_is_poisoned(By::Children, &[Grief::Panic])?;
    }

    fn a_process_that_exits_poisons_what_it_holds() {
        a_lost_lock_is_poisoned(By::Children, &[Grief::Exit, Grief::Abort, Grief::Execute])?;
    }

    fn a_process_that_is_killed_poisons_what_it_holds() {
        a_lost_lock_is_poisoned(By::Children, &[Grief::Kill])?;
    }

    fn a_thread_of_a_child_that_leaks_its_guard_poisons_what_it_holds() {
        a_lost_lock_is_poisoned(By::Children, &[Grief::Leak])?;
    }

    only [spawn Spawn]
    fn a_thread_that_panics_or_leaks_its_guard_poisons_what_it_holds() {
        a_lost_lock_is_poisoned(By::Threads, &[Grief::Panic, Grief::Leak])?;
    }
}

#[process]
fn exit_while_holding_it(mutex: Mutex<u32>) {
    let _held = mutex.lock().unwrap();
    std::process::exit(0);
}

each_start_method! {
    only [spawn Spawn]
    /// Whatever the numbers of who died, and of who comes then.
    fn whoever_died_with_a_lock_is_named() {
        for _ in 0..40 {
            let mutex = Mutex::new(0)?;
            let child = daemon(exit_while_holding_it(mutex.clone()))?;
            child.wait()?;
            let error = mutex.lock().unwrap_err().into_poisoned().ok_or("it is free")?;
            assert_eq!(error.holder().pid(), child.pid(), "{error}");
        }
    }
}

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
    assert!(poisoned.lock().starts_with("Mutex ") && poisoned.lock().contains(&made_at));
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
    /// A guard that was there before the panic, and one taken while it goes on.
    fn a_panic_poisons_what_was_locked_before_it_and_nothing_else() {
        struct LockInDrop<'a>(&'a Mutex<u32>);
        impl Drop for LockInDrop<'_> {
            fn drop(&mut self) {
                *self.0.lock().unwrap() += 1;
            }
        }
        let (before, meanwhile) = (Mutex::new(0).unwrap(), Mutex::new(0).unwrap());
        let outer = Mutex::new(0).unwrap();
        let outside = outer.lock().unwrap();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _second = LockInDrop(&meanwhile);
            let _held = before.lock().unwrap();
            let _first = LockInDrop(&meanwhile);
            resume_unwind(Box::new("on purpose"));
        }));
        drop(outside);
        assert!(before.is_poisoned() && !meanwhile.is_poisoned() && !outer.is_poisoned());
        assert_eq!(*meanwhile.lock().unwrap(), 2);
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
        assert!(text.contains(&format!("process 'case' (pid {})", std::process::id())), "{text}");
        let circle: Vec<_> = deadlock.members().map(|member| (member.pid(), member.tid())).collect();
        assert_eq!(circle, [(std::process::id(), gettid().as_raw().cast_unsigned())]);

        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
        assert!(matches!(mutex.lock_timeout(LONG), Err(LockTimeoutError::Deadlock(_))));
        assert!(matches!(mutex.lock_timeout(Duration::MAX), Err(LockTimeoutError::Deadlock(_))));
        assert!(matches!(mutex.clone().lock(), Err(LockError::Deadlock(_)))); // another handle
    }
}

/// Takes the lock so often, and comes to grief with all of the guards.
#[process]
fn come_to_grief_deep_down(lock: ReentrantLock<AtomicU32>, depth: u32, kill: bool) {
    let _held = lock.lock().unwrap();
    if depth > 0 {
        come_to_grief_deep_down(lock.clone(), depth - 1, kill).run();
    }
    if kill {
        raise(Signal::SIGKILL).unwrap();
    }
    resume_unwind(Box::new("on purpose"));
}

fn a_reentrant_lock_is_poisoned_at_any_depth(by: By, kill: bool) -> Outcome {
    let lock = ReentrantLock::new(AtomicU32::new(0))?;
    for depth in [0, 1, 5] {
        by.start(come_to_grief_deep_down(lock.clone(), depth, kill)).bury();
        let error = lock.lock().unwrap_err().into_poisoned().ok_or("it is free")?;
        assert_eq!(error.cause(), if kill { PoisonCause::Died } else { PoisonCause::Panicked });
        // One guard is all that it takes to be rid of it.
        drop(error.into_inner());
        lock.clear_poison();
        assert!(by.start(is_sound(lock.clone())).join());
    }
    Ok(())
}

#[process]
fn is_sound(lock: ReentrantLock<AtomicU32>) -> bool {
    lock.lock().is_ok()
}

each_start_method! {
    fn a_reentrant_lock_is_poisoned_however_often_it_was_taken() {
        a_reentrant_lock_is_poisoned_at_any_depth(By::Children, true)?;
        a_reentrant_lock_is_poisoned_at_any_depth(By::Children, false)?;
    }

    only [spawn Spawn]
    /// Also if the panic gets no further than the inner guard.
    fn a_reentrant_lock_is_poisoned_by_a_panic_that_was_caught() {
        let lock = ReentrantLock::new(AtomicU32::new(0))?;
        let outer = lock.lock().unwrap();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _inner = lock.lock();
            resume_unwind(Box::new("on purpose"));
        }));
        drop(outer);
        assert!(!is_sound(lock.clone()).run());
    }

    only [spawn Spawn]
    fn a_reentrant_lock_of_a_thread_is_poisoned_however_often_it_was_taken() {
        a_reentrant_lock_is_poisoned_at_any_depth(By::Threads, false)?;
    }

    fn a_waiter_that_is_killed_harms_nobody() {
        for lock in Lock::one_of_each()? {
            let (about_to, waiting) = pipe()?;
            let mut waiters = Vec::new();
            lock.hold(false, |_| {
                for _ in 0..4 {
                    let waiter = daemon(take(lock.clone(), about_to.clone())).unwrap();
                    until_asleep(waiting.recv().unwrap());
                    waiters.push(waiter);
                }
                for waiter in waiters.drain(..2) {
                    waiter.kill().unwrap();
                    waiter.wait().unwrap();
                }
            });
            for waiter in waiters {
                assert_eq!(waiter.join()?, Ok(1));
            }
            assert!(!lock.is_poisoned());
        }
    }
}

/// Changes two values in step, for ever.
#[process]
fn keep_in_step(mutex: Mutex<[u64; 2]>, begun: Sender<()>) {
    begun.send(()).unwrap();
    loop {
        let mut values = mutex.lock().unwrap_or_else(|error| error.into_inner());
        values[0] += 1;
        values[1] = values[0];
    }
}

each_start_method! {
    /// Whoever is killed, at whatever moment, the others go on; what is not poisoned is in step.
    fn kills_at_random_moments_stop_nobody() {
        let mutex = Mutex::new([0, 0])?;
        let (begun, has_begun) = pipe()?;
        let start = || daemon(keep_in_step(mutex.clone(), begun.clone()));
        let mut workers = vec![start()?, start()?];
        let mut poisoned = 0;
        for round in 0..30 {
            has_begun.recv()?;
            for _ in 0..round * 7 % 30 {
                drop(mutex.lock().unwrap_or_else(|error| error.into_inner()));
            }
            let victim = workers.remove(0);
            victim.kill()?;
            victim.wait()?;
            workers.push(start()?);
            match mutex.lock() {
                Ok(values) => assert_eq!(values[0], values[1]),
                Err(LockError::Poisoned(error)) => {
                    poisoned += 1;
                    assert_eq!(error.cause(), PoisonCause::Died);
                    // 0 if it had no time to say who it was.
                    assert!([victim.pid(), 0].contains(&error.holder().pid()), "{error}");
                    let mut values = error.into_inner();
                    assert!(values[0] - values[1] <= 1, "{values:?}");
                    values[1] = values[0];
                    mutex.clear_poison();
                }
                Err(other) => panic!("{other}"),
            }
        }
        println!("{poisoned} of 30 held it");
        workers.into_iter().try_for_each(|worker| worker.kill())?;
    }
}

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

/// One of everything, to be used where programs are not at their best.
#[derive(Clone, Serialize, Deserialize)]
struct Everything {
    mutex: Mutex<u32>,
    watched: Mutex<u32>,
    ordered: [Mutex<u32>; 2],
    reentrant: ReentrantLock<Cell<u32>>,
    rwlock: RwLock<u32>,
    semaphore: Semaphore,
    condvar: Condvar,
    event: Event,
    barrier: Barrier,
    once: Once,
    once_lock: offspring::sync::OnceLock<u32>,
}

impl Everything {
    fn new() -> offspring::Result<Self> {
        Ok(Self {
            mutex: Mutex::new(0)?,
            watched: Mutex::new(0)?.detect_deadlocks(&DeadlockDetector::new()?),
            ordered: [Mutex::new(0)?, Mutex::new(0)?],
            reentrant: ReentrantLock::new(Cell::new(0))?,
            rwlock: RwLock::new(0)?,
            semaphore: Semaphore::new(1)?,
            condvar: Condvar::new()?,
            event: Event::new()?,
            barrier: Barrier::new(1)?,
            once: Once::new()?,
            once_lock: offspring::sync::OnceLock::new()?,
        })
    }

    fn use_all(&self) {
        *self.mutex.lock().unwrap() += 1;
        *self.watched.lock().unwrap() += 1;
        lock_all(&self.ordered).unwrap().iter_mut().for_each(|value| **value += 1);
        let outer = self.reentrant.lock().unwrap();
        outer.set(self.reentrant.lock().unwrap().get() + 1);
        *self.rwlock.write().unwrap() += 1;
        let reading = self.rwlock.read().unwrap();
        assert_eq!(*reading, *self.rwlock.read().unwrap());
        drop(self.semaphore.acquire().unwrap());
        let waited = self.condvar.wait_timeout(self.mutex.lock().unwrap(), Duration::ZERO);
        assert!(waited.unwrap().1.timed_out());
        self.condvar.notify_all();
        self.event.set();
        self.event.wait();
        assert!(self.barrier.wait().unwrap().is_leader());
        self.once.call_once(|| {}).unwrap();
        self.once_lock.get_or_init(|| 1);
    }

    /// Checks that it was used so often, and that all is as it was.
    fn check_used(&self, times: u32) {
        assert_eq!((*self.mutex.lock().unwrap(), *self.watched.lock().unwrap()), (times, times));
        assert_eq!(lock_all(&self.ordered).unwrap().iter().map(|value| **value).max(), Some(times));
        assert_eq!(
            (self.reentrant.lock().unwrap().get(), *self.rwlock.write().unwrap()),
            (times, times)
        );
        assert_eq!((self.semaphore.available(), self.barrier.waiting()), (1, 0));
        assert!(self.event.is_set() && self.once.is_completed() && !self.barrier.is_broken());
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.0.use_all();
    }
}

/// Uses everything when it is dropped.
struct Used(Everything);

thread_local! {
    static LATE: RefCell<Option<Used>> = const { RefCell::new(None) };
}

#[process]
fn panic_with(everything: Everything) {
    let _used = Used(everything);
    resume_unwind(Box::new("on purpose"));
}

static AT_EXIT: OnceLock<Everything> = OnceLock::new();

extern "C" fn use_at_exit() {
    AT_EXIT.get().unwrap().use_all();
}

#[process]
fn exit_with(everything: Everything, held: bool, exit: bool) {
    let everything = AT_EXIT.get_or_init(|| everything);
    // SAFETY: the handler is a function of this program, which is there until the end.
    assert_eq!(unsafe { libc::atexit(use_at_exit) }, 0);
    if exit {
        // Another thread may hold it: the handler waits.
        thread::scope(|scope| {
            let (is_held, wait) = std::sync::mpsc::channel();
            let tid = gettid().as_raw();
            if held {
                scope.spawn(move || {
                    let _held = everything.mutex.lock();
                    is_held.send(()).unwrap();
                    until_asleep(tid);
                });
                wait.recv().unwrap();
            }
            std::process::exit(0);
        });
    }
}

each_start_method! {
    fn a_destructor_may_use_everything_while_its_process_panics() {
        let everything = Everything::new()?;
        assert!(panic_with(everything.clone()).spawn()?.join().is_err());
        everything.check_used(1);
        let unwound = everything.clone();
        let _ = catch_unwind(AssertUnwindSafe(|| panic_with(unwound).run()));
        everything.check_used(2);
    }

    only [spawn Spawn]
    fn a_destructor_at_a_threads_end_may_use_everything() {
        let everything = Everything::new()?;
        for first in [true, false] {
            let late = everything.clone();
            thread::spawn(move || {
                // What is kept for the thread by others is gone before, or after.
                if first {
                    LATE.with(|late| late.take());
                }
                late.use_all();
                LATE.with(|kept| kept.replace(Some(Used(late))));
            })
            .join()
            .unwrap();
        }
        everything.check_used(4);
    }

    fn an_exit_handler_may_use_everything() {
        let everything = Everything::new()?;
        for held in [false, true] {
            exit_with(everything.clone(), held, true).spawn()?.wait()?;
        }
        everything.check_used(2);
    }

    only [forkserver Forkserver, spawn Spawn]
    fn an_exit_handler_may_use_everything_when_the_work_returns() {
        let everything = Everything::new()?;
        exit_with(everything.clone(), false, false).spawn()?.join()?;
        everything.check_used(1);
    }
}

/// Where the handler says what it was told.
static TOLD_AT_EXIT: OnceLock<(Mutex<u32>, Sender<String>)> = OnceLock::new();

extern "C" fn lock_at_exit() {
    let (mutex, to) = TOLD_AT_EXIT.get().unwrap();
    to.send(mutex.lock().unwrap_err().to_string()).unwrap();
}

#[process]
fn exit_while_holding(mutex: Mutex<u32>, to: Sender<String>) {
    let (mutex, _) = TOLD_AT_EXIT.get_or_init(|| (mutex, to));
    // SAFETY: the handler is a function of this program, which is there until the end.
    assert_eq!(unsafe { libc::atexit(lock_at_exit) }, 0);
    let _held = mutex.lock().unwrap();
    std::process::exit(0);
}

each_start_method! {
    /// Whoever exits with a lock held has it still, in its exit handlers.
    fn an_exit_handler_is_told_that_its_thread_holds_the_lock() {
        let mutex = Mutex::new(0)?;
        let (to, from) = pipe()?;
        let child = exit_while_holding(mutex.clone(), to).spawn()?;
        let text = from.recv()?;
        assert!(text.contains("deadlock") && text.contains("held by itself"), "{text}");
        assert_eq!(child.wait()?.code(), Some(0));
        assert!(mutex.lock().unwrap_err().into_poisoned().is_some());
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
