//! A process is killed at one instruction after the other of sending and of receiving. Whoever is left
//! sends and receives at once, and finds what it should.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use offspring::shm::Shared;
use offspring::{
    Fd, Receiver, Sender, pipe, pipe::RecvError, pipe::SendTimeoutError, pipe::TryRecvError,
    process,
};
use serde::{Deserialize, Serialize};
use tests::each_start_method;
use tests::family::until;
use tests::steps::{self, BEGINS, Begin, ENDS, End, Steps, sweep_all_over, was_killed};

use super::is_polling;

/// Nothing that is to come at once may take as long.
const PROMPT: Duration = Duration::from_secs(10);
const VICTIM: u64 = 1_000_000;
const PROBE: u64 = 2_000_000;

type Message = (End, u64, Vec<u8>, Option<Fd<File>>, Begin);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Small,
    /// As long as needs more than one page, or makes the ring grow.
    Long,
    /// Beside the ring.
    Handle,
}

fn message(number: u64, kind: Kind) -> Message {
    let bytes = vec![number as u8; if kind == Kind::Long { 60_000 } else { 20 }];
    let file = (kind == Kind::Handle).then(|| File::open("/dev/null").unwrap().into());
    (End, number, bytes, file, Begin)
}

type Ends = (Sender<Message>, Receiver<Message>);

/// A pipe that has come to use its ring.
fn warm_pipe() -> Ends {
    let (to, from) = pipe().unwrap();
    for number in 0..20 {
        to.send(message(number, Kind::Small)).unwrap();
        assert_eq!(from.recv().unwrap().1, number);
    }
    (to, from)
}

#[process]
fn die_sending(to: Sender<Message>, steps: Shared<Steps>, kind: Kind) {
    steps::prepare(steps);
    BEGINS.store(true, Ordering::Relaxed);
    to.send(message(VICTIM, kind)).unwrap();
    steps::mark();
    steps::end();
}

#[process]
fn die_receiving(from: Receiver<Message>, steps: Shared<Steps>, twice: bool) {
    steps::prepare(steps);
    steps::begin();
    if twice {
        from.recv().unwrap();
        let _ = from.try_recv();
        steps::mark();
        steps::end();
    } else {
        ENDS.store(true, Ordering::Relaxed);
        from.recv().unwrap();
    }
}

/// Receives all that is there, then sends and receives of each kind.
fn survive((to, from): &Ends) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        match from.try_recv() {
            Ok(message) => got.push(message.1),
            Err(TryRecvError::Empty) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(!from.poll(Duration::ZERO).unwrap());
    for kind in [Kind::Handle, Kind::Small, Kind::Long, Kind::Small] {
        match to.send_timeout(message(PROBE, kind), PROMPT) {
            Ok(()) => {}
            Err(SendTimeoutError::Timeout(_)) => panic!("no room in time"),
            Err(other) => panic!("{other}"),
        }
        assert!(from.poll(PROMPT).unwrap());
        assert_eq!(from.recv_timeout(PROMPT).unwrap().1, PROBE);
        assert!(!from.poll(Duration::ZERO).unwrap());
    }
    got
}

fn dies_sending(steps: &Shared<Steps>, ends: Ends, before: &[Kind], kind: Kind) -> bool {
    for (number, kind) in before.iter().enumerate() {
        ends.0.send(message(number as u64, *kind)).unwrap();
    }
    steps.count();
    let child = die_sending(ends.0.clone(), steps.clone(), kind).spawn().unwrap();
    let killed = was_killed(child);
    let mut got = survive(&ends);
    let sent = got.pop_if(|last| *last == VICTIM).is_some();
    assert!(sent || killed);
    assert!(got.iter().copied().eq(0..before.len() as u64), "{got:?}");
    drop(ends.0);
    assert!(matches!(ends.1.recv(), Err(RecvError::Disconnected)));
    killed
}

fn dies_receiving(steps: &Shared<Steps>, ends: Ends, before: &[Kind], twice: bool) -> bool {
    for (number, kind) in before.iter().enumerate() {
        ends.0.send(message(number as u64, *kind)).unwrap();
    }
    steps.count();
    let child = die_receiving(ends.1.clone(), steps.clone(), twice).spawn().unwrap();
    let killed = was_killed(child);
    let got = survive(&ends);
    let all: Vec<_> = (0..before.len() as u64).collect();
    let taken = 1 + usize::from(twice);
    assert!(
        (0..=taken).any(|taken| got == all[taken.min(all.len())..])
            && (killed || got.len() < all.len()),
        "{got:?}"
    );
    killed
}

each_start_method! {
    only [forkserver ForkServer]
    fn send_into_an_empty_pipe() {
        sweep_all_over("send", |steps| dies_sending(steps, warm_pipe(), &[], Kind::Small))?;
    }

    only [forkserver ForkServer]
    fn send_of_the_first_message() {
        sweep_all_over("send", |steps| dies_sending(steps, pipe().unwrap(), &[], Kind::Small))?;
    }

    only [forkserver ForkServer]
    fn send_of_the_first_that_uses_the_ring() {
        sweep_all_over("send", |steps| {
            dies_sending(steps, pipe().unwrap(), &[Kind::Small; 8], Kind::Small)
        })?;
    }

    only [forkserver ForkServer]
    fn send_behind_others() {
        let before = [Kind::Small, Kind::Handle, Kind::Small];
        sweep_all_over("send", |steps| dies_sending(steps, warm_pipe(), &before, Kind::Small))?;
    }

    only [forkserver ForkServer]
    fn send_of_a_handle() {
        let before = [Kind::Small, Kind::Handle, Kind::Small];
        sweep_all_over("send", |steps| dies_sending(steps, warm_pipe(), &before, Kind::Handle))?;
    }

    only [forkserver ForkServer]
    fn send_when_the_ring_must_grow() {
        let before = [Kind::Long; 3];
        sweep_all_over("send", |steps| dies_sending(steps, warm_pipe(), &before, Kind::Long))?;
    }

    only [forkserver ForkServer]
    fn send_to_one_that_sleeps() {
        sweep_all_over("send", |steps| {
            let (to, from) = warm_pipe();
            thread::scope(|scope| {
                let sleeping = from.clone();
                let (tell, tid) = std::sync::mpsc::channel();
                let receiver = scope.spawn(move || {
                    tell.send(nix::unistd::gettid().as_raw()).unwrap();
                    sleeping.recv().unwrap().1
                });
                let tid = tid.recv().unwrap();
                until(|| is_polling(tid));
                steps.count();
                let child = die_sending(to.clone(), steps.clone(), Kind::Small).spawn().unwrap();
                let killed = was_killed(child);
                to.send(message(PROBE, Kind::Small)).unwrap();
                let first = receiver.join().unwrap();
                assert!(first == VICTIM || killed && first == PROBE, "{first}");
                let rest = survive(&(to, from));
                assert_eq!(rest, if first == VICTIM { vec![PROBE] } else { vec![] });
                killed
            })
        })?;
    }

    only [forkserver ForkServer]
    fn receive_one_of_several() {
        let before = [Kind::Small; 3];
        sweep_all_over("receive", |steps| dies_receiving(steps, warm_pipe(), &before, false))?;
    }

    only [forkserver ForkServer]
    fn receive_a_handle_among_others() {
        let before = [Kind::Handle, Kind::Small, Kind::Handle, Kind::Handle];
        sweep_all_over("receive", |steps| dies_receiving(steps, warm_pipe(), &before, false))?;
    }

    only [forkserver ForkServer]
    fn receive_what_is_before_a_handle_and_that() {
        let before = [Kind::Small, Kind::Handle, Kind::Small];
        sweep_all_over("receive", |steps| dies_receiving(steps, warm_pipe(), &before, true))?;
    }

    only [forkserver ForkServer]
    fn receive_the_last_and_find_nothing() {
        sweep_all_over("receive", |steps| {
            dies_receiving(steps, warm_pipe(), &[Kind::Small], true)
        })?;
    }

    only [forkserver ForkServer]
    fn receive_the_first_of_all() {
        sweep_all_over("receive", |steps| {
            dies_receiving(steps, pipe().unwrap(), &[Kind::Small; 12], false)
        })?;
    }
}
