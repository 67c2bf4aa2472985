//! This process, its parent, and the machine they run on.

use std::sync::{PoisonError, RwLock};

use crate::sync;

/// What a child was told of itself.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) parent: ToldOfParent,
}

/// What a child was told of its parent.
#[derive(Debug)]
pub(super) struct ToldOfParent {
    pub(super) name: String,
    pub(super) pid: u32,
}

/// `None` in a process that is nobody's child. A forked child begins with its parent's.
static TOLD: RwLock<Option<&'static Told>> = RwLock::new(None);

fn told() -> Option<&'static Told> {
    *TOLD.read().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this process what it was told to be.
pub(super) fn become_child(told: Told) {
    let told: &'static Told = Box::leak(Box::new(told)); // once in the life of a process
    sync::name_process(&told.name);
    *TOLD.write().unwrap_or_else(PoisonError::into_inner) = Some(told);
}

/// This process. Python's `current_process()`.
///
/// ```
/// assert_eq!(offspring::current().name(), "main");
/// assert_eq!(offspring::current().pid(), std::process::id());
/// ```
pub fn current() -> CurrentProcess {
    CurrentProcess { told: told() }
}

/// This process: see [`current`].
#[derive(Debug, Clone, Copy)]
pub struct CurrentProcess {
    told: Option<&'static Told>,
}

impl CurrentProcess {
    /// Its name: the one it was given or `square-1` in a child, `main` in a process that is
    /// nobody's child.
    pub fn name(&self) -> &'static str {
        self.told.map_or("main", |told| &told.name)
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Whether it is a daemon: see [`Builder::daemon`](crate::Builder::daemon).
    pub fn is_daemon(&self) -> bool {
        self.told.is_some_and(|told| told.daemon)
    }
}

/// The process that started this one, or `None` in one that this crate did not start.
///
/// Python's `parent_process()`.
///
/// ```
/// use offspring::{parent, process};
///
/// #[process]
/// fn who_started_me() -> Option<u32> {
///     parent().map(|parent| parent.pid())
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert!(parent().is_none());
/// assert_eq!(who_started_me().spawn()?.join()?, Some(std::process::id()));
/// # Ok(())
/// # }
/// ```
pub fn parent() -> Option<ParentProcess> {
    told().map(|told| ParentProcess { told: &told.parent })
}

/// The process that started this one: see [`parent`].
#[derive(Debug, Clone, Copy)]
pub struct ParentProcess {
    told: &'static ToldOfParent,
}

impl ParentProcess {
    /// Its name.
    pub fn name(&self) -> &'static str {
        &self.told.name
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.told.pid
    }

    /// Whether it still lives.
    ///
    /// Only a [detached](crate::Builder::detached) child lives to see it dead: any other is killed
    /// in the moment its parent ends.
    pub fn is_alive(&self) -> bool {
        // An orphan is given another parent at once.
        std::os::unix::process::parent_id() == self.told.pid
    }
}

/// How many processes can run at once: the processors that this process may use.
///
/// Honours its affinity and the quota of its cgroup, and is at least 1. Python's
/// `os.process_cpu_count()`, which knows nothing of quotas.
///
/// ```
/// assert!(offspring::cpu_count() >= 1);
/// ```
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}
