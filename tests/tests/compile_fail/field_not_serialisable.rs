use offspring::{Process, process};

struct Socket(u32);

#[process]
struct Listener {
    port: u16,
    socket: Socket,
}

impl Process for Listener {
    type Output = u32;

    fn run(self) -> u32 {
        u32::from(self.port) + self.socket.0
    }
}

fn main() {
    let _: u32 = Listener { port: 80, socket: Socket(1) }.run();
}
