use offspring::process;

#[process]
struct Looper {
    count: u32,
}

fn main() {
    let _ = Looper { count: 1 }.count;
}
