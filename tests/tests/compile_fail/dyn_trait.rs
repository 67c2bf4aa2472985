use std::error::Error;

use offspring::process;

#[process]
fn call(f: Box<dyn Fn(u32) -> u32 + Send>) -> u32 {
    f(1)
}

#[process]
fn parse(text: String) -> Result<u32, Box<dyn Error + Send + Sync>> {
    Ok(text.parse()?)
}

fn main() {
    let _: u32 = call(Box::new(|x| x)).run();
}
