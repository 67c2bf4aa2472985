use offspring::process;

#[process]
trait Work {
    #[process]
    fn work(x: u32) -> u32;
}

#[process]
const LIMIT: u32 = 1;

#[process]
static COUNT: u32 = 1;

#[process]
type Alias = u32;

#[process]
mod module {
    pub(crate) struct Inner;
}

#[process]
use module::Inner;

#[process]
macro_rules! nothing {
    () => {};
}

#[process]
unsafe extern "C" {}

fn main() {
    let _: Alias = LIMIT + COUNT;
    let _ = Inner;
    nothing!();
}
