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
#[path = "pains_locks/living_on.rs"]
mod living_on;
#[path = "pains_locks/many.rs"]
mod many;
#[path = "pains_locks/permits.rs"]
mod permits;
#[path = "pains_locks/robust_list.rs"]
mod robust_list;
#[path = "pains_locks/wall_clock.rs"]
mod wall_clock;

use std::error::Error;
use std::mem;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{
    SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction,
};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use nix::unistd::gettid;
use offspring::sync::{
    Barrier, BarrierError, Condvar, Event, LockError, Mutex, PoisonCause, ReentrantLock, RwLock,
    Semaphore,
};
use offspring::{Child, Process, Receiver, Sender, pipe, process};
use serde::{Deserialize, Serialize};
use tests::crew::{daemon, until_asleep};
use tests::each_start_method;
use tests::family::not_tested;

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
