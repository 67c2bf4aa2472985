use offspring::process;

struct Socket(u32);

#[process]
fn connect(port: u16) -> Vec<Socket> {
    vec![Socket(port.into())]
}

fn main() {
    let _ = connect(80).run()[0].0;
}
