//! Whatever the clock on the wall is set to: a wait takes its time.

use std::error::Error;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{io, mem, ptr, thread};

use nix::libc;
use nix::unistd::gettid;
use offspring::sync::{
    Barrier, BarrierError, Condvar, Event, LockTimeoutError, Mutex, ReentrantLock, RwLock,
    Semaphore,
};
use tests::crew::{is_asleep, until_asleep};
use tests::each_start_method;
use tests::family::{not_tested, until};

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
