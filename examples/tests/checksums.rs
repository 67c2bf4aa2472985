//! Checksums, and files that are the same.

mod common;

use std::fs;

use common::{expect_refusals, run};

#[test]
fn it_finds_files_that_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/one"), "123456789").unwrap();
    fs::write(dir.path().join("two"), "123456789").unwrap();
    fs::write(dir.path().join("zeros"), vec![0; 1_000_000]).unwrap();
    for workers in ["1", "3"] {
        let (code, text, errors) = run(
            env!("CARGO_BIN_EXE_checksums"),
            ["--workers", workers, dir.path().to_str().unwrap()],
        );
        assert_eq!((code, &*errors), (Some(0), ""));
        // The check value of CRC-32.
        assert!(
            text.contains(&format!("cbf43926  {}", dir.path().join("two").display())),
            "{text}"
        );
        assert!(text.contains("3 files, 976.58 KiB"), "{text}");
    }
    // Of the same length and checksum, and yet not the same: that is for the bytes to say.
    fs::write(dir.path().join("plumless"), "plumless").unwrap();
    fs::write(dir.path().join("buckeroo"), "buckeroo").unwrap();
    let (code, text, errors) =
        run(env!("CARGO_BIN_EXE_checksums"), ["--duplicates", dir.path().to_str().unwrap()]);
    assert_eq!((code, &*errors), (Some(0), ""));
    let same = format!(
        "{} is {} once more (9 B)",
        dir.path().join("two").display(),
        dir.path().join("a/one").display()
    );
    assert!(text.contains(&same), "{text}");
    assert!(!text.contains("buckeroo") && !text.contains("plumless"), "{text}");
    assert!(text.contains("1 files are copies: 9 B could be saved"), "{text}");
}

#[test]
fn what_it_cannot_do_is_refused_in_one_line() {
    expect_refusals(
        "checksums",
        env!("CARGO_BIN_EXE_checksums"),
        &[
            (&[], "say which directory: see --help"),
            (&["/nowhere"], "cannot read the directory /nowhere: No such file or directory"),
            (&["/dev/null"], "cannot read the directory /dev/null: Not a directory"),
            (&[".", "--workers"], "missing argument for option '--workers'"),
            (&[".", "--workers", "all"], "--workers takes a number from 1 to 1000, not \"all\""),
            (&[".", "--workers", "0"], "--workers takes a number from 1 to 1000, not \"0\""),
            (&[".", ".."], "unexpected argument \"..\""),
        ],
    );
}
