use offspring::process;

#[process]
unsafe extern "C" fn print(format: u8, _: ...) {}

fn main() {
    print(1).run();
}
