//! The words of a tree of texts, whoever counts them.

mod common;

use std::ffi::OsStr;
use std::fs;

use common::{expect_refusals, run};

#[test]
fn it_counts_the_words_of_a_tree_of_texts() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    // Larger than what crosses at once, and cut between words.
    let long = "one two-three, Four four\n".repeat(20_000);
    fs::write(dir.path().join("a/long"), long).unwrap();
    fs::write(dir.path().join("a/b/short"), "four \u{fc}ber \u{dc}ber").unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    fs::write(dir.path().join("picture"), [0x89, 0xff, 0xfe]).unwrap();
    std::os::unix::fs::symlink("/", dir.path().join("elsewhere")).unwrap();
    for (readers, counters) in [("1", "1"), ("3", "5")] {
        let options = ["--readers", readers, "--counters", counters, "--top", "2"];
        let mut arguments: Vec<_> = options.iter().map(OsStr::new).collect();
        arguments.push(dir.path().as_os_str());
        let (code, text, errors) = run(env!("CARGO_BIN_EXE_words"), arguments);
        assert_eq!((code, &*errors), (Some(0), ""));
        let mut lines = text.lines().map(str::trim);
        assert_eq!(lines.next(), Some("40001  four"));
        assert_eq!(lines.next(), Some("20000  one"));
        assert_eq!(lines.next(), Some("100003 words, 5 of them different, in 4 files"));
        assert_eq!(lines.next(), Some("1 files are no texts"));
        assert!(lines.next().unwrap().ends_with("alone: the same words"), "{text}");
    }
}

#[test]
fn what_it_cannot_do_is_refused_in_one_line() {
    expect_refusals(
        "words",
        env!("CARGO_BIN_EXE_words"),
        &[
            (&[], "say which directory: see --help"),
            (&["/nowhere"], "cannot read the directory /nowhere: No such file or directory"),
            (&["/dev/null"], "cannot read the directory /dev/null: Not a directory"),
            (&[".", "--readers", "0"], "--readers takes a number from 1 to 1000, not \"0\""),
            (&[".", "--counters", "x"], "--counters takes a number from 1 to 1000, not \"x\""),
            (&[".", ".."], "unexpected argument \"..\""),
        ],
    );
}
