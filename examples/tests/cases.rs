//! Each case is told from the others, whatever becomes of it.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What `cases` prints and says for these arguments, and its exit code.
fn cases(arguments: &[&str], directory: &Path) -> (Option<i32>, String, String) {
    let program = env!("CARGO_BIN_EXE_cases");
    let output = Command::new(program).args(arguments).arg(directory).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn each_case_has_its_own_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = [
        ("good", "2(na)batm".into()),
        ("refused", "2(na".into()),
        ("deep", "1(".repeat(1_000_000)),
        ("endless", "0(".into()),
        ("bomb", "99999(99999(99999(boom)))".into()),
    ];
    for (name, text) in &inputs {
        fs::write(dir.path().join(name), text).unwrap();
    }
    fs::create_dir(dir.path().join("a directory")).unwrap();
    let saved = tempfile::tempdir().unwrap();
    let save = saved.path().join("new");
    let (code, text, errors) = cases(
        &["--seconds", "2", "--megabytes", "256", "--save", save.to_str().unwrap()],
        dir.path(),
    );
    let told = |name: &str, outcome: &str| {
        let line = format!("{}: {outcome}", dir.path().join(name).display());
        assert!(text.lines().any(|printed| printed.starts_with(&line)), "{line}\n{text}");
    };
    told("deep", "crashed: signal: ");
    told("endless", "timed out");
    told("bomb", "out of memory");
    assert_eq!(text.lines().count(), 4, "{text}");
    let last = "5 cases: 1 crashed, 1 out of memory, 1 passed, 1 refused, 1 timed out\n";
    assert!(text.ends_with(last), "{text}");
    assert_eq!((code, &*errors), (Some(1), "cases: 3 of 5 cases failed\n"));
    let mut names: Vec<_> =
        fs::read_dir(&save).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bomb", "deep", "endless"]);
}

#[test]
fn without_a_failure_the_code_is_0() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(cases(&[], dir.path()), (Some(0), "0 cases: \n".into(), String::new()));
    fs::write(dir.path().join("good"), "3(x)").unwrap();
    assert_eq!(cases(&[], dir.path()), (Some(0), "1 cases: 1 passed\n".into(), String::new()));
}

#[test]
fn bad_arguments_are_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let bad: [(&[&str], &Path, &str); 7] = [
        (&["--seconds", "soon"], dir.path(), "--seconds takes a number from 1"),
        (&["--megabytes"], Path::new("9"), "--megabytes takes a number from 64"),
        (&["--save", dir.path().to_str().unwrap()], dir.path(), "save them elsewhere"),
        (&[], Path::new("/nowhere"), "cannot read the directory /nowhere"),
        (&[], &file, "cannot read the directory"),
        (&["--workers", "0"], dir.path(), "--workers takes a number from 1"),
        (&["--save", file.to_str().unwrap()], dir.path(), "cannot make the directory"),
    ];
    for (arguments, directory, message) in bad {
        let (code, text, errors) = cases(arguments, directory);
        assert_eq!((code, &*text), (Some(1), ""), "{arguments:?}");
        assert!(errors.starts_with("cases: ") && errors.contains(message), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}
