use offspring::process;

#[process]
fn square(x: u64, #[cfg(unix)] y: u64) -> u64 {
    x * x
}

fn main() {
    let _: u64 = square(3, 4).run();
}
