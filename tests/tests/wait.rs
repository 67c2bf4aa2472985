//! Waiting for the first of several things: Python's `TestWait`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use offspring::{
    Duplex, Fd, Queue, Receiver, Sender, Waitable, pipe::RecvError, process, wait, wait_timeout,
};
use tests::each_start_method;

const LONG: Duration = Duration::from_secs(600);

/// Lives until the case lets go of it, or fails.
#[process]
fn parked(until: Receiver<()>) {
    let _ = until.recv();
}

/// Pauses of some length, so that messages come one by one and mixed.
fn pause(slow: bool, turn: u64) {
    if slow {
        let nanos = (turn * 7_919 + u64::from(std::process::id()) * 104_729) % 10_000_000;
        thread::sleep(Duration::from_nanos(nanos));
    }
}

#[process]
fn send_ten(to: Sender<(u64, u32)>, slow: bool) {
    for turn in 0..10 {
        pause(slow, turn);
        to.send((turn, std::process::id())).unwrap();
    }
}

fn all_messages_come(slow: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut receivers = Vec::new();
    let mut children = Vec::new();
    for _ in 0..4 {
        let (to, from) = offspring::pipe()?;
        children.push(send_ten(to, slow).spawn()?);
        receivers.push(from);
    }
    let mut messages = Vec::new();
    while !receivers.is_empty() {
        let sources: Vec<&dyn Waitable> = receivers.iter().map(|from| from as _).collect();
        let ready = wait(&sources)?;
        assert!(!ready.is_empty() && ready.is_sorted());
        for index in ready.into_iter().rev() {
            match receivers[index].recv() {
                Ok(message) => messages.push(message),
                Err(RecvError::Disconnected) => drop(receivers.remove(index)),
                Err(error) => return Err(error.into()),
            }
        }
    }
    messages.sort();
    let mut pids: Vec<_> = children.iter().map(|child| child.pid()).collect();
    pids.sort();
    let expected: Vec<_> = (0..10).flat_map(|turn| pids.iter().map(move |&p| (turn, p))).collect();
    assert_eq!(messages, expected);
    children.into_iter().try_for_each(|child| child.join())?;
    Ok(())
}

#[process]
fn write_ten(to: SocketAddr, slow: bool) {
    let mut socket = TcpStream::connect(to).unwrap();
    for turn in 0..10 {
        pause(slow, turn);
        writeln!(socket, "{turn}").unwrap();
    }
}

fn all_lines_come(slow: bool) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let children: Vec<_> =
        (0..4).map(|_| write_ten(address, slow).spawn()).collect::<Result<_, _>>()?;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        assert_eq!(wait(&[&listener])?, [0]);
        sockets.push((listener.accept()?.0, Vec::new()));
    }
    let mut texts = Vec::new();
    while !sockets.is_empty() {
        let sources: Vec<&dyn Waitable> = sockets.iter().map(|(socket, _)| socket as _).collect();
        for index in wait(&sources)?.into_iter().rev() {
            let (socket, text) = &mut sockets[index];
            let mut part = [0; 32];
            match socket.read(&mut part)? {
                0 => texts.push(sockets.remove(index).1),
                len => text.extend_from_slice(&part[..len]),
            }
        }
    }
    assert_eq!(texts, vec![b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n".to_vec(); 4]);
    children.into_iter().try_for_each(|child| child.join())?;
    Ok(())
}

each_start_method! {
    /// `test_wait`
    fn test_wait_sees_every_message_and_every_end() {
        all_messages_come(false)?;
    }

    /// `test_wait_slow`
    fn test_wait_slow_sees_every_message_and_every_end() {
        all_messages_come(true)?;
    }

    /// `test_wait_socket`
    fn test_wait_socket_sees_every_line_and_every_end() {
        all_lines_come(false)?;
    }

    /// `test_wait_socket_slow`
    fn test_wait_socket_slow_sees_every_line_and_every_end() {
        all_lines_come(true)?;
    }
}

each_start_method! {
    only [forkserver ForkServer] // nothing is started
    /// `test_wait_timeout`
    fn test_wait_timeout_gives_nothing_and_no_sooner() {
        let (a, b) = offspring::duplex::<u32, u32>()?;
        let (before, timeout) = (Instant::now(), Duration::from_millis(200));
        assert_eq!(wait_timeout(&[&a, &b], timeout)?, []);
        assert!(before.elapsed() >= timeout);
        b.send(1)?;
        assert_eq!(wait_timeout(&[&a, &b], LONG)?, [0]);
    }

    only [forkserver ForkServer]
    /// `test_wait_timeout`: the longest there is.
    fn test_wait_timeout_may_be_longer_than_anything() {
        let (a, b) = offspring::duplex::<u32, u32>()?;
        b.send(1)?;
        assert_eq!(wait_timeout(&[&a], Duration::MAX)?, [0]);
        assert!(a.poll(Duration::MAX)?);
    }

    only [forkserver ForkServer]
    /// `test_neg_timeout`: the shortest there is.
    fn test_neg_timeout_is_none_at_all() {
        let (a, b) = offspring::duplex::<u32, u32>()?;
        assert_eq!(wait_timeout(&[&a], Duration::ZERO)?, []);
        b.send(1)?;
        assert_eq!(wait_timeout(&[&a], Duration::ZERO)?, [0]);
        assert_eq!(wait_timeout(&[], Duration::ZERO)?, []);
    }
}

each_start_method! {
    /// `test_wait_integer`: a child alone, then with the ends of a pipe.
    fn test_wait_integer_is_the_child_itself() {
        let (a, b): (Duplex<u32, u32>, _) = offspring::duplex()?;
        let (hold, until) = offspring::pipe()?;
        let child = parked(until).spawn()?;
        let handle = child.handle();
        assert_eq!(wait_timeout(&[&a, &child, &b], Duration::from_millis(50))?, []);

        drop(hold);
        assert_eq!(wait(&[&a, &child, &b])?, [1]);
        a.send(1)?;
        assert_eq!(wait(&[&a, &child, &b])?, [1, 2]);
        b.send(1)?;
        assert_eq!(wait_timeout(&[&a, &child, &b], LONG)?, [0, 1, 2]);

        child.join()?; // reaped, it is as ready as before
        assert_eq!(wait_timeout(&[&a, &handle, &b], LONG)?, [0, 1, 2]);
    }

    /// `test_wait_integer`, by a signal instead.
    fn test_wait_integer_of_one_among_many_children() {
        let (_hold, until) = offspring::pipe()?;
        let children: Vec<_> =
            (0..10).map(|_| parked(until.clone()).spawn()).collect::<Result<_, _>>()?;
        let sources: Vec<&dyn Waitable> = children.iter().map(|child| child as _).collect();
        assert_eq!(wait_timeout(&sources, Duration::ZERO)?, []);
        children[7].kill()?;
        assert_eq!(wait(&sources)?, [7]);
        children[7].wait()?;
        for child in &children {
            child.kill()?;
        }
        for child in &children {
            child.wait()?;
        }
        assert_eq!(wait(&sources)?, (0..10).collect::<Vec<_>>());
    }
}

/// Whether it is ready just when a source says so, for each kind of source in the list.
fn ready(sources: &[&dyn Waitable]) -> Vec<usize> {
    wait_timeout(sources, Duration::ZERO).unwrap()
}

#[test]
fn what_is_behind_a_pointer_is_waited_for_as_itself() {
    let (tx, rx) = offspring::pipe().unwrap();
    let queue = Queue::<u32>::unbounded().unwrap();
    let other = queue.clone();
    let by_reference: [&Receiver<u32>; 1] = [&rx];
    let boxed: Box<dyn Waitable> = Box::new(rx.clone());
    let counted: Arc<dyn Waitable + Send + Sync> = Arc::new(rx.clone());
    let items: Box<Queue<u32>> = Box::new(queue);
    let sources: [&dyn Waitable; 4] = [&by_reference[0], &boxed, &counted, &items];
    assert_eq!(ready(&sources), []);
    tx.send(1).unwrap();
    assert_eq!(ready(&sources), [0, 1, 2]);
    assert_eq!(rx.recv().unwrap(), 1);
    other.put(1).unwrap();
    assert_eq!(ready(&sources), [3]);
    assert_eq!(items.get().unwrap(), 1);
    assert_eq!(ready(&sources), []);
    // That nobody else has a queue is told by no descriptor.
    drop(other);
    assert_eq!(wait_timeout(&sources, LONG).unwrap(), [3]);
}

#[test]
fn a_descriptor_that_can_cross_is_waited_for_as_itself() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let reader = Fd::new(reader);
    assert_eq!(ready(&[&reader]), []);
    writer.write_all(b"something").unwrap();
    assert_eq!(ready(&[&reader, &&reader]), [0, 1]);
}

each_start_method! {
    /// Sources of several kinds in one list, which is then as long as it turns out.
    fn a_list_of_boxes_is_waited_for() {
        let (hold, until) = offspring::pipe()?;
        let (tx, rx) = offspring::pipe::<u32>()?;
        let list: Vec<Box<dyn Waitable>> = vec![Box::new(parked(until).spawn()?), Box::new(rx)];
        let sources: Vec<&dyn Waitable> = list.iter().map(|source| source as _).collect();
        assert_eq!(ready(&sources), []);
        drop(hold);
        assert_eq!(wait_timeout(&sources, LONG)?, [0]);
        tx.send(1)?;
        assert_eq!(wait_timeout(&sources, LONG)?, [0, 1]);
    }
}
