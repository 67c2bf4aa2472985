//! Pipes between processes, and handles that travel through them: Python's `_TestConnection` and
//! what `_TestPicklingConnections` has about pipes and sockets.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use offspring::{
    Duplex, Fd, Receiver, Sender, pipe::RecvError, pipe::RecvIntoError, pipe::SendError,
    pipe::TryRecvError, process,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::each_start_method;

type Values = (i32, f64, Option<String>, Vec<u8>);

/// Sends back what it receives, until nobody is left to receive it.
#[process]
fn echo(pipe: Duplex<Values, Values>) {
    while let Ok(values) = pipe.recv() {
        pipe.send(values).unwrap();
    }
}

#[process]
fn echo_bytes(pipe: Duplex<(), ()>) {
    while let Ok(bytes) = pipe.recv_bytes() {
        pipe.send_bytes(&bytes).unwrap();
    }
}

each_start_method! {
    /// `test_connection`
    fn test_connection_echoes_values() {
        let (here, there) = offspring::duplex::<Values, Values>()?;
        let child = echo(there).spawn()?;
        for values in [
            (1, 2.25, None, vec![]),
            (i32::MIN, f64::INFINITY, Some("hello world".into()), b"\0\xff".to_vec()),
            (0, -0.0, Some(String::new()), vec![7; 1 << 20]),
        ] {
            here.send(values.clone())?;
            assert!(here.recv()? == values);
        }
        drop(here);
        child.join()?;
    }

    /// `test_connection`: bytes, and into a buffer, at its beginning and further on.
    fn test_connection_echoes_bytes() {
        let (here, there) = offspring::duplex()?;
        let child = echo_bytes(there).spawn()?;
        here.send_bytes(b"hello world")?;
        assert_eq!(here.recv_bytes()?, b"hello world");

        let mut buffer = [0; 10];
        here.send_bytes(&[1, 2, 3])?;
        assert_eq!(here.recv_bytes_into(&mut buffer)?, 3);
        assert_eq!(buffer, [1, 2, 3, 0, 0, 0, 0, 0, 0, 0]);
        here.send_bytes(&[4, 5, 6])?;
        assert_eq!(here.recv_bytes_into(&mut buffer[7..])?, 3);
        assert_eq!(buffer, [1, 2, 3, 0, 0, 0, 0, 4, 5, 6]);
        drop(here);
        child.join()?;
    }

    /// `test_connection`: the error has the whole message, and the pipe goes on.
    fn test_connection_gives_back_what_a_buffer_is_too_short_for() {
        let (here, there) = offspring::duplex()?;
        let child = echo_bytes(there).spawn()?;
        for long in [b"hello world".repeat(10), b"hello world".repeat(10_000)] {
            here.send_bytes(&long)?;
            let mut buffer = [b' '; 40];
            match here.recv_bytes_into(&mut buffer) {
                Err(RecvIntoError::TooShort(message)) => assert!(message == long),
                other => panic!("{other:?}"),
            }
            assert_eq!(buffer, [b' '; 40]);
        }
        here.send_bytes(b"next")?;
        assert_eq!(here.recv_bytes()?, b"next");
        drop(here);
        child.join()?;
    }

    /// `test_connection`: nothing to receive, then something.
    fn test_connection_polls_no_shorter_than_it_is_told() {
        let (here, there) = offspring::duplex::<Values, Values>()?;
        let child = echo(there).spawn()?;
        assert!(!here.poll(Duration::ZERO)?);
        let (before, timeout) = (Instant::now(), Duration::from_millis(100));
        assert!(!here.poll(timeout)?);
        assert!(before.elapsed() >= timeout);
        assert!(matches!(here.try_recv(), Err(TryRecvError::Empty)));

        here.send((1, 1.0, None, vec![]))?;
        assert!(here.poll(Duration::from_secs(600))?);
        assert!(here.poll(Duration::ZERO)?); // it is still there
        assert_eq!(here.recv()?.0, 1);
        assert!(!here.poll(Duration::ZERO)?);
        drop(here);
        child.join()?;
    }

    /// `test_connection`
    fn test_connection_echoes_16_mebibytes() {
        let (here, there) = offspring::duplex()?;
        let child = echo_bytes(there).spawn()?;
        let large = vec![b'X'; 16 << 20];
        here.send_bytes(&large)?;
        assert!(here.recv_bytes()? == large);
        drop(here);
        child.join()?;
    }
}

#[process]
fn say_a_word(to: Sender<String>) {
    to.send("word".into()).unwrap();
}

#[process]
fn drop_it(_what: Receiver<String>) {}

each_start_method! {
    /// `test_connection`: what was sent is received, then the end of the stream.
    fn test_connection_of_a_peer_that_ended_is_at_its_end() {
        let (to, from) = offspring::pipe()?;
        say_a_word(to).spawn()?.join()?;
        assert!(from.poll(Duration::ZERO)?);
        assert_eq!(from.recv()?, "word");
        for _ in 0..2 {
            assert!(from.poll(Duration::ZERO)?); // nothing ever will come: that is known now
            assert!(matches!(from.recv(), Err(RecvError::Disconnected)));
            assert!(matches!(from.recv_bytes(), Err(RecvError::Disconnected)));
            assert!(matches!(from.try_recv(), Err(TryRecvError::Disconnected)));
        }
    }

    /// `test_connection`: the value comes back.
    fn test_connection_to_a_peer_that_ended_does_not_send() {
        let (to, from) = offspring::pipe()?;
        drop_it(from).spawn()?.join()?;
        match to.send("word".into()) {
            Err(SendError::Disconnected(word)) => assert_eq!(word, "word"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(to.send_bytes(b"word"), Err(SendError::Disconnected(()))));
    }

    /// `test_duplex_false`. The wrong direction does not compile.
    fn test_duplex_false_goes_from_sender_to_receiver() {
        let (to, from) = offspring::pipe()?;
        to.send(1)?;
        assert_eq!(from.recv()?, 1);
        to.send_bytes(b"1")?;
        assert_eq!(from.recv_bytes()?, b"1");
    }

    /// `test_spawn_close`
    fn test_spawn_close_of_the_childs_end_right_after_the_start() {
        let (here, there) = offspring::duplex()?;
        let child = echo_bytes(there.clone()).spawn()?;
        drop(there);
        here.send_bytes(b"hello")?;
        assert_eq!(here.recv_bytes()?, b"hello");
        drop(here);
        child.join()?;
    }
}

each_start_method! {
    only [forkserver ForkServer] // nothing is started
    /// `test_sendbytes`: offset and size are a slice's.
    fn test_sendbytes_sends_any_part_the_empty_ones_included() {
        let (a, b) = offspring::duplex::<(), ()>()?;
        let message = b"abcdefghijklmnopqrstuvwxyz";
        for part in [0..26, 5..26, 7..7 + 8, 26..26] {
            a.send_bytes(&message[part.clone()])?;
            assert_eq!(b.recv_bytes()?, message[part]);
        }
    }

    only [forkserver ForkServer]
    /// Bytes that do not wait, or not for ever.
    fn bytes_are_sent_and_received_in_time_or_not() {
        let short = Duration::from_millis(20);
        let (tx, rx) = offspring::pipe::<()>()?;
        assert!(rx.try_recv_bytes().is_err_and(|error| error.is_empty()));
        let before = Instant::now();
        assert!(rx.recv_bytes_timeout(short).is_err_and(|error| error.is_timeout()));
        assert!(before.elapsed() >= short);
        let mut sent = 0;
        while tx.try_send_bytes(&[7; 1000]).is_ok() {
            sent += 1;
        }
        assert!(tx.try_send_bytes(b"").is_err_and(|error| error.is_full()));
        assert!(tx.send_bytes_timeout(b"", short).is_err_and(|error| error.is_timeout()));
        for _ in 0..sent {
            assert_eq!(rx.try_recv_bytes()?, [7; 1000]);
        }
        tx.send_bytes_timeout(b"last", short)?;
        assert_eq!(rx.recv_bytes_timeout(short)?, b"last");

        let (here, there) = offspring::duplex::<(), ()>()?;
        here.try_send_bytes(b"a")?;
        here.send_bytes_timeout(b"b", short)?;
        assert_eq!((there.try_recv_bytes()?, there.recv_bytes_timeout(short)?), (vec![b'a'], vec![b'b']));
        drop(here);
        assert!(there.try_recv_bytes().is_err_and(|error| error.is_disconnected()));
    }

    only [forkserver ForkServer]
    /// `test_context`: an end is closed when its last handle is dropped.
    fn test_context_of_a_scope_closes_its_end() {
        let (a, b) = offspring::duplex::<u32, u32>()?;
        {
            let a = a;
            let same = a.clone();
            a.send(1729)?;
            drop(a);
            same.send(1730)?;
        }
        assert_eq!((b.recv()?, b.recv()?), (1729, 1730));
        assert!(matches!(b.recv(), Err(RecvError::Disconnected)));
        assert!(matches!(b.send(1), Err(SendError::Disconnected(1))));
    }
}

fn contents(mut file: &File) -> std::io::Result<String> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Duplicates a descriptor to a number of 300 or more.
fn high_copy(of: impl AsFd) -> OwnedFd {
    let number = fcntl(of.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(300)).unwrap();
    // SAFETY: the call has opened it for us alone.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Writes to the file that comes; returns its number here.
#[process]
fn write_to_file(files: Receiver<Fd<File>>, text: String, high: bool) -> i32 {
    let mut occupying = Vec::new();
    while high && occupying.last().is_none_or(|last: &OwnedFd| last.as_raw_fd() < 300) {
        occupying.push(files.as_fd().try_clone_to_owned().unwrap());
    }
    let mut file = files.recv().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.as_raw_fd()
}

each_start_method! {
    /// `test_fd_transfer`
    fn test_fd_transfer_lets_the_child_write() {
        let (to, from) = offspring::pipe()?;
        let child = write_to_file(from, "foo".into(), false).spawn()?;
        let file = tempfile::tempfile()?;
        to.send(file.try_clone()?.into())?;
        child.join()?;
        assert_eq!(contents(&file)?, "foo");
    }

    /// `test_large_fd_transfer`: of a number above 256, here and there.
    fn test_large_fd_transfer_lets_the_child_write() {
        let (to, from) = offspring::pipe()?;
        let child = write_to_file(from, "bar".into(), true).spawn()?;
        let file = tempfile::tempfile()?;
        let high = high_copy(&file);
        assert!(high.as_raw_fd() >= 300);
        to.send(File::from(high).into())?;
        assert!(child.join()? > 300);
        assert_eq!(contents(&file)?, "bar");
    }
}

/// Comes as a sender of another type than it went.
enum Disguised {
    Files(Sender<Fd<File>>),
    Numbers(Sender<u32>),
}

impl Serialize for Disguised {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Files(sender) => sender.serialize(serializer),
            Self::Numbers(sender) => sender.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Disguised {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Sender::deserialize(deserializer).map(Self::Numbers)
    }
}

#[process]
fn send_number_for_file(to: Disguised) {
    if let Disguised::Numbers(to) = to {
        to.send(0).unwrap(); // as the first descriptor would be sent, but there is none
    }
}

each_start_method! {
    /// `test_missing_fd_transfer`
    fn test_missing_fd_transfer_is_an_error_and_the_next_message_comes() {
        let (to, from) = offspring::pipe::<Fd<File>>()?;
        send_number_for_file(Disguised::Files(to.clone())).spawn()?.join()?;
        let file = tempfile::tempfile()?;
        to.send(file.try_clone()?.into())?;

        assert!(matches!(from.recv(), Err(RecvError::Decode(_))));
        from.recv()?.write_all(b"baz")?;
        assert_eq!(contents(&file)?, "baz");
    }
}

/// Answers each caller that comes to it, in capitals.
#[process]
fn answer_callers(callers: Receiver<Fd<TcpStream>>) {
    for mut caller in &callers {
        let mut text = String::new();
        caller.read_to_string(&mut text).unwrap();
        caller.write_all(text.to_uppercase().as_bytes()).unwrap();
    }
}

/// Accepts callers, and passes them on.
#[process]
fn accept_callers(listener: Fd<TcpListener>, count: usize, to: Sender<Fd<TcpStream>>) {
    for _ in 0..count {
        to.send(listener.accept().unwrap().0.into()).unwrap();
    }
}

each_start_method! {
    /// `test_pickling`: of sockets.
    fn test_pickling_passes_accepted_sockets_from_child_to_child() {
        let (to, from) = offspring::pipe()?;
        let answering = answer_callers(from).spawn()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let words = ["hello", "wörld", ""];
        let accepting = accept_callers(listener.into(), words.len(), to).spawn()?;
        for word in words {
            let mut call = TcpStream::connect(address)?;
            call.write_all(word.as_bytes())?;
            call.shutdown(std::net::Shutdown::Write)?;
            let mut answer = String::new();
            call.read_to_string(&mut answer)?;
            assert_eq!(answer, word.to_uppercase());
        }
        accepting.join()?;
        answering.join()?;
    }
}

/// Pipes of strings, travelling.
#[derive(Serialize, Deserialize)]
enum Travelling {
    Sender(Sender<String>),
    Receiver(Receiver<String>),
    Duplex(Duplex<String, String>),
}

#[process]
fn use_ends(ends: Duplex<String, Travelling>) {
    while let Ok(end) = ends.recv() {
        match end {
            Travelling::Sender(to) => to.send("all is well".into()).unwrap(),
            Travelling::Receiver(from) => ends.send(from.recv().unwrap().repeat(2)).unwrap(),
            Travelling::Duplex(both) => both.send(both.recv().unwrap().repeat(3)).unwrap(),
        }
    }
}

each_start_method! {
    /// `test_access`
    fn test_access_of_an_end_that_came_through_a_pipe() {
        let (here, there) = offspring::duplex()?;
        let child = use_ends(there).spawn()?;

        let (to, from) = offspring::pipe()?;
        here.send(Travelling::Sender(to))?;
        assert_eq!(from.recv()?, "all is well");
        assert!(matches!(from.recv(), Err(RecvError::Disconnected))); // the child dropped it

        let (to, from) = offspring::pipe()?;
        here.send(Travelling::Receiver(from))?;
        to.send("foobar".into())?;
        assert_eq!(here.recv()?, "foobarfoobar");

        let (near, far) = offspring::duplex()?;
        here.send(Travelling::Duplex(far))?;
        near.send("foo".into())?;
        assert_eq!(near.recv()?, "foofoofoo");
        drop(here);
        child.join()?;
    }
}

/// Passes on what it is given.
#[process]
fn pass(
    ends: (Sender<u32>, Receiver<u32>, Duplex<u32, u32>),
) -> (Sender<u32>, Receiver<u32>, Duplex<u32, u32>) {
    ends
}

each_start_method! {
    /// An end that comes back is the one that was sent, and no other is.
    fn an_end_is_known_again() {
        let (tx, rx) = offspring::pipe::<u32>()?;
        let (here, there) = offspring::duplex::<u32, u32>()?;
        let ends = (tx.clone(), rx.clone(), here.clone());
        let (same_tx, same_rx, same) = pass(ends).spawn()?.join()?;
        assert!(tx.same_channel(&same_tx) && tx.same_channel(&tx.clone()));
        assert!(rx.same_channel(&same_rx) && rx.same_channel(&rx.clone()));
        assert!(here.same_channel(&same) && here.same_channel(&here.clone()));
        assert!(!here.same_channel(&there));
        let (other_tx, other_rx) = offspring::pipe()?;
        assert!(!tx.same_channel(&other_tx) && !rx.same_channel(&other_rx));
    }
}
