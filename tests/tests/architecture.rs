//! The rooms of ARCHITECTURE.md know each other as its table says, and none knows one below it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What a room knows.
type Known = BTreeSet<String>;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rows of the table, in their order.
fn table() -> io::Result<Vec<(String, Known)>> {
    let text = fs::read_to_string(project().join("ARCHITECTURE.md"))?;
    let rows = text.lines().skip_while(|line| *line != "| room | knows |").skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    Ok(rows
        .map(|row| {
            let mut names = row.split('`').skip(1).step_by(2).map(String::from);
            (names.next().expect("a room in each row"), names.collect())
        })
        .collect())
}

/// The text of all source files at a path, without what is in comments.
fn code(path: &Path) -> io::Result<String> {
    let mut code = String::new();
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            code += &self::code(&entry?.path())?;
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        for line in fs::read_to_string(path)?.lines() {
            code += line.split("//").next().unwrap_or_default();
            code.push('\n');
        }
    }
    Ok(code)
}

/// The names that follow `crate::` in the code of the room at a path. One that is no room's is a way past
/// the table.
fn known(path: &Path) -> io::Result<Known> {
    let code = code(path)?;
    let ends =
        |name: &str| name.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(name.len());
    Ok(code
        .split("crate::")
        .skip(1)
        .map(|rest| match ends(rest) {
            0 => rest.lines().next().unwrap_or_default().into(), // a list of names
            end => rest[..end].into(),
        })
        .collect())
}

/// The rooms that there are, and what each knows.
fn rooms() -> io::Result<BTreeMap<String, Known>> {
    let mut rooms = BTreeMap::new();
    for entry in fs::read_dir(project().join("runtime/src"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // The face knows everybody, and the guide has no code.
        if name != "lib" && name != "guide" {
            let mut known = known(&path)?;
            known.remove(&name);
            rooms.insert(name, known);
        }
    }
    Ok(rooms)
}

#[test]
fn the_rooms_know_whom_the_table_says() -> io::Result<()> {
    let table = table()?;
    assert_eq!(table.iter().cloned().collect::<BTreeMap<_, _>>(), rooms()?);
    Ok(())
}

#[test]
fn arrows_point_up() -> io::Result<()> {
    let mut above = Known::new();
    for (room, known) in table()? {
        let below: Vec<_> = known.difference(&above).collect();
        assert!(below.is_empty(), "`{room}` knows what does not stand above it: {below:?}");
        above.insert(room);
    }
    assert!(!above.is_empty(), "ARCHITECTURE.md has no table of the rooms");
    Ok(())
}
