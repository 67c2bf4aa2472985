//! What the tests share: cases that run in a process of their own, under each start method, with a
//! watchdog; and a look at what a process holds.

pub mod crew;
pub mod family;
pub mod forgery;
pub mod steps;
pub mod storm;
pub mod tasks;

use std::collections::BTreeSet;
use std::error::Error;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use std::{env, fmt, fs, thread};

use nix::libc;
use offspring::{Builder, Process, StartMethod, Stdio};

/// How long a case may take before it counts as hung.
pub const WATCHDOG: Duration = Duration::from_secs(120);

/// How long the soak form of one may.
fn watchdog() -> Duration {
    if soak() { WATCHDOG * 30 } else { WATCHDOG }
}

const METHOD: &str = "OFFSPRING_TEST_START_METHOD";

/// Defines a test for each start method, from one body that runs in a fresh process.
///
/// In that process, which has a single thread, the start method is the default one. The body may
/// use `?`. `only [..]` names the methods where not all can show the behaviour.
///
/// ```ignore
/// each_start_method! {
///     fn a_child_returns_its_value() {
///         assert_eq!(square(3).spawn()?.join()?, 9);
///     }
/// }
/// ```
#[macro_export]
macro_rules! each_start_method {
    ($(#[doc = $doc:literal])* fn $name:ident() $body:block $($rest:tt)*) => {
        $crate::each_start_method! {
            @ [forkserver Forkserver, spawn Spawn, fork Fork] $(#[doc = $doc])* fn $name() $body
        }
        $crate::each_start_method! { $($rest)* }
    };
    (
        only [$($method:ident $variant:ident),*]
        $(#[doc = $doc:literal])* fn $name:ident() $body:block $($rest:tt)*
    ) => {
        $crate::each_start_method! {
            @ [$($method $variant),*] $(#[doc = $doc])* fn $name() $body
        }
        $crate::each_start_method! { $($rest)* }
    };
    (
        @ [$($method:ident $variant:ident),*]
        $(#[doc = $doc:literal])* fn $name:ident() $body:block
    ) => {
        $(#[doc = $doc])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            #[::offspring::process]
            fn case() {
                $crate::begin();
                #[allow(clippy::redundant_closure_call)]
                let outcome: ::std::result::Result<(), ::std::boxed::Box<dyn ::std::error::Error>> =
                    (|| {
                        $body
                        #[allow(unreachable_code)]
                        Ok(())
                    })();
                $crate::end(outcome);
            }

            $(
                #[test]
                fn $method() {
                    $crate::run(
                        concat!(stringify!($name), " (", stringify!($method), ")"),
                        ::offspring::StartMethod::$variant,
                        case(),
                    );
                }
            )*
        }
    };
    () => {};
}

/// Runs a case in a process of its own, and fails as it fails, with what it printed.
pub fn run<P: Process<Output = ()>>(name: &str, method: StartMethod, case: P) {
    run_with(Builder::new().env(METHOD, format!("{method:?}")), name, case);
}

/// As [`run`], with a builder of the caller's.
pub fn run_with<P: Process<Output = ()>>(builder: &mut Builder, name: &str, case: P) {
    let child = builder
        .start_method(StartMethod::Spawn)
        .name("case")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn(case)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let watched = child.handle();
    let watchdog = thread::spawn(move || {
        let ended = watched.wait_timeout(watchdog()).is_ok_and(|status| status.is_some());
        if ended {
            return None;
        }
        let tree = process_tree(watched.pid());
        let _ = watched.kill();
        Some(tree)
    });
    let output = child.join_with_output().unwrap();
    let hung = watchdog.join().unwrap();
    let printed = format!(
        "--- standard output\n{}--- standard error\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    match (hung, output.result) {
        (Some(tree), _) => panic!("{name}: hung\n{tree}{printed}"),
        (None, Err(error)) => panic!("{name}: {error}\n{printed}"),
        (None, Ok(())) => print!("{printed}"),
    }
}

/// What a case does first.
#[doc(hidden)]
pub fn begin() {
    let wanted = env::var(METHOD).unwrap_or_default();
    let method = StartMethod::ALL.into_iter().find(|method| format!("{method:?}") == wanted);
    offspring::set_start_method(method.unwrap_or_default());
}

/// What a case does last.
#[doc(hidden)]
pub fn end(outcome: Result<(), Box<dyn Error>>) {
    if let Err(error) = outcome {
        panic!("{error}\n{error:?}");
    }
}

/// The processes below `root`, with what they wait for.
pub fn process_tree(root: u32) -> String {
    let mut lines = String::new();
    let mut below = vec![(root, 0)];
    while let Some((pid, depth)) = below.pop() {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let line = fmt::format(format_args!(
            "{:depth$}{pid} {} {} {}\n",
            "",
            read("comm").trim(),
            read("wchan"),
            read("syscall").trim(),
        ));
        lines.push_str(&line);
        below.extend(children_of(pid).into_iter().map(|child| (child, depth + 2)));
    }
    lines
}

/// The children of a process, as the kernel sees it: zombies and fork servers included.
pub fn children_of(pid: u32) -> BTreeSet<u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&process| is_child_of(process, pid))
        .collect()
}

/// Whether a process is a child of that one now.
pub fn is_child_of(process: u32, parent: u32) -> bool {
    let parent_of = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    parent_of(process) == Some(parent)
}

/// What a process holds: to be the same before and after something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Children, zombies and a fork server included.
    pub children: usize,
    /// Mapped regions of memory.
    pub mappings: usize,
}

impl Holdings {
    /// Those of this process.
    pub fn now() -> Self {
        let count = |dir: &str| fs::read_dir(Path::new("/proc/self").join(dir)).unwrap().count();
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            children: children_of(std::process::id()).len(),
            mappings: fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
        }
    }
}

/// The descriptors of this process, by number, and what each leads to.
pub fn descriptors() -> Vec<(i32, String)> {
    let mut open: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.display().to_string()))
        })
        .filter(|(_, target)| !target.starts_with("/proc/")) // the listing's own
        .collect();
    open.sort();
    open
}

/// A descriptor of a process, whosever child it is: readable when it ends. `None` if it has.
pub fn pidfd(pid: u32) -> Option<OwnedFd> {
    // SAFETY: pidfd_open has no memory effects; what it gives is ours.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Waits until a process, whosever child it is, has ended. It need not be reaped.
pub fn await_end_of(pid: u32) {
    if let Some(process) = pidfd(pid) {
        offspring::wait(&[&process], None).unwrap();
    }
}

/// Whether storms are to rage for as long as a machine can be spared: `OFFSPRING_SOAK=1`.
pub fn soak() -> bool {
    env::var_os("OFFSPRING_SOAK").is_some_and(|value| value == "1")
}

/// Whether the long forms of storms and soaks are asked for.
pub fn long() -> bool {
    env::var_os("OFFSPRING_LONG_TESTS").is_some_and(|value| value != "0")
}
