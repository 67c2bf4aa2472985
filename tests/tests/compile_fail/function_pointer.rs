use offspring::process;

#[process]
fn apply(f: fn(u32) -> u32, more: Vec<extern "C" fn()>) -> u32 {
    let _ = more;
    f(1)
}

#[process]
fn choose() -> fn(&str) -> u32 {
    |text| text.len() as u32
}

fn main() {
    let _: u32 = apply(|x| x + 1, vec![]).run();
}
