//! What the tests share: cases that run in a process of their own, under each start method, with a
//! time limit, by `#[offspring::test]`; and a look at what a process holds.

pub mod crew;
pub mod family;
pub mod forgery;
pub mod steps;
pub mod storm;
pub mod tasks;

use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use nix::libc;
pub use offspring::__private::testing::family::{children_of, is_child_of, tree as process_tree};

/// How long a case may take before it counts as hung; its soak form may take longer.
pub fn watchdog() -> Duration {
    const WATCHDOG: Duration = Duration::from_secs(120);
    if soak() { WATCHDOG * 30 } else { WATCHDOG }
}

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
            @ [forkserver ForkServer, spawn Spawn, fork Fork] $(#[doc = $doc])* fn $name() $body
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

            fn case() -> ::std::result::Result<(), ::std::boxed::Box<dyn ::std::error::Error>> {
                $body
                #[allow(unreachable_code)]
                Ok(())
            }

            $(
                #[::offspring::test(timeout = $crate::watchdog())]
                fn $method() -> ::std::result::Result<(), ::std::boxed::Box<dyn ::std::error::Error>>
                {
                    ::offspring::set_start_method(::offspring::StartMethod::$variant);
                    case()
                }
            )*
        }
    };
    () => {};
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
        offspring::wait(&[&process]).unwrap();
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
