//! The processes that this program declares, found by name.

use std::any::type_name;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::panic_report::PanicReport;
use super::protocol::Outcome;
use super::{Process, panics};
use crate::error::{Error, Result};
use crate::wire::{self, Attached};

/// One declared process: its name, its place, and how to run it from its serialised form.
#[derive(Debug)]
pub struct Entry {
    path: &'static str,
    name: &'static str,
    signature: &'static str,
    file: &'static str,
    line: u32,
    column: u32,
    run: fn(&[u8], Vec<OwnedFd>, &mut Vec<u8>) -> Ended,
    run_all: fn(&mut dyn Tasks<'_>, &mut Vec<u8>),
    started: AtomicU32,
}

impl Entry {
    /// What `#[process]` writes for each process.
    #[doc(hidden)]
    pub const fn new<P: Process>(
        path: &'static str,
        name: &'static str,
        signature: &'static str,
        file: &'static str,
        line: u32,
        column: u32,
    ) -> Self {
        Self {
            path,
            name,
            signature,
            file,
            line,
            column,
            run: run::<P>,
            run_all: run_all::<P>,
            started: AtomicU32::new(0),
        }
    }

    /// What tells it from every other process of the program.
    fn key(&self) -> (&'static str, &'static str, u32, u32) {
        (self.path, self.file, self.line, self.column)
    }

    fn place(&self) -> String {
        format!("{}:{}:{}", self.file, self.line, self.column)
    }

    pub(super) fn path(&self) -> &'static str {
        self.path
    }

    /// A name for the next one started: `square-1`.
    pub(super) fn next_name(&self) -> String {
        let number = self.started.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        format!("{}-{number}", self.name)
    }

    pub(super) fn run(&self, args: &[u8], fds: Vec<OwnedFd>) -> Outcome {
        let mut bytes = Vec::new();
        match self.run_into(args, fds, &mut bytes) {
            Ended::Value(attached) => Outcome::Value(bytes, attached.sent()),
            Ended::Panicked(report) => Outcome::Panicked(report),
            Ended::Unencodable(reason) => Outcome::Unencodable(reason),
            Ended::Undecodable(reason) => Outcome::Undecodable(reason),
        }
    }

    /// Runs it here, and appends its value to `bytes`; if there is none, they are as before.
    pub(crate) fn run_into(&self, args: &[u8], fds: Vec<OwnedFd>, bytes: &mut Vec<u8>) -> Ended {
        let before = bytes.len();
        let ended = (self.run)(args, fds, bytes);
        if !matches!(ended, Ended::Value(_)) {
            bytes.truncate(before);
        }
        ended
    }

    /// Runs many of it here, one after the other. `bytes` is room for their values, in turn.
    pub(crate) fn run_all(&self, tasks: &mut dyn Tasks<'_>, bytes: &mut Vec<u8>) {
        (self.run_all)(tasks, bytes);
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// Where the arguments of one process come from that is run many times, and what takes what came of
/// each.
pub(crate) trait Tasks<'a> {
    /// The next ones, which have no descriptors; it begins with that.
    fn next(&mut self) -> Option<&'a [u8]>;

    /// It has ended; a value is in `bytes`.
    fn ended(&mut self, ended: Ended, bytes: &[u8]);
}

/// How a run of a process ended; its value is in bytes elsewhere.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It returned, and this goes with the value.
    Value(Attached),
    /// It panicked.
    Panicked(PanicReport),
    /// What it returned does not serialise.
    Unencodable(String),
    /// It did not run: its arguments did not deserialise.
    Undecodable(String),
}

/// Decodes a process, runs it, and appends what came of it. All three are code of the user's, so a
/// panic in any of them is the work's.
#[inline]
fn work<P: Process>(args: &[u8], fds: Vec<OwnedFd>, bytes: &mut Vec<u8>) -> Ended {
    let process: P = match wire::decode(args, fds) {
        Ok(process) => process,
        Err(error) => return Ended::Undecodable(error.to_string()),
    };
    let output = process.run();
    match wire::encode(&output, bytes) {
        Ok(attached) => Ended::Value(attached),
        Err(error) => Ended::Unencodable(error.to_string()),
    }
}

/// Catches a panic of the work's. What it left half done is the process's own: it ends, or, in a pool,
/// holds nothing but statics, as a thread's panic would leave them.
fn caught<R>(work: impl FnOnce() -> R) -> Result<R, PanicReport> {
    catch_unwind(AssertUnwindSafe(|| panics::noted(work))).map_err(panics::describe)
}

fn run<P: Process>(args: &[u8], fds: Vec<OwnedFd>, bytes: &mut Vec<u8>) -> Ended {
    caught(|| work::<P>(args, fds, bytes)).unwrap_or_else(Ended::Panicked)
}

/// As long as none panics, they are all run in one go.
fn run_all<P: Process>(tasks: &mut dyn Tasks<'_>, bytes: &mut Vec<u8>) {
    loop {
        let all = caught(|| {
            while let Some(args) = tasks.next() {
                bytes.clear();
                let ended = work::<P>(args, Vec::new(), bytes);
                tasks.ended(ended, bytes);
            }
        });
        match all {
            Ok(()) => return,
            Err(report) => tasks.ended(Ended::Panicked(report), &[]),
        }
    }
}

/// Ties a process to its entry. Implemented by `#[process]` and by `#[derive(Process)]`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not registered as a process",
    label = "needs `#[process]`",
    note = "put `#[process]` on the definition of `{Self}`, or derive `Process` there if it \
            derives serde's `Serialize` and `Deserialize` itself"
)]
pub trait Registered: Serialize + DeserializeOwned + 'static {
    /// The entry.
    fn entry() -> &'static Entry;
}

/// What an entry is submitted as, from wherever in the program it stands.
#[doc(hidden)]
#[derive(Debug)]
pub struct Registration(pub &'static Entry);

inventory::collect!(Registration);

/// All entries, sorted: every process of one build has the same table.
struct Table {
    entries: Vec<&'static Entry>,
    fingerprint: u64,
}

/// The table of what is registered by now.
///
/// It is complete once `main` runs; an initialiser that starts a process may come too soon.
fn table() -> Result<&'static Table> {
    static TABLE: RwLock<Option<&'static Table>> = RwLock::new(None);
    let registered = inventory::iter::<Registration>.into_iter().count();
    let known = *TABLE.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(table) = known
        && table.entries.len() == registered
    {
        return Ok(table);
    }
    let table = Box::leak(Box::new(Table::new()?)); // once, or twice
    *TABLE.write().unwrap_or_else(PoisonError::into_inner) = Some(table);
    Ok(table)
}

impl Table {
    fn new() -> Result<Self> {
        let mut entries: Vec<_> = inventory::iter::<Registration>
            .into_iter()
            .map(|registration| registration.0)
            .collect();
        entries.sort_by_key(|entry| entry.key());
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
            return Err(Error::Duplicate {
                name: pair[0].path.into(),
                first: pair[0].place(),
                second: pair[1].place(),
            });
        }
        // Not a HashMap's hasher: a fork server must not fix its children's random keys.
        let mut hasher = DefaultHasher::new();
        (env!("CARGO_PKG_VERSION"), type_name::<Entry>()).hash(&mut hasher);
        for entry in &entries {
            (entry.key(), entry.signature).hash(&mut hasher);
        }
        Ok(Self { fingerprint: hasher.finish(), entries })
    }
}

/// This name of a process, as the program has it.
pub(crate) fn known_name(name: &str) -> Option<&'static str> {
    table().ok()?.entries.iter().map(|entry| entry.name).find(|known| *known == name)
}

/// Stands for all names and signatures of the program: two builds that differ in them never talk.
pub(crate) fn fingerprint() -> Result<u64> {
    table().map(|table| table.fingerprint)
}

/// How many processes the program declares.
pub(super) fn count() -> usize {
    table().map_or(0, |table| table.entries.len())
}

/// The place of an entry in the table.
pub(crate) fn index_of(entry: &Entry) -> Result<u32> {
    let table = table()?;
    let index = table.entries.binary_search_by_key(&entry.key(), |entry| entry.key());
    // The macro writes an entry and its registration in one item; only the time can be wrong.
    index.map(|index| index as u32).map_err(|_| Error::BeforeMain)
}

/// The entry that another process of this build means.
pub(super) fn entry_at(index: u32, path: &str) -> Option<&'static Entry> {
    let entry = table().ok()?.entries.get(index as usize)?;
    (entry.path == path).then_some(entry)
}

/// The entry at this place in the table: of this very build.
pub(crate) fn entry(index: u32) -> Option<&'static Entry> {
    table().ok()?.entries.get(index as usize).copied()
}
