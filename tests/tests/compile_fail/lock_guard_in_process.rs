use offspring::process;
use offspring::sync::MutexGuard;

// A guard has no meaning elsewhere: send the mutex, and lock it there.
#[process]
fn receive(_guard: MutexGuard<'static, u32>) {}

fn main() {}
