use offspring::process;

#[process]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    drop(offspring::spawn(square));
}
