//! Very large messages, very many children, very many descriptors; and what a child holds that it
//! was not given.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offspring::{
    Builder, Fd, Receiver, Sender, StartMethod, Stdio, pipe, pipe::RecvError, process,
};
use tests::family::{not_tested, root, zombies};
use tests::{Holdings, each_start_method};

/// A large message, and what of it can be checked without a second one to compare it with.
fn large(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (index, page) in bytes.chunks_mut(4096).enumerate() {
        page[0] = index as u8;
        *page.last_mut().unwrap() = (index >> 8) as u8;
    }
    bytes
}

fn is_large(bytes: &[u8], len: usize) -> bool {
    bytes.len() == len
        && bytes.chunks(4096).enumerate().all(|(index, page)| {
            page.last() == Some(&((index >> 8) as u8))
                && (page.len() == 1 || page[0] == index as u8)
        })
}

fn length() -> usize {
    if tests::long() {
        return (2 << 30) + 1;
    }
    not_tested("a message of 2 GiB", "it takes 6 GiB; set OFFSPRING_LONG_TESTS=1. Now 300 MB");
    300_000_000
}

#[process]
fn send_large(to: Sender<()>, len: usize) {
    to.send_bytes(&large(len)).unwrap();
}

#[process]
fn check_large(from: Receiver<()>, len: usize) -> bool {
    is_large(&from.recv_bytes().unwrap(), len)
}

each_start_method! {
    fn a_message_longer_than_32_bits_can_say_arrives_from_a_child() {
        let len = length();
        let (tx, rx) = pipe()?;
        let child = send_large(tx, len).spawn()?;
        assert!(is_large(&rx.recv_bytes()?, len));
        child.join()?;
        assert!(matches!(rx.recv_bytes(), Err(RecvError::Disconnected)));
    }

    only [forkserver ForkServer]
    fn a_message_longer_than_32_bits_can_say_arrives_in_a_child() {
        let len = length();
        let (tx, rx) = pipe()?;
        let child = check_large(rx, len).spawn()?;
        tx.send_bytes(&large(len))?;
        assert!(child.join()?);
    }

    /// Nothing is lost when the sender is gone before anything was received.
    fn large_messages_outlive_their_sender() {
        let (tx, rx) = pipe()?;
        send_large(tx, 50_000_000).spawn()?.join()?;
        assert!(is_large(&rx.recv_bytes()?, 50_000_000));
    }
}

#[process]
fn square(x: u64) -> u64 {
    x * x
}

fn start_and_join(times: u64) -> Result<(), Box<dyn std::error::Error>> {
    let start = |x| square(x).spawn();
    for x in 0..10 {
        assert_eq!(start(x)?.join()?, x * x); // what is made once is made now
    }
    let before = Holdings::now();
    for x in 0..times {
        assert_eq!(start(x)?.join()?, x * x);
    }
    let after = Holdings::now();
    assert_eq!(zombies(), [0u32; 0]);
    assert!(after.children <= 3, "more than a fork server and two children made ahead: {after:?}");
    // Whether they are there already is a matter of the moment.
    assert_eq!(Holdings { children: 0, ..after }, Holdings { children: 0, ..before });
    Ok(())
}

each_start_method! {
    only [forkserver ForkServer]
    fn ten_thousand_starts_leave_nothing_behind() {
        start_and_join(10_000)?;
    }

    only [spawn Spawn, fork Fork]
    fn a_thousand_starts_leave_nothing_behind() {
        start_and_join(1000)?;
    }

    /// Nor do children that nobody waits for: each start looks after them.
    fn children_that_are_forgotten_leave_nothing_behind() {
        square(1).spawn()?.join()?;
        let before = tests::descriptors();
        for x in 0..300 {
            square(x).spawn()?;
        }
        assert!(tests::family::zombies().len() <= 64);
        tests::family::until(|| offspring::active_children().is_empty());
        assert_eq!(tests::descriptors(), before);
        assert_eq!(zombies(), [0u32; 0]);
    }
}

const MANY: usize = 600;

/// As many open files as this takes, if they are allowed.
fn raise_limit_of_files() -> bool {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = 5 * MANY as u64;
    if hard < wanted {
        not_tested("many descriptors", format!("the limit of open files is {hard}"));
        return false;
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted), hard).unwrap();
    true
}

type Files = Vec<Fd<File>>;

/// Each holds its place in the list.
fn many_files() -> Files {
    (0..MANY)
        .map(|n| {
            let mut file = tempfile::tempfile().unwrap();
            write!(file, "{n}").unwrap();
            Fd::new(file)
        })
        .collect()
}

fn are_many(files: Files) -> bool {
    use std::os::unix::fs::FileExt;
    files.len() == MANY
        && files.iter().enumerate().all(|(n, file)| {
            let mut text = [0; 8];
            let len = file.read_at(&mut text, 0).unwrap();
            text[..len] == *n.to_string().as_bytes()
        })
}

#[process]
fn check_many(files: Files) -> bool {
    are_many(files)
}

#[process]
fn check_many_received(files: Receiver<Files>) -> bool {
    files.iter().all(are_many)
}

#[process]
fn open_many() -> Files {
    many_files()
}

each_start_method! {
    fn more_descriptors_cross_than_one_packet_can_carry() {
        if !raise_limit_of_files() {
            return Ok(());
        }
        assert_eq!(square(3).spawn()?.join()?, 9);
        let before = tests::descriptors();
        assert!(check_many(many_files()).spawn()?.join()?, "as an argument");
        assert!(are_many(open_many().spawn()?.join()?), "as a result");

        let (tx, rx) = pipe()?;
        let child = check_many_received(rx).spawn()?;
        for _ in 0..3 {
            tx.send(many_files())?;
        }
        drop(tx);
        assert!(child.join()?, "through a pipe");

        assert_eq!(tests::descriptors(), before);
    }
}

/// The kinds of what is open here beside the standard streams: `pipe`, or a file's path.
#[process]
fn list_descriptors() -> Vec<String> {
    let open = tests::descriptors().into_iter().filter(|(number, _)| *number > 2);
    let kind = |target: String| target.split(':').next().unwrap_or_default().to_owned();
    open.map(|(_, target)| kind(target)).collect()
}

/// What a child has open whose parent has nothing.
#[process]
fn list_descriptors_of_a_child() -> Vec<String> {
    list_descriptors().spawn().unwrap().join().unwrap()
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    fn a_child_holds_nothing_that_its_parent_left_open() {
        // As a C library would: not closed on exec. Before the fork server starts, and after.
        let leak = |path: &std::ffi::CStr| {
            // SAFETY: the path ends in zero; what is opened stays open for the life of the case.
            assert!(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) } > 2);
        };
        for _ in 0..50 {
            leak(c"/proc/self/exe");
        }
        let first = list_descriptors().spawn()?.join()?;
        for _ in 0..50 {
            leak(c"/proc/self/status");
        }
        let (_reader, _writer) = std::io::pipe()?;
        let (_tx, _rx) = pipe::<u32>()?;
        let _idle = Builder::new().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn(read_all())?;
        let second = list_descriptors().spawn()?.join()?;
        let without_all_that = root(list_descriptors_of_a_child())?.join()?;
        assert_eq!(first, without_all_that);
        assert_eq!(second, without_all_that);
        assert!(without_all_that.len() <= 2, "only what ties it to its parent: {first:?}");
    }
}

/// Lets go of what it was given, and lives on until it is told to end.
#[process]
fn let_go(given: Sender<u32>, also: Fd<std::io::PipeWriter>, until: Receiver<u32>) {
    given.send(1).unwrap();
    drop((given, also));
    assert!(matches!(until.recv(), Err(RecvError::Disconnected)));
}

#[process]
fn read_all() -> usize {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap()
}

each_start_method! {
    fn what_a_child_lets_go_of_is_gone() {
        let (given, rx) = pipe()?;
        let (mut reader, writer) = std::io::pipe()?;
        let (until, told) = pipe()?;
        let child = let_go(given, Fd::new(writer), told).spawn()?;
        assert_eq!(rx.recv()?, 1);
        // It is alive, so these ends come because nobody holds the other side any more.
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        assert_eq!(reader.read(&mut [0])?, 0);
        assert!(child.is_alive());
        drop(until);
        child.join()?;
    }

    fn the_end_of_piped_input_reaches_a_child() {
        let mut child = Builder::new().stdin(Stdio::piped()).spawn(read_all())?;
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"twelve bytes")?;
        drop(stdin);
        assert_eq!(child.join()?, 12);
    }

    fn a_childs_closed_output_ends_the_stream_although_it_lives_on() {
        let (until, told) = pipe()?;
        let mut child = Builder::new().stdout(Stdio::piped()).spawn(close_output(told))?;
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text)?;
        assert_eq!(text, "last words\n");
        assert!(child.is_alive());
        drop(until);
        child.join()?;
    }
}

#[process]
fn close_output(until: Receiver<u32>) {
    println!("last words");
    let null: OwnedFd = File::options().write(true).open("/dev/null").unwrap().into();
    nix::unistd::dup2_stdout(&null).unwrap();
    assert!(null.as_raw_fd() > 2);
    assert!(until.recv().is_err());
}

each_start_method! {
    only [forkserver ForkServer]
    fn a_thousand_children_live_at_once() {
        if !raise_limit_of_files() {
            return Ok(());
        }
        let (until, told) = pipe::<u32>()?;
        let mut builder = Builder::new();
        builder.start_method(StartMethod::ForkServer);
        let children: Vec<_> =
            (0..1000).map(|_| builder.spawn(idle(told.clone()))).collect::<Result<_, _>>()?;
        assert!(children.iter().all(|child| child.is_alive()));
        drop(until);
        for child in children {
            child.join()?;
        }
        assert_eq!(zombies(), [0u32; 0]);
    }
}

#[process]
fn idle(until: Receiver<u32>) {
    assert!(until.recv().is_err());
}
