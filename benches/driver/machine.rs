//! What it was measured on.

use std::fs;
use std::process::Command;

/// A few lines about the machine, without its name.
pub(crate) fn describe() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let memory: f64 = field("/proc/meminfo", "MemTotal")
        .split(' ')
        .next()
        .and_then(|kib| kib.parse().ok())
        .unwrap_or_default();
    format!(
        "{cpus} cores ({cpu}), {memory:.0} GiB, Linux {kernel}, {glibc}, {rustc}, {python}, {packages}; \
         load average at the start {load}; transparent huge pages: {huge}.",
        cpu = field("/proc/cpuinfo", "model name"),
        memory = memory / f64::from(1 << 20),
        kernel = read("/proc/sys/kernel/osrelease"),
        glibc = output("getconf", "GNU_LIBC_VERSION"),
        rustc = output("rustc", "--version"),
        python = output("python3", "--version"),
        packages = packages(),
        load = read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        huge = read("/sys/kernel/mm/transparent_hugepage/enabled"),
    )
}

/// Today, in UTC.
pub(crate) fn date() -> String {
    let today = Command::new("date").args(["-u", "+%F"]).output();
    today.map_or("?".into(), |today| String::from_utf8_lossy(&today.stdout).trim().into())
}

/// Whether there is a Python to compare with.
pub(crate) fn has_python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The packages that some of Python's rows need.
fn packages() -> String {
    let version = |package| {
        let program = format!(
            "import {package}, importlib.metadata as metadata; \
             print('{package}', metadata.version('{package}'))"
        );
        match Command::new("python3").args(["-c", &program]).output() {
            Ok(output) if output.status.success() => {
                String::from_utf8_lossy(&output.stdout).trim().into()
            }
            _ => format!("no {package}"),
        }
    };
    ["numpy", "loky", "mpire"].map(version).join(", ")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().into()
}

fn field(path: &str, name: &str) -> String {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(':').map_or("?", |(_, value)| value.trim()).into()
}

fn output(program: &str, argument: &str) -> String {
    match Command::new(program).arg(argument).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().into(),
        Err(_) => format!("no {program}"),
    }
}
