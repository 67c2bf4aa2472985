use offspring::process;

struct Socket(u32);

#[process]
fn listen(port: u16, socket: Socket) {
    let _ = (port, socket.0);
}

fn main() {
    listen(80, Socket(1)).run();
}
