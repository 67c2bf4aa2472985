use offspring::process;

#[process]
extern "C" fn square(x: u64) -> u64 {
    x * x
}

#[process]
extern fn cube(x: u64) -> u64 {
    x * x * x
}

fn main() {
    let _: u64 = square(3).run() + cube(3).run();
}
