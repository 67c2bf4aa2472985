//! All the examples, one after the other: what `cargo run -p examples` shows.

use std::error::Error;

mod bank;
mod checksums;
mod fragile;
mod function;
mod lifecycle;
mod locks;
mod mandelbrot;
mod pipe;
mod pool;
mod queue;
mod structure;
mod survive;
mod ten_thousand;
mod words;

/// An example's `main`.
type Example = fn() -> Result<(), Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let examples: [(&str, Example); 14] = [
        ("Functions that run in other processes, and return values", function::main),
        ("Structs that run in other processes", structure::main),
        ("Processes that talk over pipes", pipe::main),
        ("The life of a process", lifecycle::main),
        ("Locks that several processes share", locks::main),
        ("A bank whose books balance, whoever is killed", bank::main),
        ("Queues that many processes put in and get out of", queue::main),
        ("A pipeline of processes that counts words", words::show),
        ("A pool of workers, which may die", pool::main),
        ("A C function that crashes", fragile::main),
        ("Checksums of many files", checksums::show),
        ("Ten thousand tasks, a process each", ten_thousand::main),
        ("A picture that all processors draw", mandelbrot::show),
        ("A program that survives what it calls", survive::main),
    ];
    for (title, example) in examples {
        println!("{title}");
        example()?;
        println!();
    }
    Ok(())
}
