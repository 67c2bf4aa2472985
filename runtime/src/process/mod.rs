//! Processes: what they are, starting them, watching them, and how they end.
//!
//! - [`registry`]: the processes that the program declares
//! - [`builder`]: how one is to be started; [`stdio`] for its standard streams
//! - [`child`], [`handle`]: one that was started, with and without its result's type
//! - [`table`]: all that were started; [`exit`]: what becomes of them when this process ends
//! - [`join_error`]: what a child that gave no value leaves behind; [`panic_report`]: of one that panicked
//! - [`identity`]: this process, and its parent
//! - [`protocol`]: what passes over a channel; [`work`]: the child's side of it

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;

mod backtrace;
mod builder;
mod child;
mod entry;
mod exit;
mod handle;
mod identity;
mod join_error;
mod panic_report;
mod panics;
mod protocol;
pub(crate) mod registry;
mod stdio;
mod table;
mod work;

pub use builder::{Builder, set_start_method, start_method};
pub use child::{Child, JoinOutput};
pub use entry::init;
pub use handle::ChildHandle;
pub use identity::{CurrentProcess, ParentProcess, cpu_count, current, parent};
pub(crate) use join_error::write_end;
pub use join_error::{ChildFailure, Exit, JoinError};
pub use panic_report::Panic;
pub(crate) use panic_report::PanicReport;
pub use stdio::Stdio;
pub use table::active_children;

/// Work that can run in another process.
///
/// A process is a value that describes work: like a future, it does nothing until it is started,
/// by [`spawn`](Process::spawn) in a child or by [`run`](Process::run) right here.
///
/// `#[process]` on a function writes this implementation; on a struct or an enum it writes all but
/// [`run`](Process::run), which is yours. Its fields are what travels to the child, so they must
/// serialise; so must what `run` returns. Python's `Process` class, with its `run` method.
///
/// ```
/// use offspring::{Process, process};
///
/// #[process]
/// struct Countdown {
///     from: u32,
/// }
///
/// impl Process for Countdown {
///     type Output = Vec<u32>;
///
///     fn run(self) -> Vec<u32> {
///         (0..self.from).rev().collect()
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert_eq!(Countdown { from: 3 }.spawn()?.join()?, [2, 1, 0]);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a process",
    label = "needs `impl Process for {Self}`, with a `run` method that does the work",
    note = "a function becomes a process by `#[process]` alone"
)]
pub trait Process: registry::Registered {
    /// What the work gives back. It travels to the parent, so it must serialise.
    type Output: Serialize + DeserializeOwned + 'static;

    /// Does the work, in the process that calls it.
    fn run(self) -> Self::Output;

    /// Starts the work in a child of this process.
    ///
    /// The same as [`spawn(self)`](spawn).
    ///
    /// # Errors
    /// As [`spawn`].
    fn spawn(self) -> Result<Child<Self::Output>> {
        spawn(self)
    }
}

/// Starts `process` in a child of this process, and returns at once.
///
/// The child has a name of its own (`square-1`), this process's arguments, environment, working
/// directory and standard streams, and no other descriptor. If the [`Child`] is dropped, it runs
/// on, and this process waits for it at exit. Use a [`Builder`] to change any of that.
///
/// # Errors
/// [`Error::Encode`](crate::Error::Encode) if the arguments do not serialise, and whatever keeps
/// the system from making a process: see [`Error`](crate::Error). The work has not run then.
///
/// ```
/// #[offspring::process]
/// fn greet(name: String) -> String {
///     format!("Hello {name}, from {}", offspring::current().name())
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let child = offspring::spawn(greet("Ada".into()))?;
/// assert!(child.name().starts_with("greet-"));
/// assert!(child.join()?.starts_with("Hello Ada, from greet-"));
/// # Ok(())
/// # }
/// ```
pub fn spawn<P: Process>(process: P) -> Result<Child<P::Output>> {
    Builder::new().spawn(process)
}
