use offspring::process;

#[process]
const fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    let _: u64 = square(3).run();
}
