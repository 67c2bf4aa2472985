//! Messages that no program of ours sends.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use offspring::Sender;

/// Sends a message that is one handle, of the type `what`, with this descriptor and these numbers.
pub fn forge<T>(tx: &Sender<T>, what: &str, file: &OwnedFd, numbers: [u64; 2]) {
    let number_of_name = what.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The value: the place of the handle; and for a mutex, that nobody looks for deadlocks.
    let mut payload = vec![0; if what == "Mutex" { 5 } else { 4 }];
    // The list of handles: one; and how many they are.
    for number in [number_of_name, 1, numbers[0], numbers[1], 1] {
        payload.extend(number.to_le_bytes());
    }
    let mut header = [0; 16];
    header[0] = b'v';
    header[4] = 1;
    header[8] = payload.len() as u8;
    let parts = [IoSlice::new(&header), IoSlice::new(&payload)];
    let fds = [file.as_raw_fd()];
    let beside = [ControlMessage::ScmRights(&fds)];
    let socket = tx.as_fd().as_raw_fd();
    sendmsg::<()>(socket, &parts, &beside, MsgFlags::empty(), None).unwrap();
}
