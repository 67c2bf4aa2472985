#![deny(unused_must_use)]

use offspring::Process;

#[offspring::process]
struct Looper {
    count: u32,
}

/// Of its own words.
#[offspring::process]
#[must_use = "it is to be run"]
enum Either {
    One,
    Other,
}

#[offspring::process]
fn work() {}

macro_rules! processes {
    ($($name:ident)*) => {
        $(impl Process for $name {
            type Output = ();

            fn run(self) {}
        })*
    };
}
processes!(Looper Either);

fn either(one: bool) -> Either {
    if one { Either::One } else { Either::Other }
}

fn main() {
    Looper { count: 3 };
    either(true);
    work();
}
