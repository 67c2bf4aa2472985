//! A parent without standard streams, in a directory that is gone; and builders that ask for what
//! cannot be.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::libc;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use offspring::{Builder, Error, Stdio, duplex, pipe, process};
use serde::{Deserialize, Serialize};
use tests::each_start_method;

/// What a process has as its standard streams, by number.
fn standard_streams() -> Vec<(i32, String)> {
    tests::descriptors().into_iter().filter(|(number, _)| *number < 3).collect()
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Streams {
    open: Vec<(i32, String)>,
    read: usize,
    /// Whether all could be written to.
    written: bool,
}

#[process]
fn use_streams() -> Streams {
    Streams {
        open: standard_streams(),
        read: std::io::stdin().read_to_end(&mut Vec::new()).unwrap_or(usize::MAX),
        written: std::io::stdout().write_all(b"out\n").is_ok()
            && std::io::stdout().flush().is_ok()
            && std::io::stderr().write_all(b"err\n").is_ok(),
    }
}

/// Starts another, in a process whose streams are whatever they are.
#[process]
fn use_streams_below() -> Streams {
    use_streams().spawn().unwrap().join().unwrap()
}

fn close(number: i32) {
    // SAFETY: a program may close its standard streams; whoever uses them then has none. They are
    // opened again before anything else in this process needs them.
    assert_eq!(unsafe { libc::close(number) }, 0);
}

/// Runs `code` without these standard streams; they are back when it has returned or panicked.
fn without<R>(numbers: &[i32], code: impl FnOnce() -> R) -> R {
    let saved = [
        std::io::stdin().as_fd().try_clone_to_owned().unwrap(),
        std::io::stdout().as_fd().try_clone_to_owned().unwrap(),
        std::io::stderr().as_fd().try_clone_to_owned().unwrap(),
    ];
    numbers.iter().for_each(|&number| close(number));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(code));
    dup2_stdin(&saved[0]).unwrap();
    dup2_stdout(&saved[1]).unwrap();
    dup2_stderr(&saved[2]).unwrap();
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

const CLOSED: [&[i32]; 6] = [&[0], &[1], &[2], &[0, 1], &[1, 2], &[0, 1, 2]];

each_start_method! {
    fn a_child_of_a_parent_without_streams_has_empty_ones() {
        for numbers in CLOSED {
            let null = |number: &i32| (*number, "/dev/null".to_owned());
            let [child, below] = without(numbers, || {
                let child = use_streams().spawn().unwrap().join();
                [child, use_streams_below().spawn().unwrap().join()]
            });
            for streams in [child?, below?] {
                assert_eq!(streams.open.len(), 3, "{numbers:?}");
                for wanted in numbers.iter().map(null) {
                    assert!(streams.open.contains(&wanted), "{numbers:?}: {streams:?}");
                }
                // Its standard input is otherwise the harness's.
                assert!(streams.read == 0 || !numbers.contains(&0), "{streams:?}");
                assert!(streams.written, "{numbers:?}: {streams:?}");
            }
        }
    }

    fn nothing_of_ours_becomes_a_standard_stream() {
        // First when there is nothing yet, then when there is a fork server.
        for round in 0..2 {
            for numbers in CLOSED {
                let left = without(numbers, || {
                    let (tx, rx) = pipe::<Vec<u8>>().unwrap();
                    let (here, there) = duplex::<u32, u32>().unwrap();
                    let idle = wait_for_end(there).spawn().unwrap();
                    tx.send(vec![7; 100_000]).unwrap(); // by a file in memory
                    let piped = Builder::new()
                        .stdin(Stdio::piped())
                        .stdout(Stdio::piped())
                        .stderr(Stdio::piped())
                        .spawn(use_streams())
                        .unwrap();
                    let second = use_streams().spawn().unwrap();
                    let now = standard_streams();
                    assert_eq!(rx.recv().unwrap(), vec![7; 100_000]);
                    let later = standard_streams();
                    drop(here);
                    idle.join().unwrap();
                    let first = piped.join_with_output().unwrap();
                    (now, later, first.stdout, second.join().unwrap())
                });
                let (now, later, stdout, second) = left;
                let open: Vec<_> = (0..3).filter(|number| !numbers.contains(number)).collect();
                for streams in [now, later] {
                    let found: Vec<_> = streams.iter().map(|(number, _)| *number).collect();
                    assert_eq!(found, open, "round {round}, without {numbers:?}: {streams:?}");
                }
                assert_eq!(stdout, b"out\n");
                // What was made for the first child must not be found by the second.
                let foreign = |target: &str| target.starts_with("socket:");
                assert!(!second.open.iter().any(|(_, target)| foreign(target)), "{second:?}");
            }
        }
    }
}

#[process]
fn wait_for_end(until: offspring::Duplex<u32, u32>) {
    assert!(until.recv().is_err());
}

/// Where a process is, if that place has a name.
#[process]
fn current_dir() -> Result<String, String> {
    let dir = std::env::current_dir();
    dir.map(|dir| dir.display().to_string()).map_err(|error| error.kind().to_string())
}

each_start_method! {
    fn a_working_directory_that_is_removed_is_no_obstacle() {
        for _ in 0..2 {
            let dir = tempfile::tempdir()?;
            std::env::set_current_dir(&dir)?;
            dir.close()?;
            assert!(std::env::current_dir().is_err());
            for _ in 0..3 {
                assert!(current_dir().spawn()?.join()?.is_err(), "it is where its parent is");
            }
            let elsewhere = Builder::new().current_dir("/").spawn(current_dir())?;
            assert_eq!(elsewhere.join()?, Ok("/".into()));
        }
        // The fork server was started in the one that is gone.
        std::env::set_current_dir("/")?;
        assert_eq!(current_dir().spawn()?.join()?, Ok("/".into()));
    }

    fn a_directory_that_cannot_be_entered_is_an_error_and_starts_nothing() {
        assert!(current_dir().spawn()?.join()?.is_ok());
        let before = tests::descriptors();
        let file = tempfile::NamedTempFile::new()?;
        let long = "x/".repeat(5000);
        for (dir, errno) in [
            (Path::new("/no such directory"), libc::ENOENT),
            (Path::new(""), libc::ENOENT),
            (file.path(), libc::ENOTDIR),
            (Path::new(&long), libc::ENAMETOOLONG),
        ] {
            match Builder::new().current_dir(dir).spawn(current_dir()) {
                Err(error @ Error::Os { .. }) => {
                    assert_eq!(error.raw_os_error(), Some(errno), "{dir:?}: {error}");
                    assert!(error.to_string().contains("directory"), "{error}");
                }
                other => panic!("{dir:?}: {other:?}"),
            }
        }
        drop(file);
        assert!(offspring::active_children().is_empty());
        assert_eq!(tests::descriptors().len(), before.len());
    }

    /// Removed between the call that names it and the child's entering it, as nearly as that can be
    /// had: the directory was opened by then.
    fn a_directory_removed_after_the_start_is_still_the_childs() {
        for _ in 0..20 {
            let dir = tempfile::tempdir()?;
            let child = Builder::new().current_dir(dir.path()).spawn(current_dir())?;
            dir.close()?;
            child.join()?.ok();
        }
    }

    fn what_the_system_cannot_take_is_refused_before_anything_is_started() {
        assert!(current_dir().spawn()?.join()?.is_ok());
        let before = tests::descriptors();
        let refuse = |what: &str, builder: &mut Builder| match builder.spawn(current_dir()) {
            Err(error @ Error::Unusable { .. }) => {
                assert!(error.to_string().contains(what), "{error}");
            }
            other => panic!("{what}: {other:?}"),
        };
        refuse("name of a process", Builder::new().name("a\0b"));
        refuse("name of a process", Builder::new().name("\0"));
        refuse("name of a variable", Builder::new().env("a\0b", "value"));
        refuse("name of a variable", Builder::new().env("a=b", "value"));
        refuse("name of a variable", Builder::new().env("", "value"));
        refuse("value of a variable", Builder::new().env("NAME", "a\0b"));
        refuse("name of a variable", Builder::new().env_remove("a\0b"));
        refuse("directory", Builder::new().current_dir("/a\0b"));
        assert!(offspring::active_children().is_empty());
        assert_eq!(tests::descriptors(), before);
    }

    fn unusual_names_and_variables_reach_the_child() {
        let long = "long ".repeat(10_000);
        for name in ["", " ", "\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}", "a\nb\t\u{7f}", &long] {
            let child = Builder::new().name(name).env("UNUSUAL", name).spawn(own_name())?;
            assert_eq!(child.join()?, (name.to_owned(), Some(name.to_owned())));
        }
        use std::os::unix::ffi::OsStrExt;
        let bytes = std::ffi::OsStr::from_bytes(b"\xff\xfe");
        assert!(Builder::new().env("UNUSUAL", bytes).spawn(variable_is(vec![0xff, 0xfe]))?.join()?);
        let many = (0..5000).map(|n| (format!("UNUSUAL_{n}"), "x".repeat(20)));
        assert_eq!(Builder::new().envs(many).spawn(count_variables())?.join()?, 5000);
    }
}

#[process]
fn own_name() -> (String, Option<String>) {
    (offspring::current().name().into(), std::env::var("UNUSUAL").ok())
}

#[process]
fn variable_is(bytes: Vec<u8>) -> bool {
    use std::os::unix::ffi::OsStrExt;
    std::env::var_os("UNUSUAL").is_some_and(|value| value.as_bytes() == bytes)
}

#[process]
fn count_variables() -> usize {
    std::env::vars().filter(|(key, _)| key.starts_with("UNUSUAL_")).count()
}

each_start_method! {
    fn a_stream_that_goes_nowhere_breaks_nothing() {
        // To a pipe that nobody reads, to a full device.
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let full = File::options().write(true).open("/dev/full")?;
        for stdio in [Stdio::from(writer), Stdio::from(full)] {
            let child =
                Builder::new().stdout(stdio.clone()).stderr(stdio).spawn(use_streams())?;
            assert!(!child.join()?.written);
        }
    }
}
