//! A program for tests to run in places where something is missing.
//!
//! `elsewhere METHOD STEP..` takes the steps in order, then starts processes by that method, and
//! prints what came of it: `all is well`, or the error. It ends with code 77 if a step is not
//! permitted on this machine.

use std::env;
use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::process::exit;

use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use offspring::{Builder, Receiver, Sender, Stdio, pipe, process};

/// Set for as long as this program runs: by it, a copy that got to `main` knows that it should not
/// have.
const GUARD: &str = "ELSEWHERE_HAS_BEGUN";

const MARKER: &str = "OFFSPRING_REENTRY";

fn main() {
    if env::var_os(GUARD).is_some() {
        println!("main ran in a child");
        exit(42);
    }
    // SAFETY: this process has one thread.
    unsafe { env::set_var(GUARD, "1") };
    let mut args = env::args().skip(1);
    let method = args.next().expect("a start method");
    offspring::set_start_method(method.parse().expect("a start method"));
    let mut builder = Builder::new();
    for step in args {
        if let Err(error) = take(&step, &mut builder) {
            println!("{step}: {error}");
            exit(77);
        }
    }
    match start_all_kinds(&builder) {
        Ok(()) => println!("all is well"),
        Err(error) => println!("{error:?}"),
    }
}

fn take(step: &str, builder: &mut Builder) -> Result<(), Box<dyn Error>> {
    let executable = || env::args_os().next().expect("the path of this program");
    match step.split_once('=').unwrap_or((step, "")) {
        ("hide", path) => cover(path, MsFlags::empty())?,
        ("freeze", path) => cover(path, MsFlags::MS_RDONLY)?,
        ("unlink", _) => std::fs::remove_file(executable())?,
        ("replace", by) => std::fs::rename(by, executable())?,
        ("report", _) => report(),
        // SAFETY: this process has one thread.
        ("marker", value) => unsafe { env::set_var(MARKER, value) },
        ("marker-for-child", value) => {
            builder.env(MARKER, value);
        }
        ("seteuid", user) => nix::unistd::seteuid(user.parse::<u32>()?.into())?,
        // SAFETY: getauxval only reads.
        ("secure", _) if unsafe { libc::getauxval(libc::AT_SECURE) } == 0 => {
            return Err("set-user-ID has no effect here".into());
        }
        ("secure", _) => {}
        _ => panic!("no such step: {step}"),
    }
    Ok(())
}

/// Puts an empty file system over a directory, for this process and its children alone.
fn cover(path: &str, flags: MsFlags) -> Result<(), Box<dyn Error>> {
    unshare(CloneFlags::CLONE_NEWNS)
        .or_else(|_| unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS))?;
    let nothing = None::<&Path>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, nothing)?;
    Ok(())
}

/// What this program was given that it should have no need of; then ends it.
fn report() -> ! {
    let marker = if env::var_os(MARKER).is_some() { "set" } else { "not set" };
    // SAFETY: F_GETFD reads a flag, on any number.
    let flags = unsafe { libc::fcntl(3, libc::F_GETFD) };
    let third = match flags {
        -1 => "closed",
        0 => "open",
        _ => "open, but for this program only",
    };
    println!("main ran; {MARKER} is {marker}; descriptor 3 is {third}");
    exit(0)
}

#[process]
fn square(x: u64) -> u64 {
    x * x
}

/// Starts a process in its turn.
#[process]
fn square_below(x: u64) -> u64 {
    square(x).spawn().unwrap().join().unwrap()
}

#[process]
fn repeat(words: Receiver<Vec<u8>>, to: Sender<Vec<u8>>) {
    words.iter().for_each(|word| to.send(word).unwrap());
}

#[process]
fn read_nothing() -> usize {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap()
}

fn start_all_kinds(builder: &Builder) -> Result<(), Box<dyn Error>> {
    for x in 0..3 {
        assert_eq!(builder.spawn(square(x))?.join()?, x * x);
        assert_eq!(builder.spawn(square_below(x))?.join()?, x * x);
    }
    assert_eq!(builder.clone().stdin(Stdio::null()).spawn(read_nothing())?.join()?, 0);

    let (tell, told) = pipe()?;
    let (repeated, heard) = pipe()?;
    let child = builder.spawn(repeat(told, repeated))?;
    for len in [1, 100_000, 1_000_000] {
        tell.send(vec![7; len])?;
        assert_eq!(heard.recv()?, vec![7; len]);
    }
    drop(tell);
    child.join()?;
    Ok(())
}
