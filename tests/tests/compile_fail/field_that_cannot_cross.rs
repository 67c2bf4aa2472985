use offspring::{Process, process};

#[process]
struct Looper {
    name: &'static str,
    at: *const u8,
    callback: Option<fn()>,
    error: Box<dyn std::error::Error>,
}

#[process]
enum Task {
    Named { name: &'static str },
    Called(fn() -> u32),
}

impl Process for Looper {
    type Output = ();

    fn run(self) {}
}

impl Process for Task {
    type Output = ();

    fn run(self) {}
}

fn main() {
    Task::Named { name: "" }.run();
    Task::Called(|| 1).run();
}
