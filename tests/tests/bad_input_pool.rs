//! What pools are given that no pool should be: nobody to do the work, tasks that harm their worker,
//! inputs that fail, initializers that hang, callbacks that end the pool.

use std::fs;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{ForkResult, fork};
use offspring::{Error, Pool, TaskError, process};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::family::{awaits_events, until};
use tests::tasks::{Stop, died, nap, pid, square, squares};
use tests::{Holdings, each_start_method};

/// So long that whoever is told of something within it was told of it.
const AMPLE: Duration = Duration::from_secs(60);

/// Whatever was done to the pool, it works.
#[track_caller]
fn works(pool: &Pool) {
    assert_eq!(pool.map(square, 0..100).unwrap(), squares(100));
    assert_eq!(pool.apply(square(7)).unwrap(), 49);
    assert_eq!(pool.apply(pid()).unwrap().min(2), 2);
}

each_start_method! {
    fn a_pool_of_nobody_panics_where_it_is_made() {
        let payload = catch_unwind(|| Pool::new(0)).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"a pool of 0 workers does nothing"));
        assert!(catch_unwind(|| Pool::builder().max_tasks_per_child(0).build()).is_err());
        let pool = Pool::new(1)?;
        assert!(catch_unwind(AssertUnwindSafe(|| pool.mapper().chunk_size(0))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| pool.mapper().window(0))).is_err());
        works(&pool);
    }

    fn too_many_workers_are_refused_and_none_is_started() {
        let before = Holdings::now();
        for workers in [1025, 1 << 20, usize::MAX] {
            match Pool::new(workers).map(drop) {
                Err(Error::TooLarge { len, max: 1024, .. }) => assert_eq!(len, workers),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(Holdings::now(), before);
        assert_eq!(offspring::active_children().len(), 0);
    }
}

/// What a value does on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None(u32),
    EncodePanics,
    DecodePanics,
    EncodeExits,
    DecodeExits,
}

impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = match *self {
            Self::None(number) => number,
            Self::EncodePanics => resume_unwind(Box::new("on purpose")),
            Self::EncodeExits => std::process::exit(9),
            Self::DecodePanics => 1001,
            Self::DecodeExits => 1002,
        };
        number.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Trouble {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1001 => resume_unwind(Box::new("on purpose")),
            1002 => std::process::exit(9),
            number => Ok(Self::None(number)),
        }
    }
}

#[process]
fn take(trouble: Trouble) -> u32 {
    match trouble {
        Trouble::None(number) => number,
        other => panic!("{other:?}"),
    }
}

#[process]
fn make(what: u32) -> Trouble {
    match what {
        0 => Trouble::EncodePanics,
        1 => Trouble::EncodeExits,
        2 => Trouble::DecodePanics,
        number => Trouble::None(number),
    }
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// A panic while arguments are encoded is the caller's own; in a worker, it is that task's.
    fn values_that_panic_on_their_way_fail_one_task() {
        let pool = Pool::new(2)?;
        for _ in 0..3 {
            let submit = || pool.submit(take(Trouble::EncodePanics));
            assert!(catch_unwind(AssertUnwindSafe(submit)).is_err());
            let map = || pool.map(take, [Trouble::None(1), Trouble::EncodePanics]);
            assert!(catch_unwind(AssertUnwindSafe(map)).is_err());
            assert!(pool.apply(take(Trouble::DecodePanics)).is_err());
            assert!(pool.apply(make(0)).is_err());
            let result = catch_unwind(AssertUnwindSafe(|| pool.apply(make(2))));
            assert!(!matches!(result, Ok(Ok(_))), "it is decoded here");
            works(&pool);
        }
        assert_eq!(pool.stats().workers_started, 2);
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    fn values_that_exit_on_their_way_cost_one_worker() {
        let pool = Pool::new(2)?;
        for _ in 0..3 {
            assert!(pool.apply(take(Trouble::DecodeExits)).is_err());
            died(pool.apply(make(1)));
            let outcomes = pool.map_settled(make, [3, 4, 1, 5, 6]);
            for (index, outcome) in outcomes.into_iter().enumerate() {
                assert_eq!(outcome.is_err(), index == 2);
            }
            works(&pool);
        }
        pool.join()?;
    }
}

#[process]
fn close_descriptors(last: bool) -> u32 {
    for number in 3..1024 {
        // SAFETY: none, this is what it is about: some are not its own.
        unsafe { libc::close(number) };
    }
    if last {
        std::mem::forget(std::fs::File::open("/dev/null"));
    }
    1
}

#[process]
fn start_threads(count: u32) -> u32 {
    for _ in 0..count {
        thread::spawn(|| thread::sleep(Duration::from_secs(600)));
    }
    count
}

#[process]
fn throw(what: u32) {
    match what {
        0 => panic_any(17_u64),
        1 => panic_any(Box::new(vec![1, 2, 3])),
        2 => resume_unwind(Box::new(String::from("quiet"))),
        _ => panic_any(Bomb),
    }
}

/// What a panic carries, and panics itself when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("again");
    }
}

/// The copy comes back as well, and does what its original does.
#[process]
fn fork_and_both_return() -> u32 {
    // SAFETY: a worker has one thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => {
            nix::sys::wait::waitpid(child, None).unwrap();
            1
        }
        // SAFETY: _exit has no memory effects.
        ForkResult::Child => unsafe { libc::_exit(0) },
    }
}

#[process]
fn fork_a_sleeper() -> i32 {
    // SAFETY: a worker has one thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child.as_raw(),
        ForkResult::Child => loop {
            thread::sleep(Duration::from_secs(600));
        },
    }
}

#[process]
fn change_what_it_can() -> u32 {
    std::env::set_current_dir("/").unwrap();
    // SAFETY: ignoring a signal runs no code; the mask and the alarm are the process's own.
    unsafe {
        for signal in 1..libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::umask(0o777);
        libc::setsid();
        libc::nice(19);
    }
    7
}

#[process]
fn limit_descriptors() -> u32 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
    1
}

/// How the memory where arguments lie is mapped here.
#[process]
fn arguments_are_mapped() -> Vec<String> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let own = maps.lines().filter(|line| line.contains("memfd:offspring-queue"));
    own.map(|line| line.split_whitespace().nth(1).unwrap().into()).collect()
}

/// Squares, and on the way may write over that memory, through the descriptor that it finds of it.
#[process]
fn square_and_spoil(x: u64, spoil: bool) -> u64 {
    if spoil {
        for fd in fs::read_dir("/proc/self/fd").unwrap().flatten() {
            if fs::read_link(fd.path())
                .is_ok_and(|to| to.to_string_lossy().contains("offspring-queue"))
            {
                let file = fs::OpenOptions::new().write(true).open(fd.path()).unwrap();
                file.write_all_at(&[0xff; 64 << 10], 0).unwrap();
            }
        }
    }
    x * x
}

#[process]
fn large(len: usize) -> String {
    "x".repeat(len)
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// Who writes there through a wild pointer dies of it, and spoils nothing.
    fn a_task_cannot_write_to_the_memory_of_arguments() {
        let pool = Pool::new(1)?;
        let mapped = pool.map(|_| arguments_are_mapped(), 0..3)?;
        for mapped in mapped {
            assert!(!mapped.is_empty() && mapped.iter().all(|how| how == "r--s"), "{mapped:?}");
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// But it may find a descriptor: then tasks are no tasks any more, of which each has one outcome.
    fn arguments_that_are_written_over_cost_their_tasks_and_nothing_else() {
        for (chunk, workers, retries) in [(1, 1, 0), (10, 1, 0), (10, 2, 3), (100, 1, 3)] {
            let pool = Pool::new(workers)?;
            let spoiling = |x| square_and_spoil(x, x == 30);
            let outcomes =
                pool.mapper().chunk_size(chunk).retries(retries).map_settled(spoiling, 0..200);
            assert_eq!(outcomes.len(), 200);
            for (x, outcome) in (0..).zip(&outcomes) {
                if let Ok(value) = outcome {
                    assert_eq!(*value, x * x);
                }
            }
            assert!(outcomes[..30].iter().all(Result::is_ok));
            // A chunk of one is gone with the worker that could make nothing of it.
            let told = |error: &TaskError| error.to_string().contains("written over");
            let spoiled = outcomes.iter().filter(|outcome| outcome.as_ref().is_err_and(told));
            assert_eq!(spoiled.count() > 0, chunk > 1);
            works(&pool);
            pool.join()?;
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// All above the standard streams. What comes of such a worker is open, but not what comes of others,
    /// nor that each task has an outcome.
    fn a_task_that_closes_all_descriptors_harms_its_worker_alone() {
        let pool = Pool::new(2)?;
        for turn in 0..6 {
            let jobs: Vec<_> = (0..4).map(|_| pool.submit(close_descriptors(turn % 2 == 0))).collect();
            let more: Vec<_> = (0..20).map(|x| pool.submit(square(x))).collect();
            let big: Vec<_> = (0..3).map(|_| pool.submit(large(1 << 20))).collect();
            for job in jobs {
                assert!(job.wait_timeout(AMPLE));
                println!("{:?}", job.wait());
            }
            for (x, job) in (0..20).zip(more) {
                match job.wait() {
                    Ok(value) => assert_eq!(value, x * x),
                    Err(TaskError::WorkerDied(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            for job in big {
                if let Ok(text) = job.wait() {
                    assert_eq!(text.len(), 1 << 20);
                }
            }
        }
        pool.terminate();
        drop(pool);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_task_without_descriptors_left_costs_no_other() {
        let pool = Pool::new(1)?;
        assert_eq!(pool.apply(limit_descriptors())?, 1);
        assert_eq!(pool.map(square, 0..100)?, squares(100));
        for _ in 0..3 {
            match pool.apply(large(2 << 20)) {
                Ok(text) => assert_eq!(text.len(), 2 << 20),
                Err(error) => println!("{error}"),
            }
            assert_eq!(pool.apply(square(3))?, 9);
        }
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    fn tasks_that_leave_threads_behind() {
        let pool = Pool::builder().workers(2).max_tasks_per_child(5).build()?;
        assert_eq!(pool.map(start_threads, [3; 40])?, [3; 40]);
        works(&pool);
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    fn panics_that_carry_anything() {
        let pool = Pool::new(2)?;
        for outcome in pool.map_settled(throw, [0, 1, 2]) {
            assert!(matches!(outcome, Err(TaskError::Panicked(_))), "{outcome:?}");
        }
        assert_eq!(pool.stats().workers_started, 2);
        let outcome = pool.apply(throw(3));
        assert!(outcome.is_err(), "{outcome:?}");
        works(&pool);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn tasks_that_fork() {
        let pool = Pool::new(2)?;
        assert_eq!(pool.map(|_| fork_and_both_return(), 0..10)?, [1; 10]);
        let sleepers = pool.map(|_| fork_a_sleeper(), 0..4)?;
        works(&pool);
        pool.join()?;
        for sleeper in sleepers {
            // SAFETY: it is a signal to a process of ours.
            unsafe { libc::kill(sleeper, libc::SIGKILL) };
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// Neither signals that are ignored nor a session of its own keep a worker from ending.
    fn tasks_that_change_their_process() {
        let pool = Pool::new(2)?;
        assert_eq!(pool.map(|_| change_what_it_can(), 0..20)?, [7; 20]);
        works(&pool);
        let job = pool.submit(nap(600_000));
        assert!(job.cancel());
        works(&pool);
        pool.join()?;
        let pool = Pool::new(2)?;
        assert_eq!(pool.map(|_| change_what_it_can(), 0..20)?, [7; 20]);
        drop(pool);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn inputs_and_closures_that_panic_while_tasks_run() {
        let stop = Stop::new()?;
        let pool = Pool::new(2)?;
        let job = pool.submit(stop.hold());
        stop.arrival();
        for at in [0_u64, 1, 63, 64, 65, 5000] {
            let inputs = || (0..).inspect(|x| assert!(*x != at));
            assert!(catch_unwind(AssertUnwindSafe(|| pool.map(square, inputs()))).is_err());
            assert!(catch_unwind(AssertUnwindSafe(|| pool.map_async(square, inputs()))).is_err());
            assert!(catch_unwind(AssertUnwindSafe(|| pool.map_settled(square, inputs()))).is_err());
            let lazy = || pool.imap(square, inputs()).count();
            assert!(catch_unwind(AssertUnwindSafe(lazy)).is_err());
            let lazy = || pool.imap_unordered(square, inputs()).count();
            assert!(catch_unwind(AssertUnwindSafe(lazy)).is_err());
        }
        stop.open();
        job.wait()?;
        works(&pool);
        assert_eq!(pool.stats().waiting, 0);
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// The inputs use the pool that they are for.
    fn inputs_that_use_the_pool() {
        let pool = Pool::new(1)?;
        let inputs = (0..50).map(|x| pool.apply(square(x)).unwrap());
        assert_eq!(pool.map(square, inputs)?.len(), 50);
        let inputs = (0..50).map(|x| pool.apply(square(x)).unwrap());
        assert_eq!(pool.imap_unordered(square, inputs).count(), 50);
        let inputs = (0..50).inspect(|x| if *x == 20 { pool.terminate() });
        assert!(pool.map(square, inputs).is_err());
    }
}

#[process]
fn hang_at_exit() {
    extern "C" fn hang() {
        thread::sleep(Duration::from_secs(600));
    }
    // SAFETY: the function may be called at exit.
    unsafe { libc::atexit(hang) };
    std::process::exit(1);
}

#[process]
fn hang() {
    thread::sleep(Duration::from_secs(600));
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// It does not end by itself, but with the pool.
    fn an_initializer_that_hangs_keeps_nobody_from_ending_the_pool() {
        for initializer in [true, false] {
            let mut builder = Pool::builder();
            builder.workers(2);
            let pool = match initializer {
                true => builder.initializer(hang()).build()?,
                false => builder.initializer(hang_at_exit()).build()?,
            };
            let job = pool.submit(square(3));
            assert!(!job.wait_timeout(Duration::from_millis(50)));
            pool.terminate();
            assert!(matches!(job.wait(), Err(TaskError::PoolClosed { may_have_run: false, .. })));
            pool.join()?;
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_finalizer_that_panics_is_no_error() {
        let mut builder = Pool::builder();
        builder.workers(2).finalizer(throw(0));
        for _ in 0..3 {
            let pool = builder.build()?;
            works(&pool);
            pool.join()?;
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// On the pool's own thread, which ends it and cannot wait for itself.
    fn a_pool_that_is_dropped_in_its_own_callback() {
        for turn in 0..10 {
            let pool = Arc::new(Mutex::new(Some(Pool::new(2)?)));
            let (tx, rx) = mpsc::channel();
            let (own, stop) = (Arc::clone(&pool), Stop::new()?);
            let guard = pool.lock().unwrap();
            let held = guard.as_ref().unwrap().submit(stop.hold());
            guard.as_ref().unwrap().submit(square(3)).on_done(move |result| {
                let pool = own.lock().unwrap().take().unwrap();
                match turn % 3 {
                    0 => drop(pool),
                    1 => pool.terminate(),
                    _ => {
                        pool.terminate();
                        drop(pool);
                    }
                }
                tx.send(result.is_ok()).unwrap();
            });
            drop(guard);
            assert!(rx.recv_timeout(AMPLE)?);
            assert!(held.wait_timeout(AMPLE));
            assert!(held.wait().is_err());
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// Of a pool that is joined in a callback of its own, the rest is done.
    fn a_pool_that_is_joined_in_its_own_callback() {
        for _ in 0..5 {
            let pool = Pool::new(2)?;
            let jobs: Vec<_> = (0..20).map(|x| pool.submit(square(x))).collect();
            let (tx, rx) = mpsc::channel();
            let first = pool.submit(square(1));
            let pool = Mutex::new(Some(pool));
            first.on_done(move |_| {
                let joined = pool.lock().unwrap().take().unwrap().join();
                tx.send(joined.is_ok()).unwrap();
            });
            assert!(rx.recv_timeout(AMPLE)?);
            for (x, job) in (0..20).zip(jobs) {
                assert_eq!(job.wait()?, x * x);
            }
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    fn the_jobs_of_a_pool_that_was_dropped() {
        let stop = Stop::new()?;
        let pool = Pool::new(1)?;
        let (running, waiting) = (pool.submit(stop.hold()), pool.submit(square(3)));
        stop.arrival();
        let map = pool.map_async(square, 0..1000);
        drop(pool);
        assert!(running.is_ready() && !running.cancel());
        assert!(matches!(running.wait(), Err(TaskError::PoolClosed { may_have_run: true, .. })));
        let (tx, rx) = mpsc::channel();
        waiting.on_done(move |result| tx.send(result).unwrap());
        let told = rx.recv();
        assert!(matches!(told, Ok(Err(TaskError::PoolClosed { .. }))), "{told:?}");
        map.cancel();
        assert!(map.wait().is_err());
    }

    only [forkserver ForkServer, spawn Spawn]
    /// A copy of the program that has a pool of its original's does not end it.
    fn a_copy_of_a_program_with_a_pool_leaves_it_alone() {
        let pool = Pool::new(2)?;
        let job = pool.submit(square(3));
        for _ in 0..3 {
            // SAFETY: the copy drops a pool and ends; it takes no lock that another thread may hold.
            match unsafe { fork() }? {
                ForkResult::Parent { child } => drop(nix::sys::wait::waitpid(child, None)?),
                ForkResult::Child => {
                    drop(pool);
                    // SAFETY: _exit has no memory effects.
                    unsafe { libc::_exit(0) };
                }
            }
        }
        works(&pool);
        assert_eq!(job.wait()?, 9);
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// What a copy of the program asks of the pool fails, each with one error, and is nothing to the pool.
    fn a_copy_of_a_program_is_refused_by_its_pool() {
        let stop = Stop::new()?;
        let pool = Pool::new(1)?;
        let job = pool.submit(stop.hold());
        stop.arrival();
        let refused = |error: TaskError| {
            assert!(!error.may_have_run());
            assert!(error.to_string().contains("copy of"), "{error}");
        };
        until(|| awaits_events("pool"));
        // SAFETY: the pool's own thread sleeps, as there is nothing to do: nobody holds a lock.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                let ended = nix::sys::wait::waitpid(child, None)?;
                assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(child, 0));
            }
            ForkResult::Child => {
                let all = catch_unwind(AssertUnwindSafe(|| {
                    refused(pool.submit(square(3)).wait().unwrap_err());
                    refused(pool.apply(square(3)).unwrap_err());
                    refused(pool.map(square, 0..100).unwrap_err());
                    pool.map_settled(square, 0..3).into_iter().for_each(|r| refused(r.unwrap_err()));
                    refused(pool.imap(square, 0..3).next().unwrap().unwrap_err());
                    assert!(job.wait().is_err());
                    assert!(pool.grow(1).is_err() && pool.shrink(1).is_err());
                    pool.close();
                    pool.terminate();
                    assert!(pool.join().is_err());
                }));
                // SAFETY: _exit has no memory effects.
                unsafe { libc::_exit(all.is_err().into()) };
            }
        }
        stop.open();
        assert!(job.wait()? > 0);
        works(&pool);
        pool.join()?;
    }
}
