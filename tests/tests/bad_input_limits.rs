//! At the limits that the system sets (open files, memory, processes): a typed error, nothing left
//! behind, and everything works again when the limit is raised.

use std::fs::File;
use std::time::Duration;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, setresuid};
use offspring::{
    Builder, Error, Fd, JoinError, Pool, StartMethod, pipe, pipe::RecvError, pipe::SendError,
    process,
};
use serde::{Deserialize, Serialize};
use tests::each_start_method;
use tests::family::{helpers, not_tested, root, until, zombies};

#[process]
fn square(x: u64) -> u64 {
    x * x
}

fn works() {
    assert_eq!(square(3).spawn().unwrap().join().unwrap(), 9);
}

/// Runs `code` with room for so many more descriptors.
fn with_room<R>(room: u64, code: impl FnOnce() -> R) -> R {
    let open = tests::descriptors();
    // Numbers are given out from the lowest: fill the gaps, so that `room` is what there is.
    let highest = open.last().map_or(0, |(number, _)| *number);
    let mut fillers = Vec::new();
    loop {
        let filler = File::open("/dev/null").unwrap();
        if std::os::fd::AsRawFd::as_raw_fd(&filler) > highest {
            break;
        }
        fillers.push(filler);
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, highest as u64 + 1 + room, hard).unwrap();
    let result = code();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    result
}

/// What came of starting with little room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    Worked,
    OutOfFiles,
    /// The child could not be given what it needs; its parent was told what.
    ChildOutOfFiles(String),
    Other(String),
}

fn try_to_start() -> Outcome {
    match square(3).spawn() {
        Ok(child) => match child.join() {
            Ok(9) => Outcome::Worked,
            Err(JoinError::Setup(failure)) => Outcome::ChildOutOfFiles(failure.reason().into()),
            other => Outcome::Other(format!("{other:?}")),
        },
        Err(error) if error.raw_os_error() == Some(libc::EMFILE) => Outcome::OutOfFiles,
        Err(error) => Outcome::Other(format!("{error:?}")),
    }
}

/// In a process that nothing was started from yet, or (`warm`) something was.
#[process]
fn start_with_room(room: u64, warm: bool) -> (Outcome, bool) {
    if warm {
        works();
    }
    let first = with_room(room, try_to_start);
    let open = tests::descriptors().len();
    for _ in 0..20 {
        let again = with_room(room, try_to_start);
        assert!(!matches!(again, Outcome::Other(_)), "{again:?}");
    }
    assert_eq!(tests::descriptors().len(), open, "each attempt leaves something");
    assert_eq!(zombies(), [0u32; 0]);
    let recovered = (0..3).all(|_| try_to_start() == Outcome::Worked);
    assert_eq!(zombies(), [0u32; 0]);
    (first, recovered)
}

fn sweep(warm: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut outcomes = Vec::new();
    for room in 0..16 {
        outcomes.push((room, root(start_with_room(room, warm))?.join()?));
    }
    for (room, (outcome, recovered)) in &outcomes {
        assert!(!matches!(outcome, Outcome::Other(_)), "with room for {room}: {outcome:?}");
        assert!(recovered, "with room for {room}, and when there was more again: {outcomes:#?}");
    }
    assert_eq!(outcomes[0].1.0, Outcome::OutOfFiles);
    assert_eq!(outcomes[15].1.0, Outcome::Worked);
    Ok(())
}

each_start_method! {
    fn no_descriptors_for_the_first_start() {
        sweep(false)?;
    }

    fn no_descriptors_for_a_later_start() {
        sweep(true)?;
    }
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// Each time the pool is asked for something it looks for a worker; but it tries only so often.
    fn a_pool_outlives_a_moment_without_descriptors_however_often_it_is_asked() {
        let pool = Pool::builder().workers(1).idle_timeout(Duration::from_millis(1)).build()?;
        until(|| pool.stats().workers.is_empty());
        let jobs: Vec<_> = with_room(0, || {
            let ask = |x| {
                let job = pool.submit(square(x));
                assert!(!job.wait_timeout(Duration::from_millis(2)), "nobody can be started");
                job
            };
            (0..100).map(ask).collect()
        });
        for (x, job) in (0..).zip(jobs) {
            assert_eq!(job.wait()?, x * x);
        }
    }
}

#[process]
fn give_file() -> Fd<File> {
    Fd::new(File::open("/dev/null").unwrap())
}

fn is_out_of_files(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMFILE)
}

each_start_method! {
    only [forkserver ForkServer]
    fn no_descriptors_for_a_pipe_or_what_goes_through_it() {
        let before = tests::descriptors();
        for room in 0..2 {
            match with_room(room, pipe::<u32>) {
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EMFILE)),
                other => panic!("{other:?}"),
            }
        }
        assert!(with_room(2, pipe::<u32>).is_ok());

        let (tx, rx) = pipe::<Vec<Fd<File>>>()?;
        let files = || -> Vec<_> {
            (0..3).map(|_| Fd::new(File::open("/dev/null").unwrap())).collect()
        };
        // Sending takes a copy of each; the value comes back, and the pipe is as it was.
        let value = files();
        match with_room(2, || tx.send(value)) {
            Err(SendError::Encode(value, error)) => {
                assert!(error.to_string().contains("no descriptor"), "{error}");
                assert_eq!(value.len(), 3);
            }
            other => panic!("{other:?}"),
        }
        // Receiving loses a message whose descriptors find no room, and says so; not the next.
        for room in 0..3 {
            tx.send(files())?;
            tx.send(files())?;
            match with_room(room, || rx.recv()) {
                Err(error @ RecvError::DescriptorsLost) => {
                    assert!(error.to_string().contains("limit of open files"), "{error}");
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(rx.recv()?.len(), 3, "the next one, with room");
        }
        tx.send(files())?;
        assert_eq!(with_room(3, || rx.recv())?.len(), 3);

        // A large message goes by a file in memory.
        match with_room(0, || tx.send_bytes(&[7; 100_000])) {
            Err(SendError::Os((), error)) => assert!(is_out_of_files(&error), "{error}"),
            other => panic!("{other:?}"),
        }
        tx.send_bytes(&[7; 100_000])?;
        assert!(matches!(with_room(0, || rx.recv_bytes()), Err(RecvError::DescriptorsLost)));
        tx.send_bytes(&[7; 100_000])?;
        assert_eq!(rx.recv_bytes()?, [7; 100_000]);
        drop((tx, rx));
        assert_eq!(tests::descriptors(), before);
    }

    fn no_descriptors_for_a_result() {
        works();
        let before = tests::descriptors().len();
        let child = give_file().spawn()?;
        child.wait()?;
        match with_room(0, || child.join()) {
            Err(error @ JoinError::Decode(_)) => {
                assert!(error.to_string().contains("limit of open files"), "{error}");
                assert!(error.may_have_run());
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(tests::descriptors().len(), before);
        drop(give_file().spawn()?.join()?);
    }
}

#[process]
fn allocate(bytes: usize) -> usize {
    let mut memory = vec![0u8; bytes];
    memory.iter_mut().step_by(4096).for_each(|page| *page = 1);
    std::hint::black_box(memory).len()
}

#[process]
fn allocate_carefully(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve(bytes).is_ok()
}

each_start_method! {
    fn a_child_that_hits_its_memory_limit_fails_alone() {
        let mut limited = Builder::new();
        limited.memory_limit(512 << 20);
        assert_eq!(limited.spawn(allocate(1 << 20))?.join()?, 1 << 20);
        for bytes in [600 << 20, 1 << 40] {
            match limited.spawn(allocate(bytes))?.join() {
                Err(JoinError::Exited(exit)) => {
                    assert_eq!(exit.signal(), Some(libc::SIGABRT), "{exit}");
                }
                other => panic!("{other:?}"),
            }
            assert!(!limited.spawn(allocate_carefully(bytes))?.join()?);
        }
        // Without the limit, nothing of it is left.
        assert_eq!(allocate(600 << 20).spawn()?.join()?, 600 << 20);
        works();
    }

    /// So little that nothing can be done: however it ends, it is told, and soon.
    fn a_child_without_any_memory_fails_alone() {
        for limit in [0, 1, 4096, 1 << 20, 4 << 20, 8 << 20] {
            let child = Builder::new().memory_limit(limit).spawn(allocate(64 << 20))?;
            match child.join() {
                Err(JoinError::Exited(exit)) => assert!(!exit.success(), "{exit}"),
                Err(JoinError::Setup(_) | JoinError::Panicked(_)) => {}
                other => panic!("{other:?}"),
            }
            works();
        }
        assert_eq!(zombies(), [0u32; 0]);
    }

    /// The limit is the whole tree's: it cannot be had back below.
    fn the_children_of_a_limited_child_are_limited() {
        let child = Builder::new().memory_limit(1 << 30).spawn(allocate_below(2 << 30))?;
        assert!(!child.join()?);
        assert!(allocate_below(2 << 30).spawn()?.join()?);
    }
}

#[process]
fn allocate_below(bytes: usize) -> bool {
    allocate_carefully(bytes).spawn().unwrap().join().unwrap()
}

/// Users that nobody else is, one for each start method: processes are counted by user.
fn become_a_user_of_its_own() -> bool {
    if !Uid::effective().is_root() {
        not_tested("the limit of processes", "only root can become a user of its own");
        return false;
    }
    let own = StartMethod::ALL.iter().position(|&method| method == offspring::start_method());
    let user = Uid::from_raw(54_400 + own.unwrap() as u32);
    setresuid(user, user, user).unwrap();
    true
}

fn limit_processes(count: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
    setrlimit(Resource::RLIMIT_NPROC, count.min(hard), hard).unwrap();
}

fn assert_out_of_processes(outcome: Result<impl Sized, Error>) {
    match outcome {
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EAGAIN), "{error}"),
        Ok(_) => panic!("there is no room for it"),
    }
}

each_start_method! {
    fn no_process_for_a_child() {
        if !become_a_user_of_its_own() {
            return Ok(());
        }
        let (_, hard) = getrlimit(Resource::RLIMIT_NPROC)?;
        let before = tests::descriptors();
        for _ in 0..20 {
            limit_processes(1);
            assert_out_of_processes(square(3).spawn());
        }
        assert_eq!(tests::descriptors(), before);
        assert_eq!(zombies(), [0u32; 0]);
        limit_processes(hard);
        works();
    }

    only [forkserver ForkServer]
    fn no_process_for_a_child_of_a_fork_server_that_was() {
        if !become_a_user_of_its_own() {
            return Ok(());
        }
        let (_, hard) = getrlimit(Resource::RLIMIT_NPROC)?;
        limit_processes(2); // this process and its fork server
        for _ in 0..20 {
            assert_out_of_processes(square(3).spawn());
        }
        assert_eq!(zombies(), [0u32; 0]);
        limit_processes(hard);
        works();
        assert_eq!(helpers().servers.len(), 1);
    }
}
