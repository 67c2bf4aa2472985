//! Processes from structs, and what happens at their end: Python's `_TestSubclassingProcess`,
//! `TestBaseProcessKwargs`, `_TestAtExit` and `test_wait_for_threads`.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::libc;
use offspring::{
    Builder, Duplex, Error, Fd, JoinError, Process, Receiver, Sender, StartMethod, Stdio,
    pipe::RecvError, process,
};
use tests::each_start_method;

/// Python's example of a process that is an object: it answers in capitals.
#[process]
struct UpperCaser {
    pipe: Duplex<String, String>,
    answered: usize,
}

impl Process for UpperCaser {
    type Output = usize;

    fn run(mut self) -> usize {
        while let Ok(text) = self.pipe.recv() {
            self.pipe.send(text.to_uppercase()).unwrap();
            self.answered += 1;
        }
        self.answered
    }
}

each_start_method! {
    /// `test_subclassing`
    fn test_subclassing_by_a_struct_that_holds_a_pipe() {
        let (here, pipe) = offspring::duplex()?;
        let child = UpperCaser { pipe, answered: 40 }.spawn()?;
        assert!(child.name().starts_with("UpperCaser-"), "{}", child.name());
        for (asked, answer) in [("hello", "HELLO"), ("world", "WORLD")] {
            here.send(asked.into())?;
            assert_eq!(here.recv()?, answer);
        }
        drop(here);
        assert_eq!(child.join()?, 42);
    }

    /// `test_subclassing`: the same struct works in this process.
    fn test_subclassing_runs_here_as_well() {
        let (here, pipe) = offspring::duplex()?;
        here.send("hello".into())?;
        let copy = here.clone();
        drop(here);
        let child = answer_me(copy).spawn()?;
        assert_eq!(UpperCaser { pipe, answered: 0 }.run(), 2);
        child.join()?;
    }
}

/// The other end of the pipe, in a child.
#[process]
fn answer_me(pipe: Duplex<String, String>) {
    assert_eq!(pipe.recv().unwrap(), "HELLO");
    pipe.send("world".into()).unwrap();
    assert_eq!(pipe.recv().unwrap(), "WORLD");
}

/// Something that could be shared by mistake.
static COUNTED: AtomicUsize = AtomicUsize::new(0);

#[process]
#[derive(Clone, Default)]
struct Collector {
    items: Vec<String>,
}

impl Process for Collector {
    type Output = (Vec<String>, usize);

    fn run(mut self) -> Self::Output {
        self.items.push(offspring::current().name().into());
        (self.items, COUNTED.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

each_start_method! {
    /// `test_default_kwargs_not_shared_between_instances`
    fn test_default_kwargs_are_each_instances_own() {
        let (first, second) = (Collector::default(), Collector::default());
        for (number, collector) in [first.clone(), first, second].into_iter().enumerate() {
            let name = format!("collector {number}");
            let child = Builder::new().name(&name).spawn(collector)?;
            assert_eq!(child.join()?, (vec![name], 1));
        }
        assert_eq!(COUNTED.load(Ordering::Relaxed), 0);
    }
}

/// The line of the division below.
const DIVISION: u32 = line!() + 4;

#[process]
fn divide(a: u32, b: u32) -> u32 {
    a / b
}

each_start_method! {
    /// `test_stderr_flush`
    fn test_stderr_flush_of_the_whole_report_of_a_panic() {
        let (mut reader, writer) = io::pipe()?;
        let child = Builder::new().stderr(writer).spawn(divide(1, 0))?;
        match child.join() {
            Err(JoinError::Panicked(panic)) => {
                assert!(panic.message().contains("divide by zero"), "{panic}");
            }
            other => panic!("{other:?}"),
        }
        let mut report = String::new();
        reader.read_to_string(&mut report)?;
        assert!(report.contains("divide by zero"), "{report}");
        assert!(report.contains(&format!("{}:{DIVISION}:", file!())), "{report}");
        assert_eq!(report.matches("panicked").count(), 1, "{report}");
    }
}

#[process]
fn exit_with(code: i32, text: String) -> u32 {
    eprint!("{text}");
    print!("{text}"); // no end of line: it is in a buffer
    std::process::exit(code)
}

each_start_method! {
    /// `test_sys_exit`: what is not a number, Rust does not take.
    fn test_sys_exit_with_each_code() {
        for code in [0, 1, 8, 255] {
            let child = exit_with(code, String::new()).spawn()?;
            assert_eq!(child.wait()?.code(), Some(code));
            match child.join() {
                Err(JoinError::Exited(exit)) => assert_eq!(exit.code(), Some(code)),
                other => panic!("{other:?}"),
            }
        }
    }

    /// `test_sys_exit`: what was printed is there.
    fn test_sys_exit_loses_nothing_that_was_printed() {
        let mut builder = Builder::new();
        builder.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = builder.spawn(exit_with(3, "last words".into()))?.join_with_output()?;
        assert_eq!(output.stdout, b"last words");
        assert_eq!(output.stderr, b"last words");
        assert_eq!(output.status.unwrap().code(), Some(3));
        assert!(matches!(output.result, Err(JoinError::Exited(exit)) if exit.code() == Some(3)));
    }
}

#[process]
fn leave_a_thread_behind(forever: Receiver<()>) -> u32 {
    thread::spawn(move || forever.recv());
    7
}

each_start_method! {
    /// `test_wait_for_threads`: those of Rust are all of the kind that is not waited for.
    fn test_wait_for_threads_is_left_to_the_work() {
        let (_hold, until) = offspring::pipe()?;
        let child = leave_a_thread_behind(until).spawn()?;
        assert!(child.wait()?.success());
        assert_eq!(child.join()?, 7);
    }
}

/// Where the hook writes.
static SPEAK: OnceLock<Fd<PipeWriter>> = OnceLock::new();

extern "C" fn speak() {
    if let Some(pipe) = SPEAK.get() {
        let _ = (&**pipe).write_all(b"hook ");
    }
}

/// Registers an exit handler.
fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the handler is a function of this program, which is there until the end.
    assert_eq!(unsafe { libc::atexit(handler) }, 0);
}

#[process]
fn hook_exit(to: Fd<PipeWriter>, exit: bool) {
    SPEAK.set(to).unwrap();
    at_exit(speak);
    if exit {
        std::process::exit(0);
    }
}

fn said(mut by: PipeReader) -> io::Result<String> {
    let mut text = String::new();
    by.read_to_string(&mut text)?;
    Ok(text)
}

each_start_method! {
    /// `test_atexit`, of work that exits.
    fn test_atexit_hook_runs_when_the_work_exits() {
        let (from, to) = io::pipe()?;
        let child = hook_exit(to.into(), true).spawn()?;
        assert!(matches!(child.join(), Err(JoinError::Exited(exit)) if exit.success()));
        assert_eq!(said(from)?, "hook ");
    }

    only [forkserver ForkServer, spawn Spawn]
    /// `test_atexit`, of work that returns. Not of a forked child: it cannot tell its own hooks
    /// from those it has from its parent, and runs none.
    fn test_atexit_hook_runs_when_the_work_returns() {
        let (from, to) = io::pipe()?;
        hook_exit(to.into(), false).spawn()?.join()?;
        assert_eq!(said(from)?, "hook ");
    }

    /// `test_atexit`: the hooks of the parent do not run in the child.
    fn test_atexit_hook_of_the_parent_is_its_own() {
        let (from, to) = io::pipe()?;
        let parent = hook_and_spawn(to.into()).spawn()?;
        parent.join()?;
        // A forked parent runs no hook either.
        let expected = if offspring::start_method() == StartMethod::Fork { "" } else { "hook " };
        assert_eq!(said(from)?, expected);
    }
}

#[process]
fn hook_and_spawn(to: Fd<PipeWriter>) {
    hook_exit(to, false).run();
    assert_eq!(divide(6, 3).spawn().unwrap().join().unwrap(), 2);
    assert!(divide(6, 0).spawn().unwrap().join().is_err());
}

/// What the hook sends on.
static SEND: OnceLock<Sender<String>> = OnceLock::new();

extern "C" fn send() {
    if let Some(to) = SEND.get() {
        let _ = to.send("from the hook".into());
    }
}

#[process]
fn hook_send(to: Sender<String>) {
    to.send("from the work".into()).unwrap();
    SEND.set(to).unwrap();
    at_exit(send);
    std::process::exit(0);
}

each_start_method! {
    /// `test_atexit`: a pipe can be used in a hook.
    fn test_atexit_hook_may_send() {
        let (to, from) = offspring::pipe()?;
        let child = hook_send(to).spawn()?;
        assert_eq!(from.recv()?, "from the work");
        assert_eq!(child.wait()?.code(), Some(0));
        assert_eq!(from.recv()?, "from the hook");
        assert!(matches!(from.recv(), Err(RecvError::Disconnected)));
    }
}

static SPAWNED: OnceLock<Fd<PipeWriter>> = OnceLock::new();

extern "C" fn start_another() {
    let told = match divide(6, 3).spawn() {
        Ok(child) => format!("{:?}", child.join().ok()),
        Err(error @ Error::Os { .. }) => panic!("{error}"),
        Err(error) => error.to_string(),
    };
    let _ = (&**SPAWNED.get().unwrap()).write_all(told.as_bytes());
}

#[process]
fn hook_start(to: Fd<PipeWriter>) {
    divide(6, 3).spawn().unwrap().join().unwrap();
    SPAWNED.set(to).unwrap();
    at_exit(start_another);
    std::process::exit(0);
}

each_start_method! {
    /// `test_atexit`: so can a process be.
    fn test_atexit_hook_may_start_a_process() {
        let (from, to) = io::pipe()?;
        let child = hook_start(to.into()).spawn()?;
        assert_eq!(child.wait()?.code(), Some(0));
        assert_eq!(said(from)?, "Some(2)");
    }
}
