//! Handlers that an initialiser of the program has registered run at the end of each child, as those
//! of the child's own do. (A program without such initialisers takes a shorter way out.)

use nix::libc;
use offspring::{Builder, Stdio, process};
use tests::each_start_method;

fn say(text: &[u8]) {
    // SAFETY: write(2) reads `text`.
    unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
}

extern "C" fn from_the_initialiser() {
    if offspring::current().name() == "observed" {
        say(b"the initialiser's handler\n");
    }
}

extern "C" fn register() {
    // SAFETY: the handler does not unwind.
    unsafe { libc::atexit(from_the_initialiser) };
}

// SAFETY: the section is an array of pointers to such functions, and this is one.
#[used]
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = register;

extern "C" fn from_the_work() {
    say(b"the work's handler\n");
}

#[process]
fn work() {
    // SAFETY: the handler does not unwind.
    unsafe { libc::atexit(from_the_work) };
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    fn handlers_of_the_work_and_of_initialisers_run_newest_first() {
        let mut builder = Builder::new();
        let output =
            builder.name("observed").stdout(Stdio::piped()).spawn(work())?.join_with_output()?;
        output.result?;
        let text = String::from_utf8(output.stdout)?;
        assert_eq!(text, "the work's handler\nthe initialiser's handler\n");
    }
}
