//! ipc-channel: typed channels and channels of bytes between processes. It starts none: this
//! program executes itself, and they meet at a one-shot server, as its documentation shows.

use std::process::{Child, Command};

use benches::{Block, Ping, Round, Sample, measure, message};
use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender, bytes_channel,
    channel,
};
use serde::{Deserialize, Serialize};

/// What the parent gives the child to work with.
#[derive(Serialize, Deserialize)]
enum Ends {
    Echo(IpcReceiver<Ping>, IpcSender<Ping>),
    Samples(IpcReceiver<Sample>, IpcSender<u64>),
    Blocks(IpcReceiver<Block>, IpcSender<u64>),
    Bytes(IpcBytesReceiver, IpcSender<u64>),
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
