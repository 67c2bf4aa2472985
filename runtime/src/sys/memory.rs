//! How much memory there is to be had.
//!
//! References: `proc_meminfo(5)`, `cgroups(7)`, `sysinfo(2)`.

use std::fs;
use std::path::Path;

/// A request of up to this size is not worth a look.
pub(crate) const CHECKED_FROM: usize = 8 << 20;

/// The bytes that this process could still get, as far as the system and its cgroups tell.
pub(crate) fn available() -> u64 {
    let system = of_system().unwrap_or(u64::MAX);
    system.min(of_cgroups().unwrap_or(u64::MAX))
}

/// How much memory this process has in use that is not in a file (its resident set, less what it shares).
pub(crate) fn own() -> Option<u64> {
    let sizes = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = sizes.split_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(resident.saturating_sub(shared) * page.cast_unsigned())
}

fn of_system() -> Option<u64> {
    if let Ok(info) = fs::read_to_string("/proc/meminfo") {
        let field = |name: &str| -> Option<u64> {
            let line = info.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
        };
        if let Some(available) = field("MemAvailable") {
            return Some((available + field("SwapFree").unwrap_or(0)).saturating_mul(1024));
        }
    }
    // Without /proc: no more than there is at all.
    let info = nix::sys::sysinfo::sysinfo().ok()?;
    Some(info.ram_total())
}

/// The least that this process's cgroup, or one above it, has left (version 2).
fn of_cgroups() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let groups = Path::new(path).ancestors().map(|group| root.join(group));
    groups
        .filter_map(|group| {
            let number = |file| -> Option<u64> {
                fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()
            };
            Some(number("memory.max")?.saturating_sub(number("memory.current")?))
        })
        .min()
}
