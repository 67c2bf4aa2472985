//! Locks whose holders, waiters and notifiers die; handlers that set events; clocks that are set;
//! permits that are counted; and the list of locks that we share with the C library.

#[path = "pains_locks/c_library.rs"]
mod c_library;
#[path = "pains_locks/clock.rs"]
mod clock;
#[path = "pains_locks/copies.rs"]
mod copies;
#[path = "pains_locks/deaths.rs"]
mod deaths;
#[path = "pains_locks/many.rs"]
mod many;

use std::error::Error;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io, mem, ptr};

use nix::libc::{self, pthread_mutex_t};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{
    SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction,
};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use nix::unistd::gettid;
use offspring::sync::{
    Barrier, BarrierError, Condvar, Event, LockError, LockTimeoutError, Mutex, MutexGuard,
    PoisonCause, ReentrantLock, ReleaseError, RwLock, Semaphore,
};
use offspring::{Child, Fd, Process, Receiver, Sender, pipe, process};
use serde::{Deserialize, Serialize};
use tests::crew::{daemon, is_asleep, until_asleep};
use tests::each_start_method;
use tests::family::{not_tested, until};

const LONG: Duration = Duration::from_secs(600);

type Outcome<T> = Result<T, Box<dyn Error>>;

/// One of each kind, with how it is held.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Lock {
    Mutex(Mutex<u32>),
    Reentrant(ReentrantLock<AtomicU32>),
    Write(RwLock<u32>),
    /// Held by a reader, wanted by writers.
    Read(RwLock<u32>),
    Permit(Semaphore),
}

/// What poisoned a lock: the process, and the words of the error.
type Told = Option<(u32, String)>;

macro_rules! take {
    ($taken:expr, $work:expr) => {
        match $taken {
            Ok(guard) => {
                let leak: bool = $work();
                if leak {
                    mem::forget(guard);
                }
                None
            }
            Err(error) => {
                let text = error.to_string();
                let Some(poisoned) = error.into_poisoned() else { panic!("{text}") };
                assert_eq!(poisoned.cause(), PoisonCause::Died, "{text}");
                let pid = poisoned.holder().pid();
                $work();
                drop(poisoned.into_inner());
                Some((pid, text))
            }
        }
    };
}

impl Lock {
    fn one_of_each() -> offspring::Result<[Self; 5]> {
        Ok([
            Self::Mutex(Mutex::new(0)?),
            Self::Reentrant(ReentrantLock::new(AtomicU32::new(0))?),
            Self::Write(RwLock::new(0)?),
            Self::Read(RwLock::new(0)?),
            Self::Permit(Semaphore::new(1)?),
        ])
    }

    /// Whether the death of its holder is told.
    fn poisons(&self) -> bool {
        !matches!(self, Self::Read(_) | Self::Permit(_))
    }

    /// Waits for it, does something with it held, and leaks the guard if that says so.
    fn hold(&self, work: impl FnOnce() -> bool) -> Told {
        match self {
            Self::Mutex(lock) => take!(lock.lock(), work),
            Self::Reentrant(lock) => take!(lock.lock(), work),
            Self::Write(lock) => take!(lock.write(), work),
            Self::Read(lock) => take!(lock.read(), work),
            Self::Permit(semaphore) => {
                let permit = semaphore.acquire().unwrap();
                if work() {
                    mem::forget(permit);
                }
                None
            }
        }
    }

    /// Waits for it, as those do who must wait for the holder.
    fn want(&self) -> Told {
        match self {
            Self::Read(lock) => take!(lock.write(), || false),
            other => other.hold(|| false),
        }
    }

    /// Whether somebody else has it.
    fn is_held(&self) -> bool {
        match self {
            Self::Mutex(lock) => lock.try_lock().is_err(),
            Self::Reentrant(lock) => lock.try_lock().is_err(),
            Self::Write(lock) | Self::Read(lock) => lock.try_write().is_err(),
            Self::Permit(semaphore) => semaphore.try_acquire().is_err(),
        }
    }

    fn clear_poison(&self) {
        match self {
            Self::Mutex(lock) => lock.clear_poison(),
            Self::Reentrant(lock) => lock.clear_poison(),
            Self::Write(lock) | Self::Read(lock) => lock.clear_poison(),
            Self::Permit(_) => {}
        }
    }

    fn check(&self, told: &Told, pid: u32) {
        match told {
            None => assert!(!self.poisons(), "{self:?} is not poisoned"),
            Some((holder, text)) => {
                assert!(self.poisons() && *holder == pid, "{text}");
                assert!(text.contains(&format!("pid {pid}")), "{text}");
            }
        }
    }
}

#[process]
fn hold(lock: Lock, held: Sender<()>, until: Receiver<()>) {
    lock.hold(|| {
        held.send(()).unwrap();
        let _ = until.recv();
        false
    });
}

#[process]
fn want(lock: Lock, about_to: Sender<i32>) -> Told {
    about_to.send(gettid().as_raw()).unwrap();
    lock.want()
}

#[process]
fn is_held(lock: Lock) -> bool {
    lock.is_held()
}

each_start_method! {
    /// Pain 4: `multiprocessing.Lock` stays locked for ever when its holder is killed.
    fn a_killed_holders_lock_goes_to_those_asleep_and_to_those_who_come() {
        for lock in Lock::one_of_each()? {
            let (held, is_held) = pipe()?;
            let (_release, released) = pipe()?;
            let (about_to, waiting) = pipe()?;
            let holder = daemon(hold(lock.clone(), held, released))?;
            is_held.recv()?;
            let mut waiters = Vec::new();
            for _ in 0..3 {
                waiters.push(daemon(want(lock.clone(), about_to.clone()))?);
                until_asleep(waiting.recv()?);
            }
            holder.kill()?;
            for waiter in waiters {
                lock.check(&waiter.join()?, holder.pid());
            }
            lock.check(&lock.want(), holder.pid());
            lock.check(&daemon(want(lock.clone(), about_to.clone()))?.join()?, holder.pid());

            lock.clear_poison();
            assert_eq!(lock.want(), None);
            assert_eq!(daemon(want(lock.clone(), about_to))?.join()?, None);
        }
    }
}

#[process]
fn await_condition(go: Mutex<bool>, changed: Condvar, about_to: Sender<i32>) {
    about_to.send(gettid().as_raw()).unwrap();
    drop(changed.wait_while(go.lock().unwrap(), |go| !*go).unwrap());
}

#[process]
fn await_event(event: Event, about_to: Sender<i32>) {
    about_to.send(gettid().as_raw()).unwrap();
    event.wait();
}

#[process]
fn await_others(barrier: Barrier, about_to: Sender<i32>) -> Result<(), String> {
    about_to.send(gettid().as_raw()).unwrap();
    barrier.wait().map(drop).map_err(|error| format!("{error:?}"))
}

/// Five that sleep, of which one is then killed: the other four.
fn four_of_five<P: Process>(
    make: impl Fn(Sender<i32>) -> P,
) -> Result<Vec<Child<P::Output>>, Box<dyn Error>> {
    let (about_to, waiting) = pipe()?;
    let mut waiters = Vec::new();
    for _ in 0..5 {
        waiters.push(daemon(make(about_to.clone()))?);
        until_asleep(waiting.recv()?);
    }
    let victim = waiters.remove(2);
    victim.kill()?;
    victim.wait()?;
    Ok(waiters)
}

each_start_method! {
    /// Pain 5: `Condition.notify_all` and `Event.set` hang for ever for a waiter that was killed.
    fn notify_all_returns_and_wakes_the_four_when_the_fifth_was_killed() {
        let (go, changed) = (Mutex::new(false)?, Condvar::new()?);
        let waiters = four_of_five(|tx| await_condition(go.clone(), changed.clone(), tx))?;
        *go.lock().unwrap() = true;
        assert_eq!(changed.notify_all(), 4);
        for waiter in waiters {
            waiter.join()?;
        }
        assert_eq!(changed.notify_all(), 0);
        assert!(!go.is_poisoned());
    }

    fn set_returns_and_wakes_the_four_when_the_fifth_was_killed() {
        let event = Event::new()?;
        let waiters = four_of_five(|tx| await_event(event.clone(), tx))?;
        event.set();
        for waiter in waiters {
            waiter.join()?;
        }
    }

    fn a_barrier_breaks_for_the_four_when_the_fifth_was_killed_and_can_be_reset() {
        let barrier = Barrier::new(6)?;
        for waiter in four_of_five(|tx| await_others(barrier.clone(), tx))? {
            assert_eq!(waiter.join()?, Err("WaiterDied".into()));
        }
        assert_eq!(barrier.wait().unwrap_err(), BarrierError::WaiterDied);
        assert!(barrier.is_broken());
        barrier.reset();
        assert!(!barrier.is_broken());
        let (about_to, _waiting) = pipe()?;
        let parties: Vec<_> = (0..5)
            .map(|_| daemon(await_others(barrier.clone(), about_to.clone())))
            .collect::<Result<_, _>>()?;
        barrier.wait()?;
        for party in parties {
            assert_eq!(party.join()?, Ok(()));
        }
    }
}

static EVENT: OnceLock<Event> = OnceLock::new();
static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn set_event(_: libc::c_int) {
    EVENT.get().unwrap().set();
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

each_start_method! {
    only [spawn Spawn]
    /// Pain 6: `Event.set` in a handler deadlocks if it interrupts `is_set`, `wait` or `set`. The
    /// thread and its handler are in one process: how that was started cannot matter.
    fn an_event_is_set_by_thousands_of_handlers_in_the_middle_of_everything() {
        let handlers = if tests::soak() { 40_000 } else { 4000 };
        let event = EVENT.get_or_init(|| Event::new().unwrap());
        let handler = SigHandler::Handler(set_event);
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does what `Event` says that one may.
        unsafe { sigaction(Signal::SIGALRM, &action) }?;
        let operations: [&dyn Fn(); 5] = [
            &|| {
                event.is_set();
            },
            &|| event.set(),
            &|| event.clear(),
            // Nobody but the handler sets it.
            &|| {
                event.clear();
                assert!(event.wait_timeout(LONG));
            },
            &|| {
                event.set();
                assert!(event.wait_timeout(LONG));
                event.clear();
                let _ = (event.is_set(), event.wait_timeout(Duration::ZERO));
                assert!(event.wait_timeout(LONG));
            },
        ];
        // By a timer: a thread that sends them needs its turn for each, on a machine that is busy.
        let signal = SigevNotify::SigevSignal { signal: Signal::SIGALRM, si_value: 0 };
        let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(signal))?;
        let interval = Expiration::Interval(Duration::from_micros(20).into());
        timer.set(interval, TimerSetTimeFlags::empty())?;
        for operation in operations {
            let last = HANDLED.load(Ordering::SeqCst) + handlers;
            while HANDLED.load(Ordering::SeqCst) < last {
                operation();
            }
        }
        drop(timer);
        assert!(HANDLED.load(Ordering::SeqCst) >= handlers * 5);
        event.wait();
    }
}

/// The wall clock of the whole machine, some seconds ahead. It goes back in one step, by as much, so
/// neither the time in between nor somebody else who does the same makes a difference.
struct Ahead;

/// Much longer than what is waited for, and no longer than need be: others live by this clock.
const STEP: i64 = 10;

impl Ahead {
    fn shift(seconds: i64) -> io::Result<()> {
        // SAFETY: all zeroes are a `timex`.
        let mut change: libc::timex = unsafe { mem::zeroed() };
        change.modes = libc::ADJ_SETOFFSET;
        change.time.tv_sec = seconds;
        // SAFETY: it reads and writes `change`.
        match unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, &mut change) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    fn of_time() -> io::Result<Self> {
        Self::shift(STEP).map(|()| Self)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        Self::shift(-STEP).unwrap();
    }
}

/// Waits until a time of the wall clock, as our waits must not.
fn wait_by_the_wall_clock(timeout: Duration) {
    // SAFETY: all that is pointed to lives during the calls.
    unsafe {
        let mut at: libc::timespec = mem::zeroed();
        libc::clock_gettime(libc::CLOCK_REALTIME, &mut at);
        at.tv_sec += timeout.as_secs().cast_signed();
        let word = AtomicU32::new(0);
        let operation =
            libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME;
        let none = ptr::null::<u32>();
        libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 0, &at, none, u32::MAX);
    }
}

each_start_method! {
    only [spawn Spawn]
    /// Pain 31: waits that end early, or never, when the wall clock is set.
    fn a_wait_takes_its_time_when_the_wall_clock_is_set() {
        const TIMEOUT: Duration = Duration::from_millis(300);
        let what = "waits while the wall clock is set";
        if let Err(error) = Ahead::shift(0) {
            not_tested(what, error);
            return Ok(());
        }
        let (mutex, reentrant, rwlock) = (Mutex::new(0)?, ReentrantLock::new(0)?, RwLock::new(0)?);
        let (semaphore, event, barrier) = (Semaphore::new(0)?, Event::new()?, Barrier::new(2)?);
        let (free, condvar) = (Mutex::new(0)?, Condvar::new()?);
        let _held = (mutex.lock().unwrap(), reentrant.lock().unwrap(), rwlock.write().unwrap());
        macro_rules! timed_out {
            ($taken:expr) => {
                matches!($taken, Err(LockTimeoutError::Timeout { .. }))
            };
        }
        // Whether the time was up.
        let waits: [(&str, &(dyn Fn() -> bool + Sync)); 8] = [
            ("Mutex", &|| timed_out!(mutex.lock_timeout(TIMEOUT))),
            ("ReentrantLock", &|| timed_out!(reentrant.lock_timeout(TIMEOUT))),
            ("read", &|| timed_out!(rwlock.read_timeout(TIMEOUT))),
            ("write", &|| timed_out!(rwlock.write_timeout(TIMEOUT))),
            ("Semaphore", &|| semaphore.acquire_timeout(TIMEOUT).is_err()),
            ("Event", &|| !event.wait_timeout(TIMEOUT)),
            ("Barrier", &|| matches!(barrier.wait_timeout(TIMEOUT), Err(BarrierError::Timeout))),
            ("Condvar", &|| {
                let guard = free.lock().unwrap();
                condvar.wait_timeout_while(guard, TIMEOUT, |_| true).unwrap().1.timed_out()
            }),
        ];
        let mut shown = 0;
        for (name, wait) in waits {
            // Until it was asleep in time, and so was one who goes by the wall clock, who shows that
            // the step was one.
            for attempt in 0.. {
                if attempt == 20 {
                    not_tested(what, format!("{name}: the step woke nobody, or came too late"));
                    break;
                }
                barrier.reset();
                let stepped = thread::scope(|scope| -> Result<bool, Box<dyn Error>> {
                    let (about_to, tids) = mpsc::channel();
                    let say = about_to.clone();
                    let control = scope.spawn(move || {
                        say.send(gettid().as_raw()).unwrap();
                        wait_by_the_wall_clock(Duration::from_secs(3));
                    });
                    until_asleep(tids.recv()?);
                    let waiter = scope.spawn(move || {
                        about_to.send(gettid().as_raw()).unwrap();
                        let before = Instant::now();
                        (wait(), before.elapsed())
                    });
                    let tid = tids.recv()?;
                    until(|| waiter.is_finished() || is_asleep(tid));
                    let in_time = !waiter.is_finished();
                    let at = Instant::now();
                    let ahead = Ahead::of_time()?;
                    until(|| control.is_finished() || at.elapsed() > Duration::from_millis(100));
                    drop(ahead);
                    let woken = control.is_finished();
                    let (timed_out, took) = waiter.join().unwrap();
                    assert!(timed_out, "{name}");
                    assert!(took >= TIMEOUT, "{name}: {took:?}");
                    Ok(in_time && woken)
                })?;
                if stepped {
                    shown += 1;
                    break;
                }
            }
        }
        println!("{shown} of {} waits had the clock set", waits.len());
    }
}

#[process]
fn count_permits(semaphore: Semaphore) -> usize {
    semaphore.available()
}

#[process]
fn forget_one(semaphore: Semaphore) -> usize {
    let _held = semaphore.acquire().unwrap();
    semaphore.acquire().unwrap().forget();
    semaphore.available()
}

each_start_method! {
    /// Pain 36: `get_value` that is not implemented, or not exact; too many releases that pass.
    fn available_permits_are_counted_exactly_and_none_is_released_too_many() {
        for bounded in [true, false] {
            let make = if bounded { Semaphore::bounded } else { Semaphore::new };
            let semaphore = make(3)?;
            let there_are = |permits| {
                let seen = daemon(count_permits(semaphore.clone())).unwrap().join().unwrap();
                assert_eq!((semaphore.available(), seen), (permits, permits));
            };
            let refused = |wanted| match semaphore.release(wanted) {
                Err(ReleaseError::Bounded { wanted: told, released: 0, .. }) => assert_eq!(told, wanted),
                other => panic!("{other:?}"),
            };
            there_are(3);
            let first = semaphore.acquire()?;
            there_are(2);
            if bounded {
                refused(1); // it is held, not forgotten
            }
            let second = semaphore.acquire()?;
            there_are(1);
            drop(first);
            there_are(2);
            second.forget();
            there_are(2);
            assert_eq!(daemon(forget_one(semaphore.clone()))?.join()?, 0);
            there_are(1);
            if bounded {
                refused(3);
                there_are(1);
            }
            semaphore.release(1)?;
            there_are(2);
            semaphore.release(1)?;
            there_are(3);
            if bounded {
                refused(1);
                there_are(3);
            } else {
                semaphore.release(2)?;
                there_are(5);
            }
        }
    }
}

#[process]
fn leak_in_a_thread(lock: Lock, held: Sender<()>, go: Receiver<()>, until: Receiver<()>) {
    thread::scope(|scope| {
        scope.spawn(|| {
            lock.hold(|| {
                held.send(()).unwrap();
                let _ = go.recv();
                true
            })
        });
    });
    let _ = until.recv();
}

#[process]
fn execute_while_holding(lock: Lock, held: Sender<()>, go: Receiver<()>) {
    lock.hold(|| {
        held.send(()).unwrap();
        let _ = go.recv();
        panic!("{}", Command::new("sleep").arg("600").exec());
    });
}

/// Has so many wait for a lock that its holder, who lives on, loses when told to; then takes it.
/// Says whether all were told who the holder was.
fn lose<P: Process>(
    lock: &Lock,
    waiters: usize,
    make: impl FnOnce(Lock, Sender<()>, Receiver<()>) -> P,
) -> Outcome<(Child<P::Output>, bool)> {
    let (held, is_held) = pipe()?;
    let (go, going) = pipe::<()>()?;
    let (about_to, waiting) = pipe()?;
    let holder = daemon(make(lock.clone(), held, going))?;
    is_held.recv()?;
    let mut asleep = Vec::new();
    for _ in 0..waiters {
        asleep.push(daemon(want(lock.clone(), about_to.clone()))?);
        until_asleep(waiting.recv()?);
    }
    drop(go);
    let mut told = Vec::new();
    for waiter in asleep {
        told.push(waiter.join()?);
    }
    told.push(lock.want());
    let named = !told.iter().flatten().any(|(pid, _)| *pid == 0);
    for told in told {
        match told {
            Some((0, text)) => assert!(lock.poisons(), "{text}"),
            told => lock.check(&told, holder.pid()),
        }
    }
    lock.clear_poison();
    assert_eq!(lock.want(), None);
    assert!(holder.is_alive());
    Ok((holder, named))
}

/// Has the holder become another program.
fn execute(lock: &Lock, waiters: usize) -> Result<bool, Box<dyn Error>> {
    let (holder, named) = lose(lock, waiters, execute_while_holding)?;
    let name = format!("/proc/{}/comm", holder.pid());
    until(|| fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep"));
    assert!(holder.is_alive());
    holder.kill()?;
    holder.wait()?;
    Ok(named)
}

each_start_method! {
    fn a_thread_that_ends_with_a_leaked_guard_loses_the_lock_and_its_process_goes_on() {
        for lock in Lock::one_of_each()? {
            for waiters in [1, 3] {
                let (release, released) = pipe()?;
                let make = |lock, held, going| leak_in_a_thread(lock, held, going, released);
                let (holder, named) = lose(&lock, waiters, make)?;
                assert!(named, "{lock:?}");
                drop(release);
                holder.join()?;
            }
        }
    }

    fn a_process_that_executes_another_program_loses_the_lock_and_goes_on() {
        for lock in Lock::one_of_each()? {
            assert!(execute(&lock, 1)?, "{lock:?}");
        }
    }

    /// As `Lock::dead` says, the name is not known where others have tried since: the process lives,
    /// as another program. But nobody else is named, and nobody waits.
    fn a_process_that_executes_another_program_loses_a_lock_that_many_wait_for() {
        for lock in Lock::one_of_each()? {
            if !execute(&lock, 3)? {
                println!("who had held it was not named: {lock:?}");
            }
        }
    }

    only [spawn Spawn]
    fn a_copy_that_drops_its_copy_of_the_guard_does_not_unlock() {
        macro_rules! copy {
            ($guard:expr, $lock:expr) => {{
                let guard = $guard.unwrap();
                // SAFETY: this process has one thread.
                match unsafe { libc::fork() } {
                    0 => {
                        drop(guard);
                        // SAFETY: it ends at once, without what belongs to the original.
                        unsafe { libc::_exit(0) };
                    }
                    copy => {
                        let mut status = 0;
                        // SAFETY: it writes the status.
                        assert_eq!(unsafe { libc::waitpid(copy, &mut status, 0) }, copy);
                        assert_eq!(status, 0);
                        assert!(daemon(is_held($lock.clone()))?.join()?, "{:?}", $lock);
                        drop(guard);
                    }
                }
            }};
        }
        for lock in Lock::one_of_each()? {
            match &lock {
                Lock::Mutex(inner) => copy!(inner.lock(), lock),
                Lock::Reentrant(inner) => copy!(inner.lock(), lock),
                Lock::Write(inner) => copy!(inner.write(), lock),
                Lock::Read(inner) => copy!(inner.read(), lock),
                Lock::Permit(inner) => copy!(inner.acquire(), lock),
            }
            assert!(!daemon(is_held(lock.clone()))?.join()?, "{lock:?}");
            assert_eq!(lock.want(), None);
        }
    }
}

unsafe extern "C" {
    fn pthread_mutexattr_setrobust(attributes: *mut libc::pthread_mutexattr_t, robust: i32) -> i32;
    fn pthread_mutex_consistent(mutex: *mut pthread_mutex_t) -> i32;
}

/// Two robust mutexes of the C library, in a file that processes share.
struct Theirs(*mut pthread_mutex_t);

impl Theirs {
    fn map(file: &File) -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, which stays for as long as the process lives.
        let at = unsafe {
            libc::mmap(ptr::null_mut(), 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        assert_ne!(at, libc::MAP_FAILED);
        Self(at.cast())
    }

    fn create(&self) {
        // SAFETY: the memory is there, and nobody uses it yet.
        unsafe {
            let mut attributes: libc::pthread_mutexattr_t = mem::zeroed();
            assert_eq!(libc::pthread_mutexattr_init(&mut attributes), 0);
            let shared = libc::PTHREAD_PROCESS_SHARED;
            assert_eq!(libc::pthread_mutexattr_setpshared(&mut attributes, shared), 0);
            assert_eq!(pthread_mutexattr_setrobust(&mut attributes, 1), 0);
            for index in 0..2 {
                assert_eq!(libc::pthread_mutex_init(self.0.add(index), &attributes), 0);
            }
        }
    }

    fn lock(&self, index: usize) -> (i32, Held<'_>) {
        // SAFETY: it was created, and stays.
        unsafe {
            let mutex = self.0.add(index);
            (libc::pthread_mutex_lock(mutex), Held::Theirs(mutex))
        }
    }
}

/// A lock of either kind, held by this thread.
enum Held<'a> {
    Ours { _guard: MutexGuard<'a, u32> },
    Theirs(*mut pthread_mutex_t),
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Self::Theirs(mutex) = self {
            // SAFETY: this thread holds it.
            assert_eq!(unsafe { libc::pthread_mutex_unlock(*mutex) }, 0);
        }
    }
}

/// Of four locks, 0 and 1 are ours.
fn take_all<'a>(
    ours: &'a [Mutex<u32>; 2],
    theirs: &'a Theirs,
    order: [usize; 4],
) -> [Option<Held<'a>>; 4] {
    let mut held = [None, None, None, None];
    for lock in order {
        held[lock] = Some(match lock {
            0 | 1 => Held::Ours { _guard: ours[lock].lock().unwrap() },
            _ => {
                let (error, held) = theirs.lock(lock - 2);
                assert_eq!(error, 0);
                held
            }
        });
    }
    held
}

/// All orders of four.
fn orders() -> Vec<[usize; 4]> {
    (0..256_usize)
        .map(|number| [number / 64, number / 16 % 4, number / 4 % 4, number % 4])
        .filter(|order| (0..4).all(|lock| order.contains(&lock)))
        .collect()
}

/// Takes the locks in an order, and releases them in that order or in all orders; in the end keeps
/// all but `released`.
#[process]
fn hold_both_kinds(
    ours: [Mutex<u32>; 2],
    file: Fd<File>,
    order: [usize; 4],
    in_another: bool,
    released: Vec<usize>,
    ready: Sender<()>,
    until: Receiver<()>,
) {
    let theirs = Theirs::map(&file);
    for release in if in_another { orders() } else { vec![order] } {
        let mut held = take_all(&ours, &theirs, order);
        for lock in release {
            held[lock] = None;
        }
    }
    let mut held = take_all(&ours, &theirs, order);
    for lock in released {
        held[lock] = None;
    }
    ready.send(()).unwrap();
    let _ = until.recv();
}

each_start_method! {
    fn our_locks_and_robust_ones_of_the_c_library_are_on_one_list() {
        let interleavings: Vec<_> = orders()
            .into_iter()
            .filter(|order| {
                let place = |lock| order.iter().position(|&other| other == lock);
                place(0) < place(1) && place(2) < place(3)
            })
            .collect();
        assert_eq!(interleavings.len(), 6);
        for (number, order) in interleavings.into_iter().enumerate() {
            // None released; then each; then one of each kind, the first or the last that was taken.
            let releases: [&[usize]; 3] = [&[], &[number % 4], [&[0, 3][..], &[1, 2]][number % 2]];
            for released in releases {
                let file = File::from(memfd_create(c"theirs", MFdFlags::empty())?);
                file.set_len(4096)?;
                let theirs = Theirs::map(&file);
                theirs.create();
                let ours = [Mutex::new(0)?, Mutex::new(0)?];
                let (ready, is_ready) = pipe()?;
                let (_release, until) = pipe()?;
                let in_another = number % 2 == 1;
                let child = daemon(hold_both_kinds(
                    ours.clone(),
                    Fd::new(file),
                    order,
                    in_another,
                    released.to_vec(),
                    ready,
                    until,
                ))?;
                is_ready.recv()?;
                for lock in [0, 1, 2, 3_usize] {
                    assert_eq!(
                        released.contains(&lock),
                        match lock {
                            0 | 1 => ours[lock].try_lock().is_ok(),
                            // SAFETY: it was created, and stays; it is unlocked if it was locked.
                            _ => unsafe {
                                let mutex = theirs.0.add(lock - 2);
                                let free = libc::pthread_mutex_trylock(mutex) == 0;
                                free && libc::pthread_mutex_unlock(mutex) == 0
                            },
                        }
                    );
                }
                child.kill()?;
                // Waits, if need be, until the kernel has gone through the list.
                for lock in [0, 1, 2, 3_usize] {
                    let died = match lock {
                        0 | 1 => match ours[lock].lock() {
                            Ok(_) => false,
                            Err(LockError::Poisoned(poisoned)) => {
                                assert_eq!(poisoned.holder().pid(), child.pid());
                                poisoned.cause() == PoisonCause::Died
                            }
                            Err(other) => panic!("{other}"),
                        },
                        _ => {
                            let (error, _held) = theirs.lock(lock - 2);
                            if error == libc::EOWNERDEAD {
                                // SAFETY: this thread has it now.
 let done = unsafe { pthread_mutex_consistent(theirs.0.add(lock - 2)) };
 assert_eq!(done, 0);
                            } else {
                                assert_eq!(error, 0);
                            }
                            error == libc::EOWNERDEAD
                        }
                    };
                    assert_eq!(died, !released.contains(&lock), "{lock} of {order:?}, {released:?}");
                }
                ours.iter().for_each(Mutex::clear_poison);
                drop(take_all(&ours, &theirs, order));
                // SAFETY: nothing of it is in use.
                assert_eq!(unsafe { libc::munmap(theirs.0.cast(), 4096) }, 0);
            }
        }
    }
}

/// Takes all of them but the last, and says whether it is told of that that there are too many.
#[process]
fn hold_very_many(mutexes: Vec<Mutex<u32>>, told: Sender<bool>, until: Receiver<()>) {
    let (last, others) = mutexes.split_last().unwrap();
    let _held: Vec<_> = others.iter().map(|mutex| mutex.lock().unwrap()).collect();
    let too_many = matches!(last.lock(), Err(LockError::TooMany));
    told.send(too_many).unwrap();
    let _ = until.recv();
}

each_start_method! {
    fn a_holder_of_two_thousand_is_refused_another_and_killed_poisons_all() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        if hard < 5000 {
            not_tested("2,000 mutexes", format!("only {hard} descriptors are allowed"));
            return Ok(());
        }
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let mutexes: Vec<_> = (0..2001).map(|_| Mutex::new(0)).collect::<Result<_, _>>()?;
        let (told, is_told) = pipe()?;
        let (_release, until) = pipe()?;
        let child = daemon(hold_very_many(mutexes.clone(), told, until))?;
        assert!(is_told.recv()?);
        child.kill()?;
        let (last, others) = mutexes.split_last().unwrap();
        for mutex in others {
            let poisoned = mutex.lock().unwrap_err().into_poisoned().unwrap();
            assert_eq!(poisoned.cause(), PoisonCause::Died);
            assert_eq!(poisoned.holder().pid(), child.pid());
        }
        assert!(last.lock().is_ok() && !last.is_poisoned());
    }
}
