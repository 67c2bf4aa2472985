//! What a test's process prints, printed again: so that the harness captures it.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// A pipe, whose lines are shown as they come.
pub(super) struct Echo<R> {
    /// Until its end.
    pipe: Option<R>,
    /// The beginning of a line.
    line: Vec<u8>,
    print: fn(&str),
}

impl<R: Read + AsFd> Echo<R> {
    pub(super) fn new(pipe: Option<R>, print: fn(&str)) -> Self {
        if let Some(pipe) = &pipe {
            // The reader's end alone. If it cannot be, reading waits for the test, as it should.
            let _ = fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        }
        Self { pipe, line: Vec::new(), print }
    }

    /// To wait on; nothing after its end.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Shows the whole lines that are in the pipe now, and not what follows, which may have no end.
    pub(super) fn show(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let room = fcntl(&*pipe, FcntlArg::F_GETPIPE_SZ).unwrap_or(1 << 16);
        let mut chunk = vec![0; room.cast_unsigned() as usize];
        match pipe.read(&mut chunk) {
            Ok(0) => self.pipe = None,
            Ok(len) => {
                self.line.extend_from_slice(&chunk[..len]);
                if let Some(end) = self.line.iter().rposition(|&byte| byte == b'\n') {
                    let rest = self.line.split_off(end + 1);
                    (self.print)(&String::from_utf8_lossy(&self.line));
                    self.line = rest;
                }
            }
            Err(_) => {} // nothing is there
        }
    }

    /// Shows what is left of a line.
    pub(super) fn finish(self) {
        if !self.line.is_empty() {
            (self.print)(&String::from_utf8_lossy(&self.line));
        }
    }
}
