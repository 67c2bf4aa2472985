use offspring::process;

#[process]
fn read(at: *const u8, all: Vec<*mut u8>) {
    let _ = (at, all);
}

#[process]
fn address() -> *const u8 {
    std::ptr::null()
}

fn main() {
    read(std::ptr::null(), vec![]).run();
}
