use offspring::{Process, process};

#[process(name = "squarer")]
fn square(x: u64) -> u64 {
    x * x
}

#[process(daemon)]
struct Looper;

impl Process for Looper {
    type Output = ();

    fn run(self) {}
}

#[process(crate = "offspring")]
fn text() {}

#[process(crate)]
fn nothing() {}

#[process(crate = offspring, name = "more")]
fn more() {}

#[derive(serde::Serialize, serde::Deserialize, Process)]
#[process(name = "squarer")]
struct Derived;

impl Process for Derived {
    type Output = ();

    fn run(self) {}
}

macro_rules! in_this_crate {
    () => {
        #[process(crate = $crate::offspring)]
        fn dollar() {}
    };
}
in_this_crate!();

fn main() {
    let _: u64 = square(3).run();
    Looper.run();
    Derived.run();
    text().run();
    nothing().run();
    more().run();
    dollar().run();
}
