//! Whatever the clock on the wall does: no wait looks at it, which the kernel itself bears witness to.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::libc;
use offspring::sync::{Barrier, BarrierError, Condvar, Event, LockTimeoutError, Mutex, Semaphore};
use offspring::{JoinError, pipe, process};
use tests::each_start_method;
use tests::family::not_tested;

use super::deaths::{Death, Locks, hold_and_die};

/// Waits for each thing that can be waited for with a timeout; nothing is there.
#[process]
fn wait_in_vain(locks: Locks, how_long: Duration) -> Vec<Duration> {
    assert!(forbid_the_clock_on_the_wall());
    let (condvar, event, own) =
        (Condvar::new().unwrap(), Event::new().unwrap(), Mutex::new(0).unwrap());
    let (barrier, empty) = (Barrier::new(2).unwrap(), Semaphore::new(0).unwrap());
    let later = Barrier::builder(2).timeout(how_long).build().unwrap();
    let waits: [&dyn Fn(); 11] = [
        &|| {
            assert!(matches!(
                locks.mutex.lock_timeout(how_long),
                Err(LockTimeoutError::Timeout { .. })
            ))
        },
        &|| {
            assert!(matches!(
                locks.reentrant.lock_timeout(how_long),
                Err(LockTimeoutError::Timeout { .. })
            ))
        },
        &|| {
            assert!(matches!(
                locks.rwlock.read_timeout(how_long),
                Err(LockTimeoutError::Timeout { .. })
            ))
        },
        &|| {
            assert!(matches!(
                locks.rwlock.write_timeout(how_long),
                Err(LockTimeoutError::Timeout { .. })
            ))
        },
        &|| {
            assert!(matches!(
                locks.read.write_timeout(how_long),
                Err(LockTimeoutError::Timeout { .. })
            ))
        },
        &|| assert!(locks.semaphore.acquire_timeout(how_long).is_err()),
        &|| assert!(empty.acquire_timeout(how_long).is_err()),
        &|| assert!(!event.wait_timeout(how_long)),
        &|| assert!(condvar.wait_timeout(own.lock().unwrap(), how_long).unwrap().1.timed_out()),
        &|| assert_eq!(barrier.wait_timeout(how_long), Err(BarrierError::Timeout)),
        &|| assert_eq!(later.wait(), Err(BarrierError::Timeout)),
    ];
    let mut took = Vec::new();
    for wait in waits {
        let begun = Instant::now();
        wait();
        took.push(begun.elapsed());
    }
    took
}

/// From now on, whoever sleeps on a word until some time by the clock on the wall kills the process.
/// False if that cannot be had.
fn forbid_the_clock_on_the_wall() -> bool {
    let op = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let equal = |k, jt, jf| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, jt, jf);
    let any = |k, jt, jf| op(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, k, jt, jf);
    let give = |what| op(libc::BPF_RET | libc::BPF_K, what, 0, 0);
    // Of `struct seccomp_data`: the number, and the lower halves of the arguments.
    let argument = |index: u32| 16 + 8 * index;
    let mut filter = [
        load(0),
        equal(libc::SYS_futex as u32, 0, 6),
        load(argument(3)), // the time
        equal(0, 9, 0),
        load(argument(1)),
        any(libc::FUTEX_CLOCK_REALTIME as u32, 8, 0),
        op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 127, 0, 0),
        equal(libc::FUTEX_LOCK_PI as u32, 6, 5), // which knows no other clock
        equal(libc::SYS_futex_waitv as u32, 0, 4),
        load(argument(3)),
        equal(0, 2, 0),
        load(argument(4)),
        equal(libc::CLOCK_REALTIME as u32, 1, 0),
        give(libc::SECCOMP_RET_ALLOW),
        give(libc::SECCOMP_RET_KILL_PROCESS),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the program, and takes none that could do harm.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
    }
}

/// Sleeps as is forbidden there.
#[process]
fn wait_by_the_clock_on_the_wall() -> bool {
    let forbidden = forbid_the_clock_on_the_wall();
    let word = 0u32;
    let at = libc::timespec { tv_sec: 1, tv_nsec: 0 };
    let op = libc::FUTEX_WAIT_BITSET | libc::FUTEX_CLOCK_REALTIME;
    // SAFETY: both live for the call.
    unsafe { libc::syscall(libc::SYS_futex, &word, op, 0, &at, 0, u32::MAX) };
    forbidden
}

each_start_method! {
    only [forkserver ForkServer]
    /// Pain 31. Python's locks wait until some time by the clock on the wall.
    fn no_wait_is_by_the_clock_on_the_wall() {
        match wait_by_the_clock_on_the_wall().spawn()?.join() {
            Err(JoinError::Exited(exit)) => assert_eq!(exit.status().signal(), Some(libc::SIGSYS)),
            Ok(false) => {
                not_tested("that no wait is by the clock on the wall", "no filter of system calls");
                return Ok(());
            }
            other => panic!("what is forbidden is not: {other:?}"),
        }
        let locks = Locks::new()?;
        let (held, holds) = pipe()?;
        let holder = hold_and_die(locks.clone(), held, Death::Killed).spawn()?;
        holds.recv()?;
        let how_long = Duration::from_millis(30);
        for took in wait_in_vain(locks, how_long).spawn()?.join()? {
            assert!(took >= how_long, "{took:?}");
        }
        holder.kill()?;
    }
}
