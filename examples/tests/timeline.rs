//! The picture of a pool.

mod common;

use std::fs;

use common::{expect_refusals, run};

#[test]
fn it_draws_each_chunk_and_the_death_of_a_worker() {
    let (code, picture, errors) = run(env!("CARGO_BIN_EXE_timeline"), ["--show"]);
    assert_eq!((code, &*errors), (Some(0), ""));
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{picture}");
    assert_eq!(picture.matches("class=\"lane\"").count(), 4);
    // All but the one that has crashed.
    assert_eq!(picture.matches("class=\"task\"").count(), 59);
    assert_eq!(picture.matches("class=\"died\"").count(), 1);
}

#[test]
fn what_it_cannot_draw_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.json");
    fs::write(&other, "{}").unwrap();
    let other = other.to_str().unwrap();
    expect_refusals(
        "timeline",
        env!("CARGO_BIN_EXE_timeline"),
        &[
            (&[], "which trace"),
            (&["/nowhere"], "No such file"),
            (&[env!("CARGO_MANIFEST_PATH")], "expected"),
            (&[other], "no timeline"),
            (&["--show", other], "unexpected"),
        ],
    );
}
