//! What descriptors a child has, and standard streams that are broken: Python's
//! `test_child_fd_inflation`, `test_error_on_stdio_flush`, `TestCloseFds`, `TestInvalidHandle` and
//! `TestStdinBadfiledescriptor`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use offspring::{Builder, Duplex, Fd, JoinError, Receiver, Sender, Stdio, process};
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::{descriptors, each_start_method};

#[process]
fn count_descriptors(to: Sender<usize>, until: Receiver<()>) {
    to.send(descriptors().len()).unwrap();
    let _ = until.recv();
}

each_start_method! {
    // A forked child has copies of all that its parent has.
    only [forkserver ForkServer, spawn Spawn]
    /// `test_child_fd_inflation`
    fn test_child_fd_inflation_does_not_come_of_siblings() {
        let (to, from) = offspring::pipe()?;
        let (_hold, until) = offspring::pipe()?;
        let mut counts = Vec::new();
        let mut opened = Vec::new();
        for _ in 0..5 {
            opened.push(io::pipe()?); // no child's business either
            count_descriptors(to.clone(), until.clone()).spawn()?;
            counts.push(from.recv()?);
        }
        assert_eq!(counts, vec![counts[0]; 5]);
    }
}

/// A descriptor of a high number that is inherited by whatever is executed.
fn inheritable() -> io::Result<OwnedFd> {
    let (_, pipe) = io::pipe()?;
    let number = fcntl(pipe.as_fd(), FcntlArg::F_DUPFD(60))?;
    // SAFETY: the call has opened it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[process]
fn is_open(number: i32) -> bool {
    let path = format!("/proc/self/fd/{number}");
    Path::new(&path).symlink_metadata().is_ok()
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// `test_closefd`
    fn test_closefd_of_what_is_the_parents() {
        let before = inheritable()?;
        assert!(is_open(before.as_raw_fd()).run());
        assert!(!is_open(before.as_raw_fd()).spawn()?.join()?);
        let after = inheritable()?;
        assert!(!is_open(after.as_raw_fd()).spawn()?.join()?);
    }

    only [fork Fork]
    /// `test_closefd`
    fn test_closefd_is_not_done_in_a_copy() {
        let open = inheritable()?;
        assert!(is_open(open.as_raw_fd()).spawn()?.join()?);
    }
}

/// `test_invalid_handles`: no pipe's end can be had from a number.
#[test]
fn test_invalid_handles_are_no_ends_of_pipes() {
    let number = || IntoDeserializer::<ValueError>::into_deserializer(44_977_608u32);
    for error in [
        Sender::<u8>::deserialize(number()).unwrap_err(),
        Receiver::<u8>::deserialize(number()).unwrap_err(),
        Duplex::<u8, u8>::deserialize(number()).unwrap_err(),
        Fd::<OwnedFd>::deserialize(number()).map(drop).unwrap_err(),
    ] {
        assert!(error.to_string().contains("another process"), "{error}");
    }
}

/// A file that goes for a pipe's end.
enum Pretended {
    File(Fd<File>),
    End(Receiver<u32>),
}

impl Serialize for Pretended {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::File(file) => file.serialize(serializer),
            Self::End(end) => end.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Pretended {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Receiver::deserialize(deserializer).map(Self::End)
    }
}

#[process]
fn receive_from(end: Pretended) -> Option<u32> {
    match end {
        Pretended::End(end) => end.recv().ok(),
        Pretended::File(_) => None,
    }
}

each_start_method! {
    /// `test_invalid_handles`: a descriptor that is no pipe's end makes none.
    fn test_invalid_handles_that_lead_elsewhere_are_refused() {
        let file = Pretended::File(tempfile::tempfile()?.into());
        match receive_from(file).spawn()?.join() {
            Err(error @ JoinError::Decode(_)) => assert!(!error.may_have_run(), "{error}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Prints, with and without an end of line, starts a child that does, and returns.
#[process]
fn print_much(generations: u32) -> u32 {
    println!("a line on standard output");
    eprintln!("a line on standard error");
    print!("the rest");
    eprint!("the rest");
    match generations {
        1 => 1,
        more => 1 + print_much(more - 1).spawn().unwrap().join().unwrap(),
    }
}

/// Closes a standard stream of this process.
fn close(number: i32) {
    // SAFETY: nothing owns a standard stream. What is opened in its place is no worse to write to
    // than nothing.
    unsafe { libc::close(number) };
}

/// Closes some of its standard streams, then does that.
#[process]
fn close_and_print(streams: Vec<i32>) -> u32 {
    streams.into_iter().for_each(close);
    print_much(2).run()
}

each_start_method! {
    /// `test_error_on_stdio_flush_1`
    fn test_error_on_stdio_flush_1_closed_in_the_parent() {
        for number in [1, 2, 0] {
            close(number);
            let child = print_much(2).spawn()?;
            assert_eq!(child.wait()?.code(), Some(0));
            assert_eq!(child.join()?, 2);
        }
    }

    /// `test_error_on_stdio_flush_2`
    fn test_error_on_stdio_flush_2_closed_in_the_child() {
        for streams in [vec![0], vec![1], vec![2], vec![0, 1, 2]] {
            let child = close_and_print(streams).spawn()?;
            assert_eq!(child.wait()?.code(), Some(0));
            assert_eq!(child.join()?, 2);
        }
    }
}

/// Prints less than a line, which stays in a buffer until the end.
#[process]
fn print_little(begin: Receiver<()>) -> u32 {
    let _ = begin.recv();
    print!("never to be read");
    7
}

each_start_method! {
    /// `test_error_on_stdio_flush_1`: a stream whose reader is gone.
    fn test_error_on_stdio_flush_1_to_nobody() {
        let (begin, begun) = offspring::pipe::<()>()?;
        let child = Builder::new().stdout(io::pipe()?.1).spawn(print_little(begun.clone()))?;
        let mut other = Builder::new().stdout(Stdio::piped()).spawn(print_little(begun))?;
        drop(other.stdout.take());
        drop(begin);
        for child in [child, other] {
            assert_eq!(child.wait()?.code(), Some(0));
            assert_eq!(child.join()?, 7);
        }
    }
}

/// Has no standard input, and exchanges messages with a child of its own.
#[process]
fn talk_without_input() -> String {
    close(0);
    let (here, there) = offspring::duplex().unwrap();
    assert!(here.as_fd().as_raw_fd() > 2 && there.as_fd().as_raw_fd() > 2);
    let child = answer(there).spawn().unwrap();
    here.send("hello".into()).unwrap();
    let answer = here.recv().unwrap();
    child.join().unwrap();
    answer
}

#[process]
fn answer(pipe: Duplex<String, String>) {
    let question = pipe.recv().unwrap();
    pipe.send(question.repeat(2)).unwrap();
}

each_start_method! {
    /// `test_queue_in_process`
    fn test_queue_in_process_in_a_process_without_standard_input() {
        assert_eq!(talk_without_input().spawn()?.join()?, "hellohello");
    }
}

#[process]
fn say() {
    print!("out ");
    eprint!("err ");
}

/// Its child's streams are its own, the other way round; a third child's are as they should be.
#[process]
fn say_crosswise() {
    let mut builder = Builder::new();
    builder.stdout(io::stderr()).stderr(io::stdout());
    builder.spawn(say()).unwrap().join().unwrap();
    builder.stdout(io::stdout()).stderr(io::stderr());
    builder.spawn(say()).unwrap().join().unwrap();
}

each_start_method! {
    /// A stream of this process's, for another stream of the child's: the shell's `2>&1`.
    fn standard_streams_go_where_the_other_one_does() {
        let mut builder = Builder::new();
        let child = builder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn(say_crosswise())?;
        let output = child.join_with_output()?;
        output.result?;
        assert_eq!(String::from_utf8(output.stdout)?, "err out ");
        assert_eq!(String::from_utf8(output.stderr)?, "out err ");
    }
}

/// Prints less than a line, starts a child that does, and prints more.
#[process]
fn print_around(generations: u32) {
    print!("<{generations}");
    if generations > 1 {
        print_around(generations - 1).spawn().unwrap().join().unwrap();
    }
    print!("{generations}>");
}

each_start_method! {
    /// `test_flushing`, `test_std_streams_flushed_after_preload`
    fn test_std_streams_are_flushed_once() {
        let child = Builder::new().stdout(Stdio::piped()).spawn(print_around(3))?;
        let output = child.join_with_output()?;
        output.result?;
        let text = String::from_utf8(output.stdout)?;
        for part in ["<1", "<2", "<3", "1>", "2>", "3>"] {
            assert_eq!(text.matches(part).count(), 1, "{text}");
        }
    }
}
