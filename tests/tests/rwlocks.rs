//! Locks of one writer or many readers, and what becomes of one whose readers or writer are gone.
//! Python's module has none. What they have in common with other locks is in `locks.rs`.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use nix::unistd::gettid;
use offspring::sync::{
    Barrier, LockError, LockTimeoutError, PoisonCause, PoisonError, RwLock, TryLockError,
};
use offspring::{Receiver, Sender, pipe, process};
use serde::{Deserialize, Serialize};
use tests::crew::{By, Worker, daemon, until_asleep};
use tests::each_start_method;

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(50);

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What to do with the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Use {
    Read,
    Write,
}

/// Says who it is, reads the value, or doubles it and adds one; gives what it has read.
#[process]
fn use_once(lock: RwLock<u32>, how: Use, about_to: Sender<i32>) -> u32 {
    about_to.send(gettid().as_raw()).unwrap();
    match how {
        Use::Read => *lock.read().unwrap(),
        Use::Write => {
            let mut value = lock.write().unwrap();
            *value = *value * 2 + 1;
            *value
        }
    }
}

/// Starts one who does that, and returns when it waits.
fn waiting(by: By, lock: &RwLock<u32>, how: Use) -> Worker<u32> {
    let (about_to, coming) = pipe().unwrap();
    let worker = by.start(use_once(lock.clone(), how, about_to));
    until_asleep(coming.recv().unwrap());
    worker
}

/// How one who has the lock gives it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum End {
    Drop,
    Panic,
    Exit,
    Kill,
    /// A thread leaks the guard, and ends; its process goes on.
    Leak,
}

/// Takes the lock, and gives it up when it is told.
#[process]
fn hold(
    lock: RwLock<u32>,
    how: Use,
    end: End,
    held: Sender<()>,
    go: Receiver<()>,
    over: Receiver<()>,
) {
    let lose = move || {
        let reading = (how == Use::Read).then(|| lock.read().unwrap());
        let writing = (how == Use::Write).then(|| lock.write().unwrap());
        held.send(()).unwrap();
        let _ = go.recv();
        match end {
            End::Drop => {}
            End::Panic => resume_unwind(Box::new("on purpose")),
            End::Exit => std::process::exit(0),
            End::Kill => raise(Signal::SIGKILL).unwrap(),
            End::Leak => mem::forget((reading, writing)),
        }
    };
    if end == End::Leak {
        thread::spawn(lose).join().unwrap();
        let _ = over.recv();
    } else {
        lose();
    }
}

/// Somebody who has the lock.
struct Held {
    worker: Worker<()>,
    go: Sender<()>,
    over: Sender<()>,
}

impl Held {
    fn by(by: By, lock: &RwLock<u32>, how: Use, end: End) -> Self {
        let (held, is_held) = pipe().unwrap();
        let ((go, let_go), (over, is_over)) = (pipe().unwrap(), pipe().unwrap());
        let worker = by.start(hold(lock.clone(), how, end, held, let_go, is_over));
        is_held.recv().unwrap();
        Self { worker, go, over }
    }

    /// Has it given up, and does something before the process goes as well, if that lives on.
    fn end<R>(self, meanwhile: impl FnOnce() -> R) -> R {
        drop(self.go);
        let result = meanwhile();
        drop(self.over);
        self.worker.bury();
        result
    }
}

/// Reads, and goes on when all others read as well.
#[process]
fn read_together(lock: RwLock<u32>, together: Barrier) -> u32 {
    let value = lock.read().unwrap();
    together.wait().unwrap();
    *value
}

fn readers_are_together(by: By) -> Outcome {
    // More than there is room for at first.
    let (lock, together) = (RwLock::new(5)?, Barrier::new(21)?);
    let readers: Vec<_> =
        (0..20).map(|_| by.start(read_together(lock.clone(), together.clone()))).collect();
    let reading = lock.read().unwrap();
    together.wait()?;
    for reader in readers {
        assert_eq!(reader.join(), 5);
    }
    assert!(matches!(lock.try_read(), Ok(value) if *value == *reading));
    drop(reading);
    *lock.try_write().unwrap() += 1;
    Ok(())
}

/// Changes two values in step, or looks whether they are.
#[process]
fn keep_in_step(lock: RwLock<[u64; 2]>, writes: bool, times: u32) {
    for _ in 0..times {
        if writes {
            let mut values = lock.write().unwrap();
            values[0] += 1;
            values[1] += 1;
        } else {
            let values = lock.read().unwrap();
            assert_eq!(values[0], values[1]);
        }
    }
}

fn writers_are_alone(by: By) -> Outcome {
    let lock = RwLock::new([0, 0])?;
    let workers: Vec<_> =
        (0..4).map(|n| by.start(keep_in_step(lock.clone(), n % 2 == 0, 1500))).collect();
    workers.into_iter().for_each(Worker::join);
    assert_eq!(*lock.read().unwrap(), [3000, 3000]);
    Ok(())
}

/// Whoever else holds it, each operation does or does not go through.
fn operations_beside_another(by: By) -> Outcome {
    let lock = RwLock::new(1)?;
    let timed_out = |result: Result<(), bool>, timeout: Duration, before: Instant| {
        assert_eq!(result, Err(true));
        assert!(before.elapsed() >= timeout);
    };
    for how in [Use::Read, Use::Write] {
        let holder = Held::by(by, &lock, how, End::Drop);
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        assert_eq!(lock.try_read().is_ok(), how == Use::Read);
        for timeout in [Duration::ZERO, SHORT] {
            let before = Instant::now();
            let write = lock.write_timeout(timeout).map(drop);
            timed_out(
                write.map_err(|e| matches!(e, LockTimeoutError::Timeout { .. })),
                timeout,
                before,
            );
            let before = Instant::now();
            let read = lock.read_timeout(timeout).map(drop);
            match how {
                Use::Read => assert!(read.is_ok()),
                Use::Write => timed_out(
                    read.map_err(|e| matches!(e, LockTimeoutError::Timeout { .. })),
                    timeout,
                    before,
                ),
            }
        }
        // A writer that gave up keeps nobody out.
        assert_eq!(lock.try_read().is_ok(), how == Use::Read);
        holder.end(|| {
            drop(lock.write_timeout(Duration::MAX).unwrap());
            drop(lock.read_timeout(Duration::MAX).unwrap());
        });
        drop(lock.read_timeout(Duration::ZERO).unwrap());
        drop(lock.write_timeout(Duration::ZERO).unwrap());
    }
    Ok(())
}

/// One who waits is let in when the other is gone, whoever it was, and whatever it did.
fn waiters_are_let_in(by: By) -> Outcome {
    for (held, waits) in
        [(Use::Read, Use::Write), (Use::Write, Use::Read), (Use::Write, Use::Write)]
    {
        let lock = RwLock::new(1)?;
        let holder = Held::by(by, &lock, held, End::Drop);
        let waiters = [waiting(by, &lock, waits), waiting(by, &lock, waits)];
        holder.end(|| {});
        let mut seen = waiters.map(Worker::join);
        seen.sort_unstable();
        assert_eq!(seen, if waits == Use::Read { [1, 1] } else { [3, 7] });
    }
    Ok(())
}

/// Who has come after a writer goes after it; so writers are not starved.
fn a_waiting_writer_goes_first(by: By) -> Outcome {
    let lock = RwLock::new(1)?;
    let reading = lock.read().unwrap();
    let writer = waiting(by, &lock, Use::Write);
    let reader = waiting(by, &lock, Use::Read);
    // But this thread has no one to wait for but itself.
    let again = [lock.read().unwrap(), lock.try_read().unwrap(), lock.read_timeout(LONG).unwrap()];
    assert!(again.iter().all(|value| **value == 1));
    drop(reading);
    drop(again);
    assert_eq!((writer.join(), reader.join()), (3, 3));
    Ok(())
}

/// Reads without a pause, so that there is always one who reads.
#[process]
fn read_in_turns(lock: RwLock<u32>, mine: Barrier, stop: RwLock<bool>) -> u32 {
    let mut reads = 0;
    let mut reading = Some(lock.read().unwrap());
    mine.wait().unwrap();
    while !*stop.read().unwrap() {
        // A thread that reads already need not wait for a writer that does. So it lets go.
        drop(reading.take());
        reading = Some(lock.read().unwrap());
        reads += 1;
    }
    reads
}

fn writers_get_through(by: By) -> Outcome {
    let (lock, stop, begun) = (RwLock::new(0)?, RwLock::new(false)?, Barrier::new(4)?);
    let readers: Vec<_> = (0..3)
        .map(|_| by.start(read_in_turns(lock.clone(), begun.clone(), stop.clone())))
        .collect();
    begun.wait()?;
    for round in 1..=200 {
        let mut value = lock.write().unwrap();
        *value += 1;
        assert_eq!(*value, round);
    }
    *stop.write().unwrap() = true;
    for reader in readers {
        println!("{} reads", reader.join());
    }
    Ok(())
}

each_start_method! {
    fn readers_of_many_processes_read_at_the_same_time() {
        readers_are_together(By::Children)?;
    }

    only [spawn Spawn]
    fn many_threads_read_at_the_same_time() {
        readers_are_together(By::Threads)?;
    }

    fn a_process_that_writes_is_alone() {
        writers_are_alone(By::Children)?;
    }

    only [spawn Spawn]
    fn a_thread_that_writes_is_alone() {
        writers_are_alone(By::Threads)?;
    }

    fn operations_beside_another_process_wait_or_do_not() {
        operations_beside_another(By::Children)?;
    }

    only [spawn Spawn]
    fn operations_beside_another_thread_wait_or_do_not() {
        operations_beside_another(By::Threads)?;
    }

    fn processes_that_wait_are_let_in() {
        waiters_are_let_in(By::Children)?;
    }

    only [spawn Spawn]
    fn threads_that_wait_are_let_in() {
        waiters_are_let_in(By::Threads)?;
    }

    fn a_writer_that_waits_goes_before_those_who_come_later() {
        a_waiting_writer_goes_first(By::Children)?;
    }

    only [spawn Spawn]
    fn a_thread_that_waits_to_write_goes_before_those_who_come_later() {
        a_waiting_writer_goes_first(By::Threads)?;
    }

    fn readers_without_a_pause_do_not_starve_a_writer() {
        writers_get_through(By::Children)?;
    }

    only [spawn Spawn]
    fn threads_that_read_without_a_pause_do_not_starve_a_writer() {
        writers_get_through(By::Threads)?;
    }

    only [spawn Spawn]
    /// What a thread is told that waits for itself.
    fn a_thread_that_has_it_can_read_again_and_nothing_else() {
        let made = line!() + 1;
        let lock = RwLock::new(1).unwrap();
        let reading = lock.read().unwrap();
        drop(lock.read().unwrap());
        let wanted = line!() + 1;
        let text = match lock.write() {
            Err(LockError::Deadlock(deadlock)) => deadlock.to_string(),
            other => panic!("{other:?}"),
        };
        for line in [made, wanted] {
            assert!(text.contains(&format!("{}:{line}:", file!())), "{text}");
        }
        assert!(text.contains("the RwLock "), "{text}");
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        assert!(matches!(lock.write_timeout(LONG), Err(LockTimeoutError::Deadlock(_))));
        drop(lock.read().unwrap()); // no trace is left of those who asked
        thread::scope(|scope| scope.spawn(|| drop(lock.try_read().unwrap())).join().unwrap());
        drop(reading);

        let writing = lock.write().unwrap();
        assert!(matches!(lock.write(), Err(LockError::Deadlock(_))));
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        assert!(matches!(lock.write_timeout(LONG), Err(LockTimeoutError::Deadlock(_))));
        assert!(matches!(lock.read(), Err(LockError::Deadlock(_))));
        assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
        assert!(matches!(lock.read_timeout(LONG), Err(LockTimeoutError::Deadlock(_))));
        drop(writing);
        assert_eq!(*lock.write().unwrap(), 1);
    }

    only [spawn Spawn]
    fn debug_shows_the_value_or_who_writes() {
        let lock = RwLock::new(7).unwrap();
        let reading = lock.read().unwrap();
        let shown = format!("{lock:?}");
        assert!(shown.contains("data: 7, readers: 1, poisoned: false"), "{shown}");
        assert!(shown.contains(file!()), "{shown}");
        assert_eq!(format!("{reading:?}"), "7");
        // One who waits for writing keeps new readers out, and does not write.
        let writer = waiting(By::Threads, &lock, Use::Write);
        let shown = thread::scope(|scope| scope.spawn(|| format!("{lock:?}")).join().unwrap());
        assert!(shown.contains("waited_for_by") && shown.contains("readers: 1"), "{shown}");
        drop(reading);
        assert_eq!(writer.join(), 15);
        let writing = lock.write().unwrap();
        let shown = format!("{lock:?}");
        let writer = format!(
            "process: {:?}, pid: {}",
            offspring::current().name(),
            std::process::id()
        );
        assert!(shown.contains("locked_by") && shown.contains(&writer), "{shown}");
        assert_eq!(format!("{writing:?} {writing}"), "15 15");
    }

    only [spawn Spawn]
    fn slices_are_read_and_written() {
        let lock = RwLock::from_fn(100, |index| index as u16).unwrap();
        lock.write().unwrap().reverse();
        assert!(lock.read().unwrap().iter().copied().eq((0..100).rev()));
        assert_eq!(*RwLock::from_slice(&[1.5, 2.5]).unwrap().read().unwrap(), [1.5, 2.5]);
        assert_eq!(*RwLock::<[u64]>::zeroed(2).unwrap().read().unwrap(), [0, 0]);
    }
}

/// A reader changes nothing, so it poisons nothing: whoever waits goes on.
fn lost_readers_are_not_missed(by: By, ways: &[End]) -> Outcome {
    for &end in ways {
        let lock = RwLock::new(1)?;
        let staying = Held::by(by, &lock, Use::Read, End::Drop);
        let clumsy = Held::by(by, &lock, Use::Read, end);
        let writer = waiting(by, &lock, Use::Write);
        let reader = waiting(by, &lock, Use::Read);
        clumsy.end(|| {
            staying.end(|| {});
            assert_eq!((writer.join(), reader.join()), (3, 3), "{end:?}");
        });
        assert!(!lock.is_poisoned());

        // So it is if nobody comes before all is over.
        Held::by(by, &lock, Use::Read, end).end(|| {});
        assert!(!lock.is_poisoned());
        *lock.try_write().unwrap() += 1;
    }
    Ok(())
}

/// What one who comes after a lost writer is told, and the value.
fn told<G: std::ops::Deref<Target = u32>>(error: Option<PoisonError<G>>) -> (PoisonCause, u32) {
    let error = error.expect("it is poisoned");
    (error.cause(), *error.into_inner())
}

/// Waits in vain, and says what it was told, as far as that travels.
#[process]
fn wait_in_vain(lock: RwLock<u32>, how: Use, about_to: Sender<i32>) -> (bool, u32) {
    about_to.send(gettid().as_raw()).unwrap();
    let (cause, value) = match how {
        Use::Read => told(lock.read().unwrap_err().into_poisoned()),
        Use::Write => told(lock.write().unwrap_err().into_poisoned()),
    };
    (cause == PoisonCause::Panicked, value)
}

/// A writer that is lost poisons the lock, for readers as well.
fn lost_writers_poison(by: By, ways: &[End]) -> Outcome {
    for &end in ways {
        let lock = RwLock::new(1)?;
        let clumsy = Held::by(by, &lock, Use::Write, end);
        let waiters = [Use::Read, Use::Write, Use::Read].map(|how| {
            let (about_to, coming) = pipe().unwrap();
            let worker = by.start(wait_in_vain(lock.clone(), how, about_to));
            until_asleep(coming.recv().unwrap());
            worker
        });
        let expected = (end == End::Panic, 1);
        clumsy.end(|| {
            for waiter in waiters {
                assert_eq!(waiter.join(), expected, "{end:?}");
            }
        });
        assert!(lock.is_poisoned());
        let cause = if end == End::Panic { PoisonCause::Panicked } else { PoisonCause::Died };
        assert_eq!(told(lock.read().unwrap_err().into_poisoned()), (cause, 1));
        assert_eq!(told(lock.try_read().unwrap_err().into_poisoned()), (cause, 1));
        assert_eq!(told(lock.read_timeout(LONG).unwrap_err().into_poisoned()), (cause, 1));
        // Readers that were told read all the same, and together.
        let reading = lock.read().unwrap_err().into_inner();
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        assert_eq!(*reading, *lock.read().unwrap_err().into_inner());
        drop(reading);
        lock.clear_poison();
        assert!(!lock.is_poisoned());
        assert_eq!(*lock.read().unwrap(), 1);
        assert_eq!(*lock.write().unwrap(), 1);

        Held::by(by, &lock, Use::Write, end).end(|| {});
        assert!(lock.is_poisoned());
        assert_eq!(told(lock.read().unwrap_err().into_poisoned()), (cause, 1)); // the first to come
        lock.clear_poison();
        *lock.write().unwrap() += 1;
    }
    Ok(())
}

const ENDS: [End; 4] = [End::Panic, End::Exit, End::Kill, End::Leak];

each_start_method! {
    fn a_reader_that_is_lost_blocks_nobody_and_poisons_nothing() {
        lost_readers_are_not_missed(By::Children, &ENDS)?;
    }

    only [spawn Spawn]
    fn a_thread_that_read_and_is_lost_blocks_nobody_and_poisons_nothing() {
        lost_readers_are_not_missed(By::Threads, &[End::Panic, End::Leak])?;
    }

    fn a_writer_that_is_lost_poisons() {
        lost_writers_poison(By::Children, &ENDS)?;
    }

    only [spawn Spawn]
    fn a_thread_that_wrote_and_is_lost_poisons() {
        lost_writers_poison(By::Threads, &[End::Panic, End::Leak])?;
    }

    /// Killed on its way past the readers, it has changed nothing.
    fn a_writer_that_is_killed_while_it_waits_harms_nobody() {
        let lock = RwLock::new(1)?;
        let reading = lock.read().unwrap();
        let victim = waiting(By::Children, &lock, Use::Write);
        let readers = [(); 3].map(|()| waiting(By::Children, &lock, Use::Read));
        let writer = waiting(By::Children, &lock, Use::Write);
        let Worker::Child(victim) = victim else { unreachable!() };
        victim.kill()?;
        victim.wait()?;
        assert!(!lock.is_poisoned());
        // The next of the writers keeps the readers out, or they are in already.
        drop(reading);
        assert_eq!(writer.join(), 3);
        for reader in readers {
            assert!(matches!(reader.join(), 1 | 3));
        }
        assert!(!lock.is_poisoned());

        // The only one: those whom it kept out are let in while another reads.
        let reading = lock.read().unwrap();
        let victim = waiting(By::Children, &lock, Use::Write);
        let readers = [(); 3].map(|()| waiting(By::Children, &lock, Use::Read));
        let Worker::Child(victim) = victim else { unreachable!() };
        victim.kill()?;
        for reader in readers {
            assert_eq!(reader.join(), 3);
        }
        drop(reading);
        victim.wait()?;
        assert!(!lock.is_poisoned());
    }

    fn a_reader_that_is_killed_while_it_waits_harms_nobody() {
        let lock = RwLock::new(1)?;
        let writing = lock.write().unwrap();
        let waiters = [Use::Read, Use::Read, Use::Write, Use::Read]
            .map(|how| waiting(By::Children, &lock, how));
        let [Worker::Child(first), second, writer, Worker::Child(last)] = waiters else {
            unreachable!()
        };
        for victim in [first, last] {
            victim.kill()?;
            victim.wait()?;
        }
        drop(writing);
        assert_eq!(writer.join(), 3);
        assert!(matches!(second.join(), 1 | 3));
        assert!(!lock.is_poisoned());
    }

    only [spawn Spawn]
    /// Panics while it reads and while it waits for a panic to end.
    fn a_panic_poisons_what_was_written_and_not_what_was_read() {
        let (read, written) = (RwLock::new(0).unwrap(), RwLock::new(0).unwrap());
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _reading = read.read().unwrap();
            let _writing = written.write().unwrap();
            resume_unwind(Box::new("on purpose"));
        }));
        assert!(!read.is_poisoned() && written.is_poisoned());
        drop(read.try_write().unwrap());
    }
}

#[process]
fn write_for_ever(lock: RwLock<[u64; 2]>, begun: Sender<()>) {
    begun.send(()).unwrap();
    loop {
        let mut values = lock.write().unwrap_or_else(|error| error.into_inner());
        values[0] += 1;
        values[1] = values[0];
        drop(values);
        drop(lock.read());
    }
}

each_start_method! {
    /// Whoever is killed, at whatever moment, the others go on; what is not poisoned is in step.
    fn kills_at_random_moments_stop_nobody() {
        let lock = RwLock::new([0, 0])?;
        let (begun, has_begun) = pipe()?;
        let start = || daemon(write_for_ever(lock.clone(), begun.clone()));
        let mut workers = vec![start()?, start()?];
        for round in 0..30 {
            has_begun.recv()?;
            for _ in 0..round * 7 % 30 {
                drop(lock.read());
            }
            let victim = workers.remove(0);
            victim.kill()?;
            victim.wait()?;
            workers.push(start()?);
            match lock.write() {
                Ok(values) => assert_eq!(values[0], values[1]),
                Err(LockError::Poisoned(error)) => {
                    assert_eq!(error.cause(), PoisonCause::Died);
                    // 0 if it had no time to say who it was.
                    assert!([victim.pid(), 0].contains(&error.holder().pid()), "{error}");
                    let mut values = error.into_inner();
                    values[1] = values[0];
                    lock.clear_poison();
                }
                Err(other) => panic!("{other}"),
            }
        }
        workers.into_iter().try_for_each(|worker| worker.kill())?;
    }
}
