//! Ours: every start method, pipes with values and with bytes, pools, queues, locks, shared memory.
//!
//! - here: processes and pipes
//! - [`pools`], [`queues`], [`locks`], [`shared`]: the rest

mod locks;
mod pools;
mod queues;
mod shared;

use benches::{Block, Ping, Round, Sample, measure, memory, message};
use offspring::{Duplex, Receiver, Sender, StartMethod, process};

#[process]
fn same(number: u64) -> u64 {
    number
}

#[process]
fn wait_for_end(pipe: Duplex<(), ()>) {
    pipe.send(()).unwrap();
    let _ = pipe.recv();
}

#[process]
fn echo(pipe: Duplex<Ping, Ping>) {
    while let Ok(ping) = pipe.recv() {
        pipe.send(ping).unwrap();
    }
}

#[process]
fn take_samples(parts: [usize; 2], samples: Receiver<Sample>, seen: Sender<u64>) {
    let receive = || samples.recv().unwrap().look();
    measure::receive_one_way(parts, receive, |sum| seen.send(sum).unwrap());
}

#[process]
fn take_blocks(parts: [usize; 2], blocks: Receiver<Block>, seen: Sender<u64>) {
    let receive = || message::look(&blocks.recv().unwrap());
    measure::receive_one_way(parts, receive, |sum| seen.send(sum).unwrap());
}

#[process]
fn take_bytes(parts: [usize; 2], len: usize, bytes: Receiver<()>, seen: Sender<u64>) {
    let mut buffer = vec![0; len];
    let receive = || {
        let len = bytes.recv_bytes_into(&mut buffer).unwrap();
        message::look(&buffer[..len])
    };
    measure::receive_one_way(parts, receive, |sum| seen.send(sum).unwrap());
}

#[process]
fn take_vecs(parts: [usize; 2], bytes: Receiver<()>, seen: Sender<u64>) {
    let receive = || message::look(&bytes.recv_bytes().unwrap());
    measure::receive_one_way(parts, receive, |sum| seen.send(sum).unwrap());
}

fn main() -> offspring::Result<()> {
    let round = Round::from_args();
    match round.variant.as_str() {
        "spawn" | "pool-spawn" => offspring::set_start_method(StartMethod::Spawn),
        "fork" | "pool-fork" => offspring::set_start_method(StartMethod::Fork),
        _ => {}
    }
    match round.work.as_str() {
        "I" => idle(&round),
        "E1" => round_trips(&round),
        "B2" | "Iw" => pools::run(&round),
        work if work.starts_with(['C', 'D']) => pools::run(&round),
        work if work.starts_with('F') => queues::run(&round),
        work if work.starts_with(['G', 'S']) => locks::run(&round),
        work if work.starts_with(['M', 'H']) => shared::run(&round),
        "E5" => {
            let (tx, rx) = offspring::pipe()?;
            let (seen_tx, seen) = offspring::pipe()?;
            take_samples(round.parts(), rx, seen_tx).spawn()?;
            let send = || tx.send(Sample::ONE).unwrap();
            measure::send_one_way(&round, send, || seen.recv().unwrap());
            Ok(())
        }
        "E6" | "E7" | "E8" | "E9" => {
            let (tx, rx) = offspring::pipe()?;
            let (seen_tx, seen) = offspring::pipe()?;
            take_blocks(round.parts(), rx, seen_tx).spawn()?;
            let bytes = message::bytes(round.message_len());
            let send = || tx.send(Block::from(bytes)).unwrap();
            measure::send_one_way(&round, send, || seen.recv().unwrap());
            Ok(())
        }
        work if work.starts_with('E') => {
            let (tx, rx) = offspring::pipe()?;
            let (seen_tx, seen) = offspring::pipe()?;
            let bytes = message::bytes(round.message_len());
            match round.variant.as_str() {
                "vec" => take_vecs(round.parts(), rx, seen_tx).spawn()?,
                _ => take_bytes(round.parts(), bytes.len(), rx, seen_tx).spawn()?,
            };
            let send = || tx.send_bytes(bytes).unwrap();
            measure::send_one_way(&round, send, || seen.recv().unwrap());
            Ok(())
        }
        _ => {
            let start = || same(7).spawn().unwrap();
            measure::starts(&round, start, |child| assert_eq!(child.join().unwrap(), 7));
            Ok(())
        }
    }
}

fn idle(round: &Round) -> offspring::Result<()> {
    let (here, there) = offspring::duplex()?;
    let child = wait_for_end(there).spawn()?;
    here.recv().unwrap();
    let pid = match round.variant.as_str() {
        "server" => memory::children_named("offspring-fork")[0],
        _ => child.pid(),
    };
    memory::figures(pid);
    drop(here);
    child.join().unwrap();
    Ok(())
}

fn round_trips(round: &Round) -> offspring::Result<()> {
    let (here, there) = offspring::duplex()?;
    let child = echo(there).spawn()?;
    measure::round_trips(round, || {
        here.send(Ping::FIRST).unwrap();
        assert_eq!(here.recv().unwrap().number, 1);
    });
    drop(here);
    child.join().unwrap();
    Ok(())
}
