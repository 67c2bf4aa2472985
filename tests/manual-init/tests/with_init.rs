//! A program that calls `init` first thing in `main` can start processes by every method.

use offspring::{Builder, StartMethod, process};

#[process]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    offspring::init();
    for &method in StartMethod::ALL {
        let child = Builder::new().start_method(method).spawn(square(3)).unwrap();
        assert_eq!(child.join().unwrap(), 9, "{method:?}");
    }
    println!("with_init: passed");
}
