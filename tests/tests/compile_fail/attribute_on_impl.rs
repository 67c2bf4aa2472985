use offspring::{Process, process};

#[process]
struct Looper;

#[process]
impl Process for Looper {
    type Output = u32;

    fn run(self) -> u32 {
        1
    }
}

fn main() {
    let _: u32 = Looper.run();
}
