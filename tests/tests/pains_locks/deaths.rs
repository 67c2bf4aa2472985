//! Every way to die with every kind of lock: it is told, and names who died; and nobody who waits
//! for the dead is left waiting, however far from them.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{Signal, raise};
use offspring::sync::{
    Barrier, BarrierError, Condvar, LockAllError, LockError, LockTimeoutError, Mutex, Once,
    OnceError, OnceLock, PoisonCause, PoisonError, ReentrantLock, RwLock, Semaphore, TryLockError,
    lock_all,
};
use offspring::{Child, Sender, pipe, process};
use serde::{Deserialize, Serialize};
use tests::crew::until_asleep;
use tests::each_start_method;
use tests::family::{state_of, until};

/// Far more than anything takes; it is for telling what hangs.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// How somebody dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Death {
    /// Killed by somebody else.
    Killed,
    Crash,
    Exit,
    ExitAtOnce,
    /// It becomes another program, which lives.
    Exec,
    /// Its thread ends, and it lives.
    EndOfThread,
}

const DEATHS: [Death; 6] =
    [Death::Killed, Death::Crash, Death::Exit, Death::ExitAtOnce, Death::Exec, Death::EndOfThread];

impl Death {
    /// Dies so, or waits for being killed.
    pub(crate) fn die(self) {
        match self {
            Self::Killed => {}
            Self::Crash => raise(Signal::SIGABRT).unwrap(),
            Self::Exit => std::process::exit(3),
            // SAFETY: _exit has no memory effects.
            Self::ExitAtOnce => unsafe { libc::_exit(3) },
            Self::Exec => panic!("{}", Command::new("sleep").arg("600").exec()),
            Self::EndOfThread => return,
        }
        loop {
            thread::sleep(LONG);
        }
    }
}

/// One of each lock; all of them for one holder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Locks {
    pub(crate) mutex: Mutex<u32>,
    pub(crate) slice: Mutex<[u8]>,
    pub(crate) reentrant: ReentrantLock<u32>,
    pub(crate) rwlock: RwLock<u32>,
    pub(crate) read: RwLock<u32>,
    pub(crate) several: [Mutex<u32>; 3],
    pub(crate) semaphore: Semaphore,
    pub(crate) once: Once,
    pub(crate) once_lock: OnceLock<u32>,
}

impl Locks {
    pub(crate) fn new() -> offspring::Result<Self> {
        Ok(Self {
            mutex: Mutex::new(0)?,
            slice: Mutex::from_slice(&[0; 100])?,
            reentrant: ReentrantLock::new(0)?,
            rwlock: RwLock::new(0)?,
            read: RwLock::new(0)?,
            several: [Mutex::new(0)?, Mutex::new(0)?, Mutex::new(0)?],
            semaphore: Semaphore::new(2)?,
            once: Once::new()?,
            once_lock: OnceLock::new()?,
        })
    }

    /// Takes all of them, changes half of what they protect, and calls `with_all`.
    pub(crate) fn hold(&self, with_all: impl FnOnce()) {
        let mut mutex = self.mutex.lock().unwrap();
        *mutex = 1;
        let mut slice = self.slice.lock().unwrap();
        slice[..50].fill(1);
        let _outer = self.reentrant.lock().unwrap();
        let _inner = self.reentrant.lock().unwrap();
        let mut rwlock = self.rwlock.write().unwrap();
        *rwlock = 1;
        let _read = (self.read.read().unwrap(), self.read.read().unwrap());
        let mut several = lock_all(&self.several).unwrap();
        several.iter_mut().for_each(|guard| **guard = 1);
        let _permits = (self.semaphore.acquire().unwrap(), self.semaphore.acquire().unwrap());
        let once = self.once.call_once(|| {
            self.once_lock.get_or_init(|| {
                with_all();
                panic!("it is not to come back to this")
            });
        });
        once.unwrap();
    }
}

/// Takes all of them, says so, and dies.
#[process]
pub(crate) fn hold_and_die(locks: Locks, held: Sender<()>, death: Death) {
    let hold = move || {
        locks.hold(|| {
            held.send(()).unwrap();
            if death == Death::EndOfThread {
                // Without unwinding, and so without dropping any guard.
                // SAFETY: nothing of this thread's is used again: it owns nothing but locks.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
            }
            death.die();
        });
    };
    if death == Death::EndOfThread {
        thread::spawn(hold);
        Death::Killed.die();
    } else {
        hold();
    }
}

/// Somebody died with the lock: it was this child.
#[track_caller]
fn assert_tells<G, T>(poisoned: &PoisonError<G>, child: &Child<T>) {
    assert_eq!(poisoned.cause(), PoisonCause::Died, "{poisoned}");
    assert_eq!(poisoned.holder().pid(), child.pid(), "{poisoned}");
    assert_eq!(poisoned.holder().process(), child.name(), "{poisoned}");
    let text = poisoned.to_string();
    assert!(text.contains(child.name()) && text.contains(&child.pid().to_string()), "{text}");
}

/// Whoever wants the locks of the dead is told, gets them, and puts them right.
pub(crate) fn inherit(locks: &Locks, child: &Child<()>) {
    let in_time = |error: LockTimeoutError<_>| error.into_poisoned().expect("it comes in time");
    let poisoned = in_time(locks.mutex.lock_timeout(LONG).unwrap_err());
    assert_tells(&poisoned, child);
    assert!(poisoned.lock_name().contains(file!()), "{poisoned}");
    assert_eq!(*poisoned.into_inner(), 1);
    assert!(locks.mutex.is_poisoned() && locks.mutex.lock().is_err(), "until it is cleared");
    locks.mutex.clear_poison();
    assert!(locks.mutex.lock().is_ok() && !locks.mutex.is_poisoned());

    let Err(TryLockError::Poisoned(poisoned)) = locks.slice.try_lock() else { panic!() };
    assert_tells(&poisoned, child);
    assert!(poisoned.get_ref().iter().eq([vec![1; 50], vec![0; 50]].concat().iter()));
    drop(poisoned);
    locks.slice.clear_poison();
    assert!(locks.slice.lock().is_ok());

    let poisoned = locks.reentrant.lock().unwrap_err().into_poisoned().unwrap();
    assert_tells(&poisoned, child);
    locks.reentrant.clear_poison(); // with the guard in hand
    drop(poisoned);
    assert!(locks.reentrant.lock().is_ok());

    let poisoned = locks.rwlock.read().unwrap_err().into_poisoned().unwrap();
    assert_tells(&poisoned, child);
    assert_eq!(**poisoned.get_ref(), 1);
    drop(poisoned);
    let poisoned = locks.rwlock.write().unwrap_err().into_poisoned().unwrap();
    assert_tells(&poisoned, child);
    drop(poisoned);
    locks.rwlock.clear_poison();
    assert!(locks.rwlock.read().is_ok() && locks.rwlock.write().is_ok());

    assert!(locks.read.write_timeout(LONG).is_ok(), "readers have changed nothing");

    match lock_all(&locks.several) {
        Err(LockAllError::Poisoned(poisoned)) => {
            assert_tells(&poisoned, child);
            assert!(poisoned.into_inner().iter().all(|guard| **guard == 1));
        }
        other => panic!("{other:?}"),
    }
    assert!(locks.several.iter().all(Mutex::is_poisoned));
    locks.several.iter().for_each(Mutex::clear_poison);
    assert!(lock_all(&locks.several).is_ok());

    let permits = [(); 2].map(|()| locks.semaphore.acquire_timeout(LONG).unwrap());
    assert_eq!(locks.semaphore.available(), 0);
    drop(permits);
    assert_eq!(locks.semaphore.available(), 2);

    match locks.once.call_once(|| {}) {
        Err(OnceError::Poisoned(poisoned)) => assert_tells(&poisoned, child),
        other => panic!("{other:?}"),
    }
    locks.once.call_once_force(|| {}).unwrap();
    assert!(locks.once.is_completed());
    assert_eq!(locks.once_lock.get(), None);
    assert_eq!(*locks.once_lock.get_or_init(|| 5), 5);
}

each_start_method! {
    /// Pain 4. Python's `acquire` hangs, and with a timeout it is merely false.
    fn whoever_dies_with_a_lock_is_told_and_named() {
        for death in DEATHS {
            let locks = Locks::new()?;
            let (held, holds) = pipe()?;
            let child = hold_and_die(locks.clone(), held, death).spawn()?;
            holds.recv()?;
            match death {
                Death::Killed => child.kill()?,
                Death::Exec | Death::EndOfThread => {}
                _ => drop(child.wait()?),
            }
            inherit(&locks, &child);
            let lives_on = matches!(death, Death::Exec | Death::EndOfThread);
            assert!(!lives_on || child.is_alive());
            child.kill()?;
            child.wait()?;
            // Those who have died with nothing in hand poison nothing.
            assert!(locks.mutex.lock().is_ok() && locks.rwlock.read().is_ok());
        }
    }

    fn locks_of_the_dead_are_told_to_whoever_comes_later() {
        // While nobody has them mapped who could have seen it.
        let locks = Locks::new()?;
        let (held, holds) = pipe()?;
        let child = hold_and_die(locks.clone(), held, Death::Killed).spawn()?;
        holds.recv()?;
        let (keep, kept) = pipe()?;
        keep.send(locks)?;
        child.kill()?;
        child.wait()?;
        inherit(&kept.recv()?, &child);
    }
}

/// Which of the locks somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Which {
    Mutex,
    Slice,
    Reentrant,
    Read,
    Write,
    WriteAfterReaders,
    Several,
    Semaphore,
    Once,
    OnceLock,
}

const ALL: [Which; 10] = [
    Which::Mutex,
    Which::Slice,
    Which::Reentrant,
    Which::Read,
    Which::Write,
    Which::WriteAfterReaders,
    Which::Several,
    Which::Semaphore,
    Which::Once,
    Which::OnceLock,
];

/// Waits for a lock; says who died with it, if somebody did, and puts it right.
#[process]
fn wait_for(locks: Locks, which: Which) -> Option<u32> {
    fn dead<G>(error: LockError<G>) -> (u32, G) {
        let poisoned = error.into_poisoned().expect("it was taken");
        (poisoned.holder().pid(), poisoned.into_inner())
    }
    match which {
        Which::Mutex => {
            let (dead, _guard) = locks.mutex.lock().map_err(dead).err()?;
            locks.mutex.clear_poison();
            Some(dead)
        }
        Which::Slice => {
            let (dead, _guard) = locks.slice.lock().map_err(dead).err()?;
            locks.slice.clear_poison();
            Some(dead)
        }
        Which::Reentrant => {
            let (dead, _guard) = locks.reentrant.lock().map_err(dead).err()?;
            locks.reentrant.clear_poison();
            Some(dead)
        }
        Which::Read => {
            let (dead, _guard) = locks.rwlock.read().map_err(dead).err()?;
            Some(dead)
        }
        Which::Write => {
            let (dead, _guard) = locks.rwlock.write().map_err(dead).err()?;
            Some(dead)
        }
        Which::WriteAfterReaders => {
            let (dead, _guard) = locks.read.write().map_err(dead).err()?;
            Some(dead)
        }
        Which::Several => {
            let poisoned = lock_all(&locks.several).err()?.into_poisoned().unwrap();
            locks.several.iter().for_each(Mutex::clear_poison);
            Some(poisoned.holder().pid())
        }
        Which::Semaphore => {
            drop(locks.semaphore.acquire().unwrap());
            None
        }
        Which::Once => match locks.once.call_once(|| {}) {
            Err(OnceError::Poisoned(poisoned)) => {
                locks.once.call_once_force(|| {}).unwrap();
                Some(poisoned.holder().pid())
            }
            other => {
                other.unwrap();
                None
            }
        },
        Which::OnceLock => {
            assert_eq!(*locks.once_lock.get_or_init(|| 5), 5);
            None
        }
    }
}

fn await_sleep_of<T>(children: &[Child<T>]) {
    for child in children {
        until_asleep(child.pid().cast_signed());
    }
}

const WAITERS: usize = 4;

each_start_method! {
    fn whoever_waits_for_a_lock_of_the_dead_is_told() {
        let locks = Locks::new()?;
        let (held, holds) = pipe()?;
        let holder = hold_and_die(locks.clone(), held, Death::Killed).spawn()?;
        holds.recv()?;
        let waiters: Vec<Vec<_>> = ALL
            .iter()
            .map(|which| (0..WAITERS).map(|_| wait_for(locks.clone(), *which).spawn()).collect())
            .collect::<Result<_, _>>()?;
        waiters.iter().for_each(|waiters| await_sleep_of(waiters));
        holder.kill()?;
        for (which, waiters) in ALL.iter().zip(waiters) {
            let told: Vec<_> = waiters.into_iter().map(Child::join).collect::<Result<_, _>>()?;
            let mut told: Vec<_> = told.into_iter().flatten().collect();
            if *which == Which::Once {
                told.dedup(); // to be told is not to hold it: others may be told as well
            }
            let count = match which {
                Which::Mutex | Which::Slice | Which::Reentrant | Which::Several | Which::Once => 1,
                // Nobody has healed it.
                Which::Read | Which::Write => WAITERS,
                Which::WriteAfterReaders | Which::Semaphore | Which::OnceLock => 0,
            };
            assert_eq!(told, vec![holder.pid(); count], "{which:?}");
        }
        holder.wait()?;
        assert_eq!(locks.semaphore.available(), 2);
    }

    /// They hold nothing, so nobody is told.
    fn whoever_dies_waiting_for_a_lock_harms_nobody() {
        let locks = Locks::new()?;
        let (held, holds) = pipe()?;
        let holder = hold_and_die(locks.clone(), held, Death::Killed).spawn()?;
        holds.recv()?;
        let waiters: Vec<_> =
            ALL.iter().map(|which| wait_for(locks.clone(), *which).spawn()).collect::<Result<_, _>>()?;
        await_sleep_of(&waiters);
        for waiter in &waiters {
            waiter.kill()?;
            waiter.wait()?;
        }
        holder.kill()?;
        holder.wait()?;
        inherit(&locks, &holder);
    }
}

/// Waits once, whatever it is for.
#[process]
fn wait_once(mutex: Mutex<u32>, condvar: Condvar) {
    drop(condvar.wait(mutex.lock().unwrap()).unwrap());
}

#[process]
fn wait_on_barrier(barrier: Barrier) -> Result<usize, String> {
    barrier.wait().map(|result| result.index()).map_err(|error| error.to_string())
}

fn signal<T>(child: &Child<T>, signal: Signal) {
    child.send_signal(signal as i32).unwrap();
}

fn stop<T>(child: &Child<T>) {
    signal(child, Signal::SIGSTOP);
    until(|| state_of(child.pid()) == Some('T'));
}

/// How many slots lie between two waiters, when those between have left.
const APART: usize = 40;

each_start_method! {
    only [forkserver ForkServer]
    fn a_notification_of_the_dead_is_passed_on_however_far_it_is() {
        let (mutex, condvar) = (Mutex::new(0)?, Condvar::new()?);
        let wait = || wait_once(mutex.clone(), condvar.clone()).spawn();
        let between: Vec<_> = (0..APART).map(|_| wait()).collect::<Result<_, _>>()?;
        await_sleep_of(&between);
        let victim = wait()?;
        await_sleep_of(std::slice::from_ref(&victim));
        assert_eq!(condvar.notify_n(APART), APART);
        for child in between {
            child.join()?;
        }
        let other = wait()?;
        await_sleep_of(std::slice::from_ref(&other));
        stop(&victim); // which has waited longest
        assert_eq!(condvar.notify_one(), 1);
        victim.kill()?;
        other.join()?;
    }

    only [forkserver ForkServer]
    fn a_barrier_breaks_for_the_others_however_far_they_are() {
        let barrier = Barrier::new(APART)?;
        let wait = || wait_on_barrier(barrier.clone()).spawn();
        let between: Vec<_> = (1..APART).map(|_| wait()).collect::<Result<_, _>>()?;
        await_sleep_of(&between);
        between.iter().for_each(stop);
        barrier.wait()?; // the last has come
        let victim = wait()?;
        await_sleep_of(std::slice::from_ref(&victim));
        for child in between {
            signal(&child, Signal::SIGCONT);
            child.join()??;
        }
        let other = wait()?;
        await_sleep_of(std::slice::from_ref(&other));
        victim.kill()?;
        assert_eq!(other.join()?, Err(BarrierError::WaiterDied.to_string()));
    }
}

each_start_method! {
    only [forkserver ForkServer]
    /// The memory stays as long as somebody owns a word in it, or the kernel would not find it.
    fn a_guard_whose_lock_has_no_handle_left_is_told() {
        let locks = Locks::new()?;
        let child = forget_guards(locks.clone()).spawn()?;
        child.wait()?;
        assert_tells(&locks.mutex.lock().unwrap_err().into_poisoned().unwrap(), &child);
        assert_tells(&locks.rwlock.write().unwrap_err().into_poisoned().unwrap(), &child);
        assert!(locks.read.write().is_ok());
        assert_eq!(locks.semaphore.available(), 2);
        child.join()?;
    }
}

#[process]
fn forget_guards(locks: Locks) {
    std::mem::forget((locks.mutex.lock().unwrap(), locks.rwlock.write().unwrap()));
    std::mem::forget((locks.read.read().unwrap(), locks.semaphore.acquire().unwrap()));
    drop(locks);
}
