//! What a process occupies.

use std::fs;

use crate::figure;

/// I: prints what a process occupies: all that it has mapped and touched (`rss`), its part of
/// that when what is shared is divided among those who share it (`pss`), and what it has alone
/// (`private`).
///
/// # Panics
/// If there is no such process.
pub fn figures(pid: u32) {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("no such process");
    let sum = |fields: &[&str]| -> f64 {
        let kib =
            |line: &str| line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok());
        rollup
            .lines()
            .filter(|line| fields.iter().any(|field| line.starts_with(field)))
            .filter_map(kib)
            .sum::<f64>()
    };
    figure("rss", sum(&["Rss:"]), "KiB");
    figure("pss", sum(&["Pss:"]), "KiB");
    figure("private", sum(&["Private_Clean:", "Private_Dirty:"]), "KiB");
}

/// The children of this process that go by this name.
///
/// # Panics
/// If `/proc` cannot be read.
pub fn children_named(name: &str) -> Vec<u32> {
    let own = std::process::id().to_string();
    let is_meant = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // pid (name) state ppid ...
        let Some((head, tail)) = stat.rsplit_once(") ") else { return false };
        head.split_once('(').is_some_and(|(_, comm)| comm == name)
            && tail.split(' ').nth(1) == Some(&own)
    };
    let entries = fs::read_dir("/proc").expect("no /proc");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_meant).collect()
}
