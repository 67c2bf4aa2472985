use offspring::process;

#[process]
unsafe fn parse(bytes: Vec<u8>) -> String {
    unsafe { String::from_utf8_unchecked(bytes) }
}

fn main() {
    let _: String = parse(vec![]).run();
}
