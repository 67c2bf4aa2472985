//! Holders that lose a lock and live on: a thread ends, another program is executed, a copy lets go.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{fs, thread};

use nix::libc;
use offspring::{Child, Process, Receiver, Sender, pipe, process};
use tests::crew::{daemon, until_asleep};
use tests::each_start_method;
use tests::family::until;

use super::{Lock, Outcome, is_held, want};

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
