//! Where something is missing that a program usually finds: `/proc`, `/dev/shm`, `/dev/null`, its
//! own file, its user's rights.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use nix::unistd::Uid;
use tests::family::not_tested;

const METHODS: [&str; 3] = ["forkserver", "spawn", "fork"];
const WELL: &str = "all is well";

/// Its path has to be its own if it is to be harmed.
fn elsewhere() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_elsewhere"))
}

/// What the program printed, unless a step is not permitted here. It must have ended well.
fn run(program: &mut Command, method: &str, steps: &[&str]) -> Option<String> {
    let output = program.arg(method).args(steps).output().unwrap();
    let Output { status, stdout, stderr } = output;
    let printed = String::from_utf8_lossy(&stdout).trim().to_owned();
    if status.code() == Some(77) {
        not_tested(&format!("{method} with {steps:?}"), printed);
        return None;
    }
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{method}, {steps:?}: {status}: {printed}\n{errors}");
    Some(printed)
}

fn assert_well(method: &str, steps: &[&str]) {
    if let Some(printed) = run(&mut Command::new(elsewhere()), method, steps) {
        assert_eq!(printed, WELL, "{method}, {steps:?}");
    }
}

#[test]
fn processes_start_without_proc() {
    for method in METHODS {
        assert_well(method, &["hide=/proc"]);
    }
}

#[test]
fn processes_start_without_shared_memory_in_dev() {
    for method in METHODS {
        assert_well(method, &["hide=/dev/shm"]);
        assert_well(method, &["freeze=/dev/shm"]);
    }
}

#[test]
fn processes_start_without_any_device() {
    for method in METHODS {
        assert_well(method, &["hide=/dev"]);
        assert_well(method, &["freeze=/dev", "hide=/proc"]);
    }
}

#[test]
fn processes_start_without_temporary_files() {
    // The program itself may lie there, so it is run from where it cannot be hidden.
    for method in METHODS {
        assert_well(method, &["freeze=/tmp"]);
    }
}

/// Copies a program, in a process of its own: a descriptor of this one that can write to the copy
/// would for a moment be in whatever another test starts, and a file so held cannot be executed.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

/// A copy of the program in a directory of its own, for everybody to run.
fn copy_of_elsewhere() -> (tempfile::TempDir, Command) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join("elsewhere");
    copy(elsewhere(), &path);
    let command = Command::new(path);
    (dir, command)
}

#[test]
fn a_program_whose_file_is_removed_goes_on() {
    for method in METHODS {
        let (_dir, mut program) = copy_of_elsewhere();
        assert_eq!(run(&mut program, method, &["unlink"]).unwrap(), WELL, "{method}");
    }
}

/// A replacement is not what runs: the program that does, in memory, is.
#[test]
fn a_program_whose_file_is_replaced_goes_on() {
    for method in METHODS {
        for by in [Path::new("/bin/true"), &std::env::current_exe().unwrap()] {
            let (dir, mut program) = copy_of_elsewhere();
            let replacement = dir.path().join("replacement");
            copy(by, &replacement);
            let step = format!("replace={}", replacement.display());
            assert_eq!(run(&mut program, method, &[&step]).unwrap(), WELL, "{method}");
        }
    }
}

/// Then the running one cannot be found, and nothing else must be taken for it.
#[test]
fn a_program_whose_file_is_gone_or_replaced_and_proc_too_says_so() {
    let test = std::env::current_exe().unwrap();
    for method in ["forkserver", "spawn"] {
        let (_dir, mut program) = copy_of_elsewhere();
        if let Some(printed) = run(&mut program, method, &["unlink", "hide=/proc"]) {
            assert!(printed.contains("NotFound"), "{method}: {printed}");
        }
        // Another program that uses the library, another that does not, and no program at all.
        let text = tempfile::NamedTempFile::new().unwrap();
        let replacements = [
            (test.as_path(), "OtherBuild"),
            (Path::new("/bin/true"), "DiedAtStart"),
            (text.path(), "Os"),
        ];
        for (by, wanted) in replacements {
            let (dir, mut program) = copy_of_elsewhere();
            let replacement = dir.path().join("replacement");
            copy(by, &replacement);
            let step = format!("replace={}", replacement.display());
            if let Some(printed) = run(&mut program, method, &[&step, "hide=/proc"]) {
                assert!(printed.starts_with(wanted), "{method}, by {by:?}: {printed}");
            }
        }
    }
    let (_dir, mut program) = copy_of_elsewhere();
    if let Some(printed) = run(&mut program, "fork", &["unlink", "hide=/proc"]) {
        assert_eq!(printed, WELL);
    }
}

/// A user that nobody else is.
const USER: u32 = 54_321;

#[test]
fn a_program_with_raised_privileges_is_not_executed_again() {
    if !Uid::effective().is_root() {
        return not_tested("set-user-ID", "only root can make such a file");
    }
    for method in METHODS {
        let (dir, mut program) = copy_of_elsewhere();
        let path = dir.path().join("elsewhere");
        chown(&path, Some(0), Some(0)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
        program.uid(USER).gid(USER);
        let Some(printed) = run(&mut program, method, &["secure"]) else { continue };
        assert_eq!(printed, if method == "fork" { WELL } else { "RaisedPrivileges" }, "{method}");
    }
}

/// Executed with two users at once a program counts as privileged, although this one began as it
/// should: its children must not take themselves for somebody else.
#[test]
fn a_program_that_is_another_user_for_a_while_runs_main_once() {
    if !Uid::effective().is_root() {
        return not_tested("a change of user", "only root can do that");
    }
    let step = format!("seteuid={USER}");
    for method in METHODS {
        let (_dir, mut program) = copy_of_elsewhere();
        let printed = run(&mut program, method, &[&step]).unwrap();
        assert!(
            printed == WELL || (method != "fork" && printed == "RaisedPrivileges"),
            "{method}: {printed}"
        );
    }
}

/// As a service that gives its rights away at its start.
#[test]
fn a_program_without_rights_starts_processes() {
    if !Uid::effective().is_root() {
        return not_tested("a program of no rights", "these tests run as one anyway");
    }
    for method in METHODS {
        let (_dir, mut program) = copy_of_elsewhere();
        program.uid(USER).gid(USER);
        assert_eq!(run(&mut program, method, &[]).unwrap(), WELL, "{method}");
    }
}
