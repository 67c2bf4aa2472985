use offspring::{Process, process};

#[process]
union Bits {
    float: f32,
    int: u32,
}

impl Process for Bits {
    type Output = u32;

    fn run(self) -> u32 {
        unsafe { self.int }
    }
}

fn main() {
    let _: u32 = Bits { float: 1.0 }.run();
}
