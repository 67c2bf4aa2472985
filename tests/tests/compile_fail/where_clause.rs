use offspring::{Process, process};

#[process]
fn square(x: u64) -> u64
where
    u64: Copy,
{
    x * x
}

#[process]
struct Looper
where
    u64: Copy,
{
    count: u64,
}

impl Process for Looper {
    type Output = u64;

    fn run(self) -> u64 {
        self.count
    }
}

fn main() {
    let _: u64 = square(3).run() + Looper { count: 1 }.run();
}
