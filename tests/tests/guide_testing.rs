//! The tests that the guide shows are run here, as they stand there: a doctest would compile them, and run none.

use std::path::Path;
use std::{fs, io};

#[path = "guide_testing/decode.rs"]
mod decode;
#[path = "guide_testing/parse.rs"]
mod parse;

const PROGRAMS: [&str; 2] =
    [include_str!("guide_testing/decode.rs"), include_str!("guide_testing/parse.rs")];

/// How many tests a text has.
fn tests_in(text: &str) -> usize {
    let is_one = |line: &&str| line.starts_with("#[test]") || line.starts_with("#[offspring::test");
    text.lines().filter(is_one).count()
}

#[test]
fn the_tests_of_the_guide_are_those_that_run_here() -> io::Result<()> {
    let mut guide = String::new();
    for chapter in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src/guide"))?
    {
        for line in fs::read_to_string(chapter?.path())?.lines() {
            // A program's lines that rustdoc hides are lines all the same.
            guide.push_str(line.strip_prefix("# ").unwrap_or(line));
            guide.push('\n');
        }
    }
    for program in PROGRAMS {
        let (_, shown) = program.split_once("\n\n").expect("its first line says what it is for");
        assert!(
            guide.contains(&format!("```rust\n{shown}```")),
            "the guide does not have:\n{shown}"
        );
    }
    let run: usize = PROGRAMS.into_iter().map(tests_in).sum();
    assert!(run > 0);
    assert_eq!(tests_in(&guide), run, "the guide has tests that do not run here");
    Ok(())
}
