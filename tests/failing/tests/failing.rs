//! Each way in which a test can fail, beside some that pass.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};
use std::{fs, io, thread};

use offspring::{Builder, process};

#[offspring::test]
fn passes() {
    println!("printed by one that passes");
}

#[offspring::test]
fn is_alone() {
    assert_eq!(fs::read_dir("/proc/self/task").unwrap().count(), 1);
    // SAFETY: there is one thread.
    unsafe { std::env::set_var("LEFT_BEHIND", "1") };
}

#[offspring::test]
fn is_alone_as_well() -> ExitCode {
    assert!(std::env::var_os("LEFT_BEHIND").is_none());
    ExitCode::SUCCESS
}

#[offspring::test]
fn panics() {
    println!("printed before the panic");
    eprint!("and this without an end of line");
    panic!("the {} was empty", "tank");
}

#[offspring::test]
fn returns_an_error() -> io::Result<()> {
    fs::read("/nowhere").map(drop)
}

#[offspring::test]
fn aborts() {
    println!("printed before the abort");
    std::process::abort();
}

#[offspring::test]
fn overflows_the_stack() {
    #[allow(unconditional_recursion)]
    fn deeper(level: u64) -> u64 {
        std::hint::black_box(deeper(level + 1)) + level
    }
    println!("{}", deeper(0));
}

#[offspring::test]
fn exits() {
    std::process::exit(0);
}

#[process]
fn hang() {
    loop {
        thread::park();
    }
}

/// Starts processes that do not end by themselves, and prints who they are: one that outlives its own
/// parent, one that is no process of offspring's, and an orphan.
#[allow(clippy::zombie_processes)] // killed with the test
fn start_family() {
    let detached = Builder::new().detached(true).spawn(hang()).unwrap();
    let command = Command::new("sleep").arg("100000").spawn().unwrap();
    let orphan =
        Command::new("sh").args(["-c", "sleep 200000 >/dev/null 2>&1 & echo $!"]).output().unwrap();
    let orphan = String::from_utf8(orphan.stdout).unwrap();
    println!("family: {} {} {orphan}", detached.pid(), command.id());
}

#[offspring::test(timeout = "10s")]
fn hangs() {
    start_family();
    let child = hang().spawn().unwrap();
    println!("and {}", child.pid());
    hang().run();
}

#[offspring::test]
fn aborts_with_a_family() {
    start_family();
    std::process::abort();
}

#[offspring::test]
fn panics_with_a_family() {
    start_family();
    panic!("on purpose");
}

#[offspring::test]
fn passes_with_a_family() {
    start_family();
}

/// Something outside of the test is told of its child, and answers when it has a hold of it.
#[offspring::test]
#[ignore = "it needs somebody who holds its child"]
fn leaves_what_cannot_be_ended() {
    let child = Builder::new().detached(true).spawn(hang()).unwrap();
    let mut holder = UnixStream::connect(std::env::var_os("HOLDER").unwrap()).unwrap();
    holder.write_all(&child.pid().to_ne_bytes()).unwrap();
    holder.read_exact(&mut [0]).unwrap();
}

#[offspring::test(timeout = "1s")]
fn hangs_and_prints() {
    loop {
        println!("again");
    }
}

#[offspring::test(memory = "512 MiB")]
fn has_memory_enough() {
    assert_eq!(vec![1_u8; 1 << 20].len(), 1 << 20);
}

#[offspring::test(memory = "512 MiB")]
fn wants_too_much_memory() {
    println!("{}", std::hint::black_box(vec![1_u8; 1 << 30]).len());
}

#[offspring::test]
#[should_panic]
fn panics_as_it_should() {
    panic!("on purpose");
}

#[offspring::test]
#[should_panic(expected = "on purpose")]
fn panics_with_these_words() {
    panic!("it was on purpose, yes");
}

#[offspring::test]
#[should_panic(expected = "on purpose")]
fn panics_with_other_words() {
    panic!("by accident");
}

#[offspring::test]
#[should_panic]
fn aborts_where_it_should_panic() {
    std::process::abort();
}

#[offspring::test]
#[should_panic]
fn does_not_panic() {}

#[offspring::test]
#[ignore = "it takes a year"]
fn is_ignored() {
    std::process::abort();
}

#[offspring::test]
#[cfg(any())]
fn is_configured_out() {
    not_there();
}
