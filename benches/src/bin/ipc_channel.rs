//! ipc-channel: typed channels and channels of bytes between processes. It starts none: this
//! program executes itself, and they meet at a one-shot server, as its documentation shows.

use std::process::{Child, Command};
use std::time::Instant;

use benches::locks::uncontended;
use benches::queues::{self, NUMBERS, SAMPLES};
use benches::{Block, Ping, Round, Sample, figure, measure, message, sums};
use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender, IpcSharedMemory,
    bytes_channel, channel,
};
use serde::{Deserialize, Serialize};

/// What the parent gives the child to work with.
#[derive(Serialize, Deserialize)]
enum Ends {
    Echo(IpcReceiver<Ping>, IpcSender<Ping>),
    Samples(IpcReceiver<Sample>, IpcSender<u64>),
    Blocks(IpcReceiver<Block>, IpcSender<u64>),
    Bytes(IpcBytesReceiver, IpcSender<u64>),
    /// F
    Items(Items, IpcSender<u64>),
    /// M2: segments, and a word before each and after each.
    Segments(IpcReceiver<IpcSharedMemory>, IpcReceiver<()>, IpcSender<()>),
    /// H1
    Shared(IpcReceiver<IpcSharedMemory>, IpcSender<f64>),
    Numbers(IpcReceiver<Vec<f64>>, IpcSender<f64>),
}

/// F: what goes through a channel that is used as a queue.
#[derive(Serialize, Deserialize)]
enum Items {
    Numbers(IpcReceiver<u64>),
    Samples(IpcReceiver<Sample>),
    Blocks(IpcReceiver<Block>),
    Bytes(IpcBytesReceiver),
    /// Each goes back.
    Questions(IpcReceiver<u64>),
}

/// The environment variable that makes this program a child, and says where its parent is.
const SERVER: &str = "BENCH_SERVER";

fn main() {
    let round = Round::from_args();
    match std::env::var(SERVER) {
        Ok(server) => be_child(&round, server),
        Err(_) => be_parent(&round),
    }
}

fn be_child(round: &Round, server: String) {
    let (ends_tx, ends_rx) = channel().unwrap();
    IpcSender::connect(server).unwrap().send(ends_tx).unwrap();
    let take = |seen: IpcSender<u64>, receive: &mut dyn FnMut() -> u64| {
        measure::receive_one_way(round.parts(), receive, |sum| seen.send(sum).unwrap());
    };
    match ends_rx.recv().unwrap() {
        Ends::Echo(pings, back) => {
            while let Ok(ping) = pings.recv() {
                back.send(ping).unwrap();
            }
        }
        Ends::Samples(samples, seen) => take(seen, &mut || samples.recv().unwrap().look()),
        Ends::Blocks(blocks, seen) => take(seen, &mut || message::look(&blocks.recv().unwrap())),
        Ends::Bytes(bytes, seen) => take(seen, &mut || message::look(&bytes.recv().unwrap())),
        Ends::Items(items, back) => consume(items, back),
        Ends::Segments(segments, sent, taken) => map_segments(round, segments, sent, taken),
        Ends::Shared(segments, sums) => {
            while let Ok(segment) = segments.recv() {
                sums.send(sums::sum(sums::from_bytes(&segment))).unwrap();
            }
        }
        Ends::Numbers(numbers, sums) => {
            while let Ok(numbers) = numbers.recv() {
                sums.send(sums::sum(&numbers)).unwrap();
            }
        }
    }
}

/// Starts this program as a child with the same arguments, and hands it `ends`.
fn start(ends: Ends) -> Child {
    let (server, name) = IpcOneShotServer::<IpcSender<Ends>>::new().unwrap();
    let mut command = Command::new("/proc/self/exe");
    let child = command.args(std::env::args().skip(1)).env(SERVER, name).spawn().unwrap();
    let (_, ends_tx) = server.accept().unwrap();
    ends_tx.send(ends).unwrap();
    child
}

fn be_parent(round: &Round) {
    let mut child = match round.work.as_str() {
        "M1" => {
            let make = || drop(IpcSharedMemory::from_byte(0, SEGMENT));
            return figure("segment", measure::repeated(round, make), "us");
        }
        "M2" | "M2s" => hand_over_segments(round),
        "F11" => {
            let (tx, rx) = channel().unwrap();
            return uncontended(round, "F11", || {
                tx.send(NUMBERS[0]).unwrap();
                assert_eq!(rx.recv().unwrap(), NUMBERS[0]);
            });
        }
        work if work.starts_with('F') => produce(round),
        "H1" if round.variant == "values" => {
            let (tx, rx) = channel().unwrap();
            let (sums_tx, sums) = channel().unwrap();
            let child = start(Ends::Numbers(rx, sums_tx));
            let prepare = sums::numbers; // what is sent is taken
            sums::hand_over(round, prepare, |numbers| {
                tx.send(numbers).unwrap();
                (sums.recv().unwrap(), ())
            });
            drop(tx);
            child
        }
        "H1" => hand_over_shared(round),
        "E1" => {
            let (tx, rx_there) = channel().unwrap();
            let (tx_there, rx) = channel().unwrap();
            let child = start(Ends::Echo(rx_there, tx_there));
            measure::round_trips(round, || {
                tx.send(Ping::FIRST).unwrap();
                rx.recv().unwrap();
            });
            child
        }
        "E5" => {
            let (tx, rx) = channel().unwrap();
            let (seen_tx, seen) = channel().unwrap();
            let child = start(Ends::Samples(rx, seen_tx));
            let send = || tx.send(Sample::ONE).unwrap();
            measure::send_one_way(round, send, || seen.recv().unwrap());
            child
        }
        work if work.ends_with('b') => {
            let (tx, rx): (IpcBytesSender, _) = bytes_channel().unwrap();
            let (seen_tx, seen) = channel().unwrap();
            let child = start(Ends::Bytes(rx, seen_tx));
            let bytes = message::bytes(round.message_len());
            measure::send_one_way(round, || tx.send(bytes).unwrap(), || seen.recv().unwrap());
            child
        }
        _ => {
            let (tx, rx) = channel().unwrap();
            let (seen_tx, seen) = channel().unwrap();
            let child = start(Ends::Blocks(rx, seen_tx));
            let bytes = message::bytes(round.message_len());
            let send = || tx.send(Block::from(bytes)).unwrap();
            measure::send_one_way(round, send, || seen.recv().unwrap());
            child
        }
    };
    child.wait().unwrap();
}

/// F: one producer and one consumer. Nobody else can receive.
fn produce(round: &Round) -> Child {
    let (back_tx, back) = channel().unwrap();
    let start = |items| start(Ends::Items(items, back_tx));
    let flow = |produce: &mut dyn FnMut(usize)| {
        queues::flow(round, || (), produce, || back.recv().unwrap());
    };
    match round.work.as_str() {
        "F9" | "F10" => {
            let (tx, rx) = channel().unwrap();
            let child = start(Items::Questions(rx));
            measure::round_trips(round, || {
                tx.send(NUMBERS[0]).unwrap();
                assert_eq!(back.recv().unwrap(), NUMBERS[0]);
            });
            child
        }
        "F4" => {
            let (tx, rx) = channel().unwrap();
            let child = start(Items::Samples(rx));
            flow(&mut |share| queues::produce(&SAMPLES, share, |item| tx.send(item).unwrap()));
            child
        }
        "F5" | "F6" | "F7" => {
            let (tx, rx) = channel().unwrap();
            let child = start(Items::Blocks(rx));
            let blocks = queues::blocks(round);
            flow(&mut |share| queues::produce(&blocks, share, |item| tx.send(item).unwrap()));
            child
        }
        "F5b" | "F6b" | "F7b" => {
            let (tx, rx) = bytes_channel().unwrap();
            let child = start(Items::Bytes(rx));
            let messages = queues::messages(round);
            flow(&mut |share| queues::produce(&messages, share, |item| tx.send(item).unwrap()));
            child
        }
        _ => {
            let (tx, rx) = channel().unwrap();
            let child = start(Items::Numbers(rx));
            flow(&mut |share| queues::produce(&NUMBERS, share, |item| tx.send(item).unwrap()));
            child
        }
    }
}

fn consume(items: Items, back: IpcSender<u64>) {
    let consume = |get: &mut dyn FnMut() -> u64| {
        queues::consume(|| (), get, |sum| back.send(sum).unwrap());
    };
    match items {
        Items::Numbers(numbers) => consume(&mut || numbers.recv().unwrap()),
        Items::Samples(samples) => consume(&mut || samples.recv().unwrap().look()),
        Items::Blocks(blocks) => consume(&mut || message::look(&blocks.recv().unwrap())),
        Items::Bytes(bytes) => consume(&mut || message::look(&bytes.recv().unwrap())),
        Items::Questions(questions) => {
            while let Ok(question) = questions.recv() {
                back.send(question).unwrap();
            }
        }
    }
}

/// A small segment: a page.
const SEGMENT: usize = 4096;

/// M2: new segments; M2s: the same one again and again.
fn hand_over_segments(round: &Round) -> Child {
    let (tx, rx) = channel().unwrap();
    let (sent, sent_there) = channel().unwrap();
    let (taken_there, taken) = channel().unwrap();
    let child = start(Ends::Segments(rx, sent_there, taken_there));
    let same = IpcSharedMemory::from_byte(1, SEGMENT);
    for _ in 0..round.trips() {
        let segment = match round.work.as_str() {
            "M2s" => same.clone(),
            _ => IpcSharedMemory::from_byte(1, SEGMENT),
        };
        tx.send(segment).unwrap();
        sent.send(()).unwrap();
        taken.recv().unwrap();
    }
    child
}

fn map_segments(
    round: &Round,
    segments: IpcReceiver<IpcSharedMemory>,
    sent: IpcReceiver<()>,
    taken: IpcSender<()>,
) {
    let time = measure::repeated_timed(round, || {
        sent.recv().unwrap();
        let begin = Instant::now();
        let segment = segments.recv().unwrap();
        assert_eq!(segment[0], 1);
        let time = begin.elapsed();
        drop(segment);
        taken.send(()).unwrap();
        time
    });
    figure("segment", time, "us");
}

/// H1: copied into shared memory, or put there before the clock starts.
fn hand_over_shared(round: &Round) -> Child {
    let (tx, rx) = channel().unwrap();
    let (sums_tx, sums) = channel().unwrap();
    let child = start(Ends::Shared(rx, sums_tx));
    let numbers = sums::numbers();
    let sum_of = |segment| {
        tx.send(segment).unwrap();
        sums.recv().unwrap()
    };
    let born = || {
        let mut segment = IpcSharedMemory::from_byte(0, size_of_val(&*numbers));
        // SAFETY: nobody else has it yet.
        let bytes = unsafe { segment.deref_mut() };
        sums::from_bytes_mut(bytes).copy_from_slice(&numbers);
        segment
    };
    match round.variant.as_str() {
        "born" => sums::hand_over(round, born, |segment| (sum_of(segment.clone()), segment)),
        _ => sums::hand_over(
            round,
            || (),
            |()| {
                let segment = IpcSharedMemory::from_bytes(sums::as_bytes(&numbers));
                (sum_of(segment.clone()), segment)
            },
        ),
    }
    child
}
