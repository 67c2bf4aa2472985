use std::fs::File;
use std::net::TcpStream;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use offspring::shm::Shareable;

#[derive(Shareable)]
struct Handles {
    log: File,
    memory: OwnedFd,
    number: RawFd,
    client: TcpStream,
    peer: UnixDatagram,
}

fn main() {}
