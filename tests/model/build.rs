//! Copies the library's sources to where they are compiled against a model of the kernel.
//!
//! The copies differ from the sources in what is listed below, and nowhere else: a text that is not
//! found as often as it should be ends the build. `MODEL_MUTATION=name` breaks the copy on purpose,
//! by a text of `mutations.txt`, so that the checks can be checked. `MODEL_SOURCES=/some/src` takes
//! the library's sources from elsewhere, to try a change.

use std::fs;
use std::path::{Path, PathBuf};

/// What goes through the model instead of the system: file, text, what takes its place.
const MODELLED: &[(&str, &str, &str)] = &[
    (
        "sync/kernel.rs",
        "pub(super) use std::sync::atomic::{AtomicU32, AtomicU64};",
        "pub(super) use crate::kernel::{AtomicU32, AtomicU64};",
    ),
    (
        "sys/robust.rs",
        "use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence};",
        "use std::sync::atomic::{Ordering, compiler_fence};\n\
         use crate::kernel::{AtomicU32, AtomicU64, AtomicUsize};",
    ),
    (
        "sys/robust.rs",
        "unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) } != 0",
        "!crate::kernel::get_robust_list(&raw mut head, &raw mut len)",
    ),
    ("sys/robust.rs", "unsafe { libc::gettid() }", "crate::kernel::gettid()"),
    // Threads of the model share one of the system's, so that `std` cannot tell which one panics.
    ("sync/lock.rs", "use std::thread;", "use crate::kernel::thread;"),
    ("sync/mutex.rs", "use std::thread;", "use crate::kernel::thread;"),
    ("sync/reentrant.rs", "use std::thread;", "use crate::kernel::thread;"),
    ("sync/rwlock_guard.rs", "use std::thread;", "use crate::kernel::thread;"),
    ("sync/rwlock_state.rs", "use std::thread;", "use crate::kernel::thread;"),
    (
        "queue/waiting.rs",
        "use std::sync::atomic::{AtomicU32, Ordering};\n\
         use std::sync::{Arc, Mutex, MutexGuard, PoisonError};",
        "use std::sync::atomic::Ordering;\n\
         use std::sync::{Arc, MutexGuard, PoisonError};\n\
         use crate::kernel::AtomicU32;\n\
         use crate::local::Mutex;",
    ),
    // Whether it looks again by itself is the check's to say.
    (
        "queue/waiting.rs",
        "let (now, early) = self.wait.no_longer_than(LOOK_AGAIN);",
        "let (now, early) = core.at_a_time(self.wait);",
    ),
    (
        "pool/board.rs",
        "use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};",
        "use std::sync::atomic::{Ordering, fence};\n\
         use crate::kernel::{AtomicU32, AtomicU64};",
    ),
];

/// Numbers that are smaller here, so that few steps reach what in life takes many.
const SMALLER: &[(&str, &str, &str)] = &[
    ("sync/spin.rs", "const LOOKS: u32 = 6;", "const LOOKS: u32 = 1;"),
    ("pool/board.rs", "const WINDOW: usize = 1024;", "const WINDOW: usize = 4;"),
    ("sync/rwlock_state.rs", "const SPINS: usize = 100;", "const SPINS: usize = 1;"),
    ("sync/rwlock_state.rs", "const FIRST_SLOTS: u32 = 8;", "const FIRST_SLOTS: u32 = 2;"),
    ("sync/condvar.rs", "const FIRST_SLOTS: u32 = 60;", "const FIRST_SLOTS: u32 = 6;"),
    ("sync/barrier_state.rs", "parties.max(4) * 2", "parties.max(1) * 2"),
];

const FILES: &[&str] =
    &["sys/robust.rs", "sys/poll.rs", "shm/shareable.rs", "queue/waiting.rs", "pool/board.rs"];

fn main() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtime/src");
    let sources = std::env::var_os("MODEL_SOURCES").map_or(sources, PathBuf::from);
    let copies = PathBuf::from(std::env::var_os("OUT_DIR").unwrap()).join("library");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=mutations.txt");
    println!("cargo::rerun-if-env-changed=MODEL_MUTATION");
    println!("cargo::rerun-if-env-changed=MODEL_SOURCES");

    let mut files: Vec<String> = FILES.iter().map(|file| (*file).to_owned()).collect();
    for entry in fs::read_dir(sources.join("sync")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".rs") {
            files.push(format!("sync/{name}"));
        }
    }
    let mutation = std::env::var("MODEL_MUTATION").ok().filter(|name| !name.is_empty());
    let mutation = mutation.map(|name| find_mutation(&name));

    for file in &files {
        let path = sources.join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        let mut text = fs::read_to_string(&path).unwrap();
        for (of, from, to) in MODELLED.iter().chain(SMALLER) {
            if of == file {
                text = exchange(&text, of, from, to);
            }
        }
        for (of, from, to) in mutation.iter().flatten() {
            if of == file {
                text = exchange(&text, of, from, to);
            }
        }
        // The checks look into the room's modules.
        text = text.replace("pub(super) ", "pub(crate) ");
        if file == "sync/mod.rs" {
            text = text.replace("\nmod ", "\npub(crate) mod ");
        }
        let copy = copies.join(file);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, text).unwrap();
    }

    // `#[path]` takes a literal only, and only from here can it be an absolute one.
    for (list, modules) in [
        ("room.rs", &[("pub ", "sync/mod.rs", "sync")][..]),
        (
            "sys.rs",
            &[("pub(crate) ", "sys/robust.rs", "robust"), ("pub(crate) ", "sys/poll.rs", "poll")],
        ),
        ("shm.rs", &[("pub(crate) ", "shm/shareable.rs", "shareable")]),
        ("queue.rs", &[("pub(crate) ", "queue/waiting.rs", "waiting")]),
        ("pool.rs", &[("pub(crate) ", "pool/board.rs", "board")]),
    ] {
        let lines = modules.iter().map(|(visible, file, module)| {
            let path = copies.join(file);
            format!("#[path = {:?}] {visible}mod {module};\n", path.display().to_string())
        });
        fs::write(copies.join(list), lines.collect::<String>()).unwrap();
    }
}

fn exchange(text: &str, file: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{file} has not once, as it should: {from}");
    text.replace(from, to)
}

/// The exchanges of a mutation: in `mutations.txt` under `# name`, each as `@ file`, the lines to be
/// taken out after `- `, and those that take their place after `+ `.
fn find_mutation(name: &str) -> Vec<(String, String, String)> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("mutations.txt");
    let list = fs::read_to_string(list).unwrap();
    let mut lines = list.lines().skip_while(|line| *line != format!("# {name}")).skip(1).peekable();
    assert!(lines.peek().is_some(), "no mutation `{name}` in mutations.txt");
    let mut exchanges: Vec<(String, Vec<&str>, Vec<&str>)> = Vec::new();
    for line in lines.take_while(|line| !line.starts_with("# ")) {
        let (kind, rest) = line.split_at_checked(2).unwrap_or((line, ""));
        match (kind, exchanges.last_mut()) {
            ("@ ", _) => exchanges.push((rest.to_owned(), Vec::new(), Vec::new())),
            ("- " | "-", Some((_, from, _))) => from.push(rest),
            ("+ " | "+", Some((_, _, to))) => to.push(rest),
            _ => {}
        }
    }
    let joined =
        |(file, from, to): (String, Vec<&str>, Vec<&str>)| (file, from.join("\n"), to.join("\n"));
    exchanges.into_iter().map(joined).collect()
}
