//! What is a child's stays the child's, and what is its parent's stays the parent's, whichever way
//! the child was made.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offspring::{Builder, JoinError, Sender, StartMethod, Stdio, pipe::RecvError, process};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::each_start_method;
use tests::family::not_tested;

/// Panics when it is decoded.
#[derive(Debug, Serialize)]
struct Mine;

impl<'de> Deserialize<'de> for Mine {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("stepped on while decoding");
    }
}

/// Panics when it is encoded.
#[derive(Debug, Deserialize)]
struct Trap;

impl Serialize for Trap {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("sprung while encoding");
    }
}

#[process]
fn take(_mine: Mine) {}

#[process]
fn give() -> Trap {
    Trap
}

#[process]
fn read_all() -> String {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    text
}

#[process]
fn let_go(sender: Sender<u8>, then_wait_for: offspring::Receiver<()>) {
    drop(sender);
    let _ = then_wait_for.recv();
}

#[process]
fn answer() -> u32 {
    42
}

#[process]
fn print_by_c() {
    // SAFETY: a string that ends in zero.
    unsafe { libc::puts(c"from C".as_ptr()) };
}

#[process]
fn sleep_long() {
    std::thread::sleep(Duration::from_secs(600));
}

#[process]
fn resume_a_panic() {
    let _ = catch_unwind(|| panic!("an earlier one"));
    std::panic::resume_unwind(Box::new("resumed".to_string()));
}

static LAST_WORDS: Mutex<Option<Sender<String>>> = Mutex::new(None);

extern "C" fn speak_last_words() {
    if let Some(sender) = &*LAST_WORDS.lock().unwrap() {
        sender.send("from an exit handler".into()).unwrap();
    }
}

#[process]
fn speak_at_exit(sender: Sender<String>) {
    *LAST_WORDS.lock().unwrap() = Some(sender);
    // SAFETY: the handler does not unwind out of C: that is an abort.
    unsafe { libc::atexit(speak_last_words) };
}

#[process]
fn echo(pipe: offspring::Duplex<u32, u32>) {
    while let Ok(number) = pipe.recv() {
        pipe.send(number + 1).unwrap();
    }
}

#[process]
fn start_and_leave(pipe: offspring::Duplex<u32, u32>) {
    let child = Builder::new().detached(true).spawn(echo(pipe)).unwrap();
    assert!(child.is_detached());
    // SAFETY: _exit has no memory effects.
    unsafe { libc::_exit(0) };
}

#[process]
fn divide(a: u32, b: u32) -> u32 {
    a / b
}

each_start_method! {
    fn a_detached_child_outlives_a_parent_that_ends_right_after_starting_it() {
        for _ in 0..20 {
            let (here, there) = offspring::duplex()?;
            start_and_leave(there).spawn()?.wait()?;
            here.send(1)?;
            assert_eq!(here.recv()?, 2);
        }
    }

    fn a_panic_that_cannot_be_printed_is_told_all_the_same() {
        let mut child = Builder::new().stderr(Stdio::piped()).spawn(divide(1, 0))?;
        drop(child.stderr.take());
        let error = child.join().unwrap_err();
        assert!(matches!(&error, JoinError::Panicked(p) if p.message().contains("zero")), "{error}");
    }

    fn a_working_directory_that_may_not_be_searched_keeps_nothing_from_starting() {
        use std::os::unix::fs::PermissionsExt;

        if !nix::unistd::Uid::effective().is_root() {
            not_tested("a directory that may not be searched", "only root can become another user");
            return Ok(());
        }
        let dir = tempfile::tempdir()?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700))?;
        std::env::set_current_dir(dir.path())?;
        let nobody = nix::unistd::Uid::from_raw(54_322);
        nix::unistd::setresuid(nobody, nobody, nobody)?;
        assert_eq!(answer().spawn()?.join()?, 42);
    }

    fn a_panic_in_decoding_or_encoding_is_the_childs_panic_and_the_parent_runs_once() {
        let (tx, rx) = offspring::pipe::<String>()?;
        // A forked child that came back from here would send a second word.
        let taken = catch_unwind(AssertUnwindSafe(|| take(Mine).spawn()));
        tx.send("after the first".into())?;
        let error = taken.unwrap()?.join().unwrap_err();
        assert!(matches!(&error, JoinError::Panicked(p) if p.message().contains("while decoding")), "{error}");
        let given = catch_unwind(AssertUnwindSafe(|| give().spawn()));
        tx.send("after the second".into())?;
        let error = given.unwrap()?.join().unwrap_err();
        assert!(matches!(&error, JoinError::Panicked(p) if p.message().contains("while encoding")), "{error}");
        drop(tx);
        assert_eq!(rx.iter().collect::<Vec<_>>(), ["after the first", "after the second"]);
    }

    fn a_piped_stdin_ends_when_the_parent_closes_it() {
        let mut child = Builder::new().stdin(Stdio::piped()).spawn(read_all())?;
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"some text")?;
        drop(stdin);
        assert_eq!(child.join()?, "some text");
    }

    fn a_sender_that_the_child_drops_is_gone_while_the_child_lives() {
        let (tx, rx) = offspring::pipe::<u8>()?;
        let (hold, held) = offspring::pipe::<()>()?;
        let child = let_go(tx, held).spawn()?;
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        assert!(child.is_alive());
        drop(hold);
        child.join()?;
    }

    fn the_variable_of_re_entry_in_the_environment_is_of_no_effect() {
        let child = Builder::new().env("OFFSPRING_REENTRY", "00").spawn(answer())?;
        assert_eq!(child.join()?, 42);
    }

    fn what_c_code_printed_is_written_once() {
        // SAFETY: a string that ends in zero.
        unsafe { libc::printf(c"before the start ".as_ptr()) };
        let output = Builder::new().stdout(Stdio::piped()).spawn(print_by_c())?.join_with_output()?;
        output.result?;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "from C\n");
    }

    fn a_fault_signal_that_somebody_sends_ends_the_child() {
        let child = sleep_long().spawn()?;
        child.send_signal(libc::SIGSEGV)?;
        assert_eq!(child.wait()?.signal(), Some(libc::SIGSEGV));
    }

    fn a_resumed_panic_has_its_own_message_and_no_place_of_anothers() {
        match resume_a_panic().spawn()?.join() {
            Err(JoinError::Panicked(panic)) => {
                assert_eq!((panic.message(), panic.location()), ("resumed", None));
            }
            other => panic!("{other:?}"),
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    fn an_exit_handler_of_the_childs_can_still_send() {
        let (tx, rx) = offspring::pipe()?;
        speak_at_exit(tx).spawn()?.join()?;
        assert_eq!(rx.recv()?, "from an exit handler");
    }

    only [fork Fork]
    fn a_fork_right_after_a_thread_was_joined_is_not_refused() {
        for _ in 0..300 {
            std::thread::spawn(|| ()).join().unwrap();
            assert_eq!(answer().spawn()?.join()?, 42);
        }
    }

    only [forkserver ForkServer]
    fn a_program_whose_server_and_spare_are_stopped_still_ends() {
        // The case's own end is what is watched.
        answer().spawn()?.join()?;
        let stopped = loop {
            let children = tests::children_of(std::process::id());
            if children.len() == 2 {
                break children; // the server, and the child it has made ahead
            }
            std::thread::yield_now();
        };
        for pid in stopped {
            kill(Pid::from_raw(pid as i32), Signal::SIGSTOP)?;
        }
    }
}

#[test]
fn a_child_made_by_spawn_does_not_run_main() {
    // The harness would list its tests on the child's standard output.
    let output = Builder::new()
        .start_method(StartMethod::Spawn)
        .stdout(Stdio::piped())
        .spawn(answer())
        .unwrap()
        .join_with_output()
        .unwrap();
    assert_eq!(output.result.unwrap(), 42);
    assert_eq!(output.stdout, b"");
}
