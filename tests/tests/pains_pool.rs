//! What pools of other libraries have done to their users: a killed worker hangs them, or dooms all
//! tasks; they cannot be ended, or end nothing; they swallow endless inputs, and lose what is in a
//! chunk with one bad task.

use std::cell::Cell;
use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::libc;
use nix::sys::signal::{SigHandler, Signal, kill as send, signal};
use nix::unistd::{Pid, setpgid};
use offspring::{Builder, Pool, Sender, Stdio, TaskError, pipe, process};
use tests::family::{adopt_orphans, await_descendants, not_tested, until};
use tests::storm::Random;
use tests::tasks::{
    KILLED, Stop, die, died, echo, exit, fail, held, kill, nap, pid, square, squares, text,
};
use tests::{Holdings, each_start_method, pidfd};

/// So long that whoever is told of something within it was told of it.
const AMPLE: Duration = Duration::from_secs(60);
/// What ends at once does so within this, on a machine that others use, too.
const PROMPT: Duration = Duration::from_secs(20);

fn times(short: usize, soak: usize) -> usize {
    if tests::soak() { soak } else { short }
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// 1: it is told at once, with pid and signal; all others are done.
    fn a_worker_killed_in_the_middle_of_a_task_fails_that_task() {
        let stop = Stop::new()?;
        let pool = Pool::builder().workers(2).initializer(stop.equip()).build()?;
        for size in [1, 10] {
            let map = pool.mapper().chunk_size(size).map_async(square, 0..100);
            assert_eq!(map.wait()?, squares(100));
            let job = pool.submit(held(5));
            let victim = stop.arrival();
            let others: Vec<_> = (0..50).map(|x| pool.submit(square(x))).collect();
            kill(victim);
            let killed = Instant::now();
            assert!(job.wait_timeout(AMPLE));
            println!("told after {:?}", killed.elapsed());
            let outcome = job.wait();
            let told = outcome.as_ref().unwrap_err().to_string();
            assert!(told.contains(&victim.to_string()) && told.contains("SIGKILL"), "{told}");
            assert_eq!(died(outcome), (KILLED, victim));
            for (x, job) in (0..50).zip(others) {
                assert_eq!(job.wait()?, x * x);
            }
        }
        assert_eq!(pool.map(square, 0..100)?, squares(100));
        pool.join()?;
    }

    only [forkserver ForkServer]
    /// 2: idle workers, one or all of them, again and again.
    fn idle_workers_are_killed_hundreds_of_times() {
        let pool = Pool::new(3)?;
        let random = Random::new(2);
        for turn in 0..times(200, 2000) as u64 {
            let workers = pool.stats().workers;
            for worker in &workers {
                if random.one_in(2) {
                    kill(worker.pid);
                }
            }
            match turn % 3 {
                0 => assert_eq!(pool.apply(square(turn))?, turn * turn),
                1 => assert_eq!(pool.map(square, 0..20)?, squares(20)),
                _ => assert_eq!(pool.imap_unordered(square, 0..5).flatten().count(), 5),
            }
        }
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// 3: one of a hundred crashes.
    fn one_crash_is_one_error() {
        let pool = Pool::new(3)?;
        for signal in [libc::SIGSEGV, libc::SIGKILL, libc::SIGTERM, libc::SIGABRT] {
            let jobs: Vec<_> = (0..100)
                .map(|x| if x == 42 { pool.submit(die(signal)) } else { pool.submit(square(x)) })
                .collect::<Vec<_>>();
            for (x, job) in (0..100).zip(jobs) {
                match job.wait() {
                    Ok(value) => assert_eq!(value, x * x),
                    outcome => assert_eq!((x, died(outcome).0), (42, Some(signal))),
                }
            }
            assert_eq!(pool.apply(square(3))?, 9);
        }
        // Although all workers crash, again and again.
        for outcome in pool.map_settled(die, [libc::SIGKILL; 30]) {
            died(outcome);
        }
        assert_eq!(pool.map(square, 0..100)?, squares(100));
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// 10: of what cannot be encoded and decoded, `pools/errors.rs` has all; here under load, with large
    /// ones beside it.
    fn what_cannot_cross_is_an_error_of_one_task_under_load() {
        let pool = Pool::new(2)?;
        let jobs: Vec<_> = (0..100).map(|x| pool.submit(odd_ones_break(x))).collect();
        let large: Vec<_> = (0..10).map(|x| pool.submit(echo(text(600_000 + x)))).collect();
        for (x, job) in (0..100).zip(jobs) {
            match job.wait() {
                Ok(value) => assert!(x % 2 == 0 && value == Odd(x)),
                Err(TaskError::Encode { may_have_run: true, .. }) => assert!(x % 4 == 1),
                Err(TaskError::Decode { may_have_run: true, .. }) => assert!(x % 4 == 3),
                Err(other) => panic!("{other}"),
            }
        }
        for (x, job) in large.into_iter().enumerate() {
            assert!(job.wait()? == text(600_000 + x));
        }
        assert_eq!(pool.stats().workers_started, 2);
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// 11: `exit`, an abort, a panic in a task are that task's.
    fn exits_and_panics_in_tasks_hang_nobody() {
        let pool = Pool::new(2)?;
        for code in [0, 1, 3, 255] {
            match pool.apply(exit(code)) {
                Err(TaskError::WorkerDied(death)) => assert_eq!(death.code(), Some(code)),
                other => panic!("{other:?}"),
            }
        }
        assert!(pool.map(exit, 0..10).is_err());
        assert!(pool.apply(fail("on purpose".into())).is_err());
        assert_eq!(pool.map(square, 0..10)?, squares(10));
        pool.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    /// 11: an initializer that fails does not have workers started for ever.
    fn a_failing_initializer_ends_the_pool_after_a_few_tries() {
        let (tell, told) = pipe()?;
        let pool = Pool::builder().workers(2).initializer(tell_and_exit(tell)).build()?;
        let job = pool.submit(square(3));
        assert!(job.wait_timeout(AMPLE));
        assert!(matches!(job.wait(), Err(TaskError::PoolFailed { .. })));
        let error = pool.join().unwrap_err();
        assert!(error.to_string().contains("initializer"), "{error}");
        let tries = std::iter::from_fn(|| told.try_recv().ok()).count();
        assert!((3..=6).contains(&tries), "{tries}");
    }

    only [forkserver ForkServer, spawn Spawn]
    /// 12: with a hundred waiting, each of whom somebody waits for.
    fn everybody_who_waits_is_told_of_the_end() {
        let stop = Stop::new()?;
        let pool = Pool::new(2)?;
        let jobs: Vec<_> = (0..100).map(|_| pool.submit(stop.hold())).collect();
        stop.arrival();
        let map = pool.map_async(square, 0..1000);
        thread::scope(|scope| {
            let waiting: Vec<_> =
                jobs.into_iter().map(|job| scope.spawn(|| job.wait())).collect();
            let mapping = scope.spawn(|| map.wait());
            let lazy = scope.spawn(|| pool.imap(nap, [600_000; 3]).collect::<Vec<_>>());
            let start = Instant::now();
            pool.terminate();
            for thread in waiting {
                let outcome = thread.join().unwrap();
                assert!(matches!(outcome, Err(TaskError::PoolClosed { .. })), "{outcome:?}");
            }
            assert!(mapping.join().unwrap().is_err());
            assert!(lazy.join().unwrap().iter().all(|outcome| outcome.is_err()));
            assert!(start.elapsed() < PROMPT);
        });
    }
}

/// Tells that it was tried.
#[process]
fn tell_and_exit(tell: Sender<()>) {
    tell.send(()).unwrap();
    std::process::exit(3);
}

#[derive(Debug, PartialEq, Eq)]
struct Odd(u64);

impl serde::Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 4 == 1 {
            return Err(serde::ser::Error::custom("it stays"));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Odd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if number % 4 == 3 {
            return Err(serde::de::Error::custom("it does not come"));
        }
        Ok(Self(number))
    }
}

#[process]
fn odd_ones_break(x: u64) -> Odd {
    Odd(x)
}

/// A pool under load: tasks of all kinds, some of whose results are large, and callbacks.
fn load(pool: &Pool, random: &Random) {
    for x in 0..random.below(60) {
        match random.below(5) {
            0 => drop(pool.submit(echo(text(700_000)))),
            1 => pool.submit(square(x)).on_done(drop),
            2 => drop(pool.submit(nap(x % 3))),
            3 => drop(pool.submit(fail("on purpose".into()))),
            _ => drop(pool.submit(square(x))),
        }
    }
}

each_start_method! {
    only [forkserver ForkServer]
    /// 13: by each way of ending it, at any moment.
    fn a_pool_under_load_is_ended_again_and_again() {
        let random = Random::new(13);
        let mut slowest = Duration::ZERO;
        for turn in 0..times(60, 1000) {
            let pool = Pool::new(2)?;
            load(&pool, &random);
            let map = (turn % 2 == 0).then(|| pool.map_async(square, 0..random.below(20_000)));
            random.dawdle();
            let start = Instant::now();
            match turn % 5 {
                0 => drop(pool),
                1 => {
                    pool.terminate();
                    pool.join()?;
                }
                2 => {
                    pool.close();
                    random.dawdle();
                    pool.terminate();
                    drop(pool);
                }
                3 => thread::scope(|scope| {
                    scope.spawn(|| pool.terminate());
                    scope.spawn(|| pool.terminate());
                    scope.spawn(|| pool.close());
                }),
                _ => {
                    let pool = Arc::new(Mutex::new(Some(pool)));
                    let own = Arc::clone(&pool);
                    let (tx, rx) = mpsc::channel();
                    let job = pool.lock().unwrap().as_ref().unwrap().submit(square(3));
                    job.on_done(move |_| {
                        own.lock().unwrap().take().unwrap().terminate();
                        tx.send(()).unwrap();
                    });
                    rx.recv_timeout(AMPLE)?;
                }
            }
            slowest = slowest.max(start.elapsed());
            drop(map);
        }
        println!("the slowest took {slowest:?}");
        assert!(slowest < PROMPT);
    }

    only [forkserver ForkServer]
    /// 13: and none leaves anything behind.
    fn pools_that_are_ended_leave_nothing_behind() {
        let random = Random::new(31);
        let cycle = || -> Result<(), Box<dyn std::error::Error>> {
            let pool = Pool::new(2)?;
            load(&pool, &random);
            random.dawdle();
            drop(pool);
            Ok(())
        };
        (0..3).try_for_each(|_| cycle())?;
        let before = Holdings::now();
        (0..times(20, 500)).try_for_each(|_| cycle())?;
        offspring::active_children();
        let after = Holdings::now();
        assert_eq!((after.descriptors, after.threads), (before.descriptors, before.threads));
        assert!(after.children <= 3, "more than a fork server and two children made ahead: {after:?}");
        // The allocator may keep what it has mapped.
        assert!(after.mappings < before.mappings + 20, "{before:?} {after:?}");
    }

    only [forkserver ForkServer]
    /// 14: workers that leave after two tasks, many submits, random kills, large ones that fill what is
    /// between, and an end at random.
    fn recycling_kills_full_pipes_and_ends_at_random_stall_nothing() {
        let random = Random::new(14);
        for _ in 0..times(6, 300) {
            let mut builder = Pool::builder();
            let pool = builder.workers(3).max_tasks_per_child(2).retries(100).build()?;
            let jobs: Vec<_> = (0..times(100, 3000) as u64).map(|x| pool.submit(square(x))).collect();
            let large: Vec<_> = (0..6).map(|x| pool.submit(echo(text(800_000 + x)))).collect();
            for _ in 0..5 {
                random.dawdle();
                if let Some(worker) = pool.stats().workers.first() {
                    kill(worker.pid);
                }
            }
            if random.one_in(3) {
                pool.terminate();
                drop(pool);
                assert!(jobs.iter().all(|job| job.is_ready()));
                continue;
            }
            pool.join()?;
            for (x, job) in (0..).zip(jobs) {
                assert_eq!(job.wait()?, x * x);
            }
            for (x, job) in large.into_iter().enumerate() {
                assert!(job.wait()? == text(800_000 + x));
            }
        }
    }
}

/// A program that has a pool, is busy with it, and is interrupted.
#[process]
fn be_interrupted(waits: bool, workers: Sender<u32>) {
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).unwrap();
    // SAFETY: the default runs no code.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.unwrap();
    let pool = Pool::new(3).unwrap();
    let stop = Stop::new().unwrap();
    let jobs: Vec<_> = (0..30).map(|_| pool.submit(stop.hold())).collect();
    (0..2).for_each(|_| _ = stop.arrival()); // the third may be busy or not
    for worker in pool.stats().workers {
        workers.send(worker.pid).unwrap();
    }
    workers.send(0).unwrap();
    if waits {
        for job in jobs {
            job.wait().unwrap();
        }
    }
    loop {
        thread::park();
    }
}

/// As in a program that handles Ctrl-C: its pool goes on.
#[process]
fn survive_interruption() -> Vec<u64> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).unwrap();
    // SAFETY: ignoring a signal runs no code.
    unsafe { signal(Signal::SIGINT, SigHandler::SigIgn) }.unwrap();
    let pool = Pool::new(3).unwrap();
    let map = pool.mapper().chunk_size(1).map_async(nap, [2; 200]);
    for _ in 0..50 {
        send(Pid::from_raw(0), Signal::SIGINT).unwrap();
        thread::yield_now();
    }
    assert_eq!(map.wait().unwrap(), [2; 200]);
    assert_eq!(pool.stats().workers_started, 3);
    pool.map(square, 0..10).unwrap()
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// 24: Ctrl-C goes to the whole group. The program ends at once, and all workers with it, and none of
    /// them prints anything.
    fn an_interrupt_ends_the_program_and_all_workers_quietly() {
        adopt_orphans();
        for turn in 0..times(4, 50) {
            let (tell, told) = pipe()?;
            let child = Builder::new()
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn(be_interrupted(turn % 2 == 0, tell))?;
            let mut workers = Vec::new();
            loop {
                match told.recv()? {
                    0 => break,
                    worker => workers.extend(pidfd(worker)),
                }
            }
            assert_eq!(workers.len(), 3);
            let start = Instant::now();
            send(Pid::from_raw(-child.pid().cast_signed()), Signal::SIGINT)?;
            let output = child.join_with_output()?;
            match output.result {
                Err(offspring::JoinError::Exited(end)) => {
                    assert_eq!(end.status().signal(), Some(libc::SIGINT));
                }
                other => panic!("{other:?}"),
            }
            for worker in &workers {
                assert_eq!(offspring::wait_timeout(&[worker], AMPLE)?, [0]);
            }
            assert!(start.elapsed() < PROMPT);
            let printed = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(printed, "");
            assert!(output.stdout.is_empty());
        }
        offspring::end_fork_server();
        await_descendants();
    }

    only [forkserver ForkServer, spawn Spawn]
    /// 24: and if it handles it, no worker is hurt.
    fn an_interrupt_that_is_handled_hurts_no_worker() {
        assert_eq!(survive_interruption().spawn()?.join()?, squares(10));
    }

    only [forkserver ForkServer, spawn Spawn]
    /// 25: of what runs, and by a limit; no other worker is touched.
    fn a_running_task_is_cancelled_or_timed_out_alone() {
        let stop = Stop::new()?;
        let pool = Pool::builder().workers(3).task_timeout(Duration::from_secs(600)).build()?;
        let workers: HashSet<_> = pool.stats().workers.into_iter().map(|worker| worker.pid).collect();
        let jobs: Vec<_> = (0..3).map(|_| pool.submit(stop.hold())).collect();
        (0..3).for_each(|_| _ = stop.arrival());
        let mut jobs = jobs.into_iter();
        let victim = jobs.next().unwrap();
        assert!(victim.cancel());
        assert!(matches!(victim.wait(), Err(TaskError::Cancelled { may_have_run: true, .. })));
        stop.open();
        for job in jobs {
            assert!(workers.contains(&job.wait()?));
        }
        until(|| {
            let now = pool.stats().workers;
            now.len() == 3 && now.iter().filter(|one| workers.contains(&one.pid)).count() == 2
        });
        pool.join()?;

        let pool = Pool::builder().workers(3).task_timeout(Duration::from_millis(400)).build()?;
        let workers: HashSet<_> = pool.map(|_| pid(), 0..300)?.into_iter().collect();
        let late = pool.submit(nap(600_000));
        let others: Vec<_> = (0..100).map(|_| pool.submit(nap(3))).collect();
        assert!(matches!(late.wait(), Err(TaskError::TimedOut(_))));
        for job in others {
            assert_eq!(job.wait()?, 3);
        }
        until(|| pool.stats().workers_started == 4);
        assert!(workers.len() <= 3);
    }

    only [forkserver ForkServer, spawn Spawn]
    /// 26: ten of endlessly many; and very many with little memory.
    fn an_endless_input_is_taken_as_it_is_needed() {
        let pool = Pool::new(2)?;
        let taken = Cell::new(0_u64);
        let inputs = || (0_u64..).inspect(|_| taken.set(taken.get() + 1));
        let ten: Result<Vec<_>, _> = pool.mapper().window(16).imap(square, inputs()).take(10).collect();
        assert_eq!(ten?, squares(10));
        assert!(taken.get() <= 10 + 16, "{}", taken.get());
        taken.set(0);
        let ten: Result<Vec<_>, _> = pool.imap(square, inputs()).take(10).collect();
        assert_eq!(ten?, squares(10));
        assert!(taken.get() <= 10 + (1 << 14), "{}", taken.get());

        let count = times(2000, 200_000);
        let resident = || -> usize {
            let statm = fs::read_to_string("/proc/self/statm").unwrap();
            statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let mut outcomes = pool.mapper().window(32).imap(|x| echo(text(20_000 + x)), 0..);
        for x in 0..100 {
            assert_eq!(outcomes.next().unwrap()?.len(), 20_000 + x);
        }
        let before = resident();
        for x in 100..count {
            assert!(outcomes.next().unwrap()?.len() == 20_000 + x);
        }
        let after = resident();
        println!("{before} {after}");
        assert!(after < before + (16 << 20), "{before} {after}");
    }

    only [forkserver ForkServer, spawn Spawn]
    /// 27: one bad task in each chunk, whatever their size; nothing ends early, or at the end only, but
    /// where that was asked for.
    fn one_bad_task_costs_no_other_of_its_chunk() {
        let pool = Pool::new(2)?;
        for size in [1, 2, 5, 10, 1000] {
            let mapper = pool.mapper().chunk_size(size);
            let outcomes: Vec<_> = mapper.imap(fail_at_fives, 0..50).collect();
            for all in [outcomes, mapper.map_settled(fail_at_fives, 0..50)] {
                assert_eq!(all.len(), 50);
                for (x, outcome) in (0..50).zip(all) {
                    match outcome {
                        Ok(value) => assert!(x % 5 != 0 && value == x),
                        Err(error) => assert_eq!((x % 5, error.task().index()), (0, Some(x as usize))),
                    }
                }
            }
            let error = mapper.map(fail_at_fives, 1..).unwrap_err();
            assert_eq!(error.task().index(), Some(4), "the first of an endless input");
        }
    }

    only [forkserver ForkServer]
    /// 30: as many workers as there are processors for them: by affinity here, as quotas are not ours to
    /// set everywhere.
    fn the_number_of_workers_honours_affinity_and_quota() {
        let child = Builder::new().spawn(count_workers(1))?;
        assert_eq!(child.join()?, (1, 1));
        match quota() {
            Ok(dir) => {
                fs::write(dir.join("cgroup.procs"), std::process::id().to_string())?;
                let (workers, cpus) = count_workers(0).run();
                fs::write(dir.parent().unwrap().join("cgroup.procs"), std::process::id().to_string())?;
                let _ = fs::remove_dir(&dir);
                assert_eq!(workers, cpus);
                assert!((1..=2).contains(&workers), "{workers} for 1.5 processors");
            }
            Err(error) => not_tested("a quota of 1.5 processors", error),
        }
    }
}

/// A control group of 1.5 processors.
fn quota() -> Result<std::path::PathBuf, std::io::Error> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned();
    let dir = std::path::Path::new("/sys/fs/cgroup").join(own.trim_start_matches('/'));
    let dir = dir.join(format!("offspring-{}", std::process::id()));
    fs::create_dir(&dir)?;
    fs::write(dir.join("cpu.max"), "150000 100000").inspect_err(|_| _ = fs::remove_dir(&dir))?;
    Ok(dir)
}

/// How many a pool has that is not told; on so many processors.
#[process]
fn count_workers(processors: usize) -> (usize, usize) {
    if processors > 0 {
        let own = Pid::from_raw(0);
        let all = nix::sched::sched_getaffinity(own).unwrap();
        let mut some = nix::sched::CpuSet::new();
        let allowed = (0..nix::sched::CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap());
        allowed.take(processors).for_each(|cpu| some.set(cpu).unwrap());
        nix::sched::sched_setaffinity(own, &some).unwrap();
    }
    let pool = Pool::builder().build().unwrap();
    assert_eq!(pool.map(square, 0..10).unwrap(), squares(10));
    (pool.workers(), offspring::cpu_count())
}

#[process]
fn fail_at_fives(x: u64) -> u64 {
    assert!(!x.is_multiple_of(5), "{x}");
    x
}
