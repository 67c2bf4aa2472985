//! The guide says of its Python programs that they run as they are: each does, ends well, and prints
//! what the comments of its `print` lines say, and no more. And its table of the names has them all.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use tests::family::not_tested;

/// A program of the guide, and where it stands.
struct Program {
    place: String,
    text: String,
}

/// The blocks of all chapters that are marked as Python.
fn programs() -> io::Result<Vec<Program>> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src/guide");
    let mut programs = Vec::new();
    for chapter in fs::read_dir(guide)? {
        let path = chapter?.path();
        let text = fs::read_to_string(&path)?;
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            if line.trim_end() == "```python" {
                let block = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
                programs.push(Program {
                    place: format!("{}:{}", path.display(), number + 1),
                    text: block.flat_map(|line| [line, "\n"]).collect(),
                });
            }
        }
    }
    Ok(programs)
}

impl Program {
    /// What it claims to print.
    fn claim(&self) -> String {
        let prints = self.text.lines().filter(|line| line.trim_start().starts_with("print("));
        let comments = prints.filter_map(|line| line.split_once("  # "));
        comments.map(|(_, printed)| printed).collect::<Vec<_>>().join(" ")
    }
}

#[offspring::test(timeout = tests::watchdog())]
fn each_python_program_of_the_guide_does_what_it_says() -> io::Result<()> {
    if let Err(error) = Command::new("python3").arg("--version").output() {
        not_tested("the Python programs of the guide", format_args!("python3: {error}"));
        return Ok(());
    }
    let programs = programs()?;
    assert!(!programs.is_empty(), "the guide has no Python");
    let dir = tempfile::tempdir()?;
    for program in programs {
        let file = dir.path().join("program.py");
        fs::write(&file, &program.text)?;
        let output = Command::new("python3").arg(&file).current_dir(&dir).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        // A child that fails says so in its complaints alone.
        assert!(
            output.status.success() && complaints.is_empty(),
            "{}: {}\n{said}{complaints}",
            program.place,
            output.status,
        );
        let said: Vec<_> = said.split_whitespace().collect();
        assert_eq!(said.join(" "), program.claim(), "{}", program.place);
    }
    Ok(())
}

/// Prints all public names of the module, of its parts, of its classes, and of the process pool of
/// `concurrent.futures`.
const NAMES: &str = r#"
import concurrent.futures as futures, inspect, multiprocessing as mp
from multiprocessing import connection, context, managers, pool, queues, shared_memory, sharedctypes, synchronize

names = {name for name in vars(mp) if not inspect.ismodule(getattr(mp, name))}
for module in connection, managers, shared_memory, sharedctypes:
    names.update(module.__all__)
for of in (
    context.SpawnProcess, pool.Pool, pool.AsyncResult, queues.JoinableQueue, connection.Connection,
    connection.Listener, synchronize.Lock, synchronize.Semaphore, synchronize.Condition, synchronize.Event,
    synchronize.Barrier, shared_memory.SharedMemory, futures.ProcessPoolExecutor, futures.Future,
):
    names.update(dir(of))
# Of a future, for those who write an executor.
names -= {"set_exception", "set_result", "set_running_or_notify_cancel"}
print(*(name for name in sorted(names) if not name.startswith("_")))
"#;

#[offspring::test(timeout = tests::watchdog())]
fn each_public_name_of_the_module_has_a_row() -> io::Result<()> {
    let output = match Command::new("python3").args(["-c", NAMES]).output() {
        Ok(output) => output,
        Err(error) => {
            not_tested(
                "whether the guide has all of Python's names",
                format_args!("python3: {error}"),
            );
            return Ok(());
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let chapter =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src/guide/coming_from_python.md");
    let text = fs::read_to_string(chapter)?;
    let (_, tables) = text.split_once("\n# The names\n").expect("a table of the names");
    let theirs = tables.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let is_no_name = |c: char| !c.is_alphanumeric() && c != '_';
    let told: HashSet<_> = theirs.flat_map(|names| names.split(is_no_name)).collect();
    let names = String::from_utf8_lossy(&output.stdout);
    let missing: Vec<_> = names.split_whitespace().filter(|name| !told.contains(name)).collect();
    assert!(names.contains("Process") && missing.is_empty(), "the guide does not have {missing:?}");
    Ok(())
}
