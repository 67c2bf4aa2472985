//! The pictures: an overview, and one for each table.

use std::path::Path;
use std::{fs, io};

use crate::columns::{Column, TABLES};
use crate::{Results, chart};

/// What the overview shows: one figure for each thing that is done with processes.
const OVERVIEW: &[(&str, &str)] = &[
    ("A1", "A1"),
    ("B1", "B1"),
    ("C1", "C1"),
    ("C2", "C2"),
    ("D1", "D1"),
    ("E1", "E1"),
    ("F1", "F1"),
    ("H1", "H1"),
];

/// Each picture that has something to show: its file's name, and what is in it.
pub fn all(results: &Results) -> Vec<(String, String)> {
    let overview: Vec<&Column> = OVERVIEW
        .iter()
        .filter_map(|wanted| {
            let columns = TABLES.iter().flat_map(|table| table.columns);
            columns.into_iter().find(|column| (column.work, column.figure) == *wanted)
        })
        .collect();
    let title = "Offspring beside other ways to use several processes";
    let mut charts = vec![("overview".to_owned(), title, overview)];
    for table in TABLES {
        // Named by its first work, which no other table begins with.
        let name = table.columns[0].work.to_lowercase();
        charts.push((name, table.title, table.columns.iter().collect()));
    }
    let drawn = charts.into_iter().enumerate().filter_map(|(index, (name, title, columns))| {
        let rows = if index == 0 { chart::Rows::Best } else { chart::Rows::All };
        Some((format!("{name}.svg"), chart::render(results, title, &columns, rows)?))
    });
    drawn.collect()
}

/// Writes them to `folder`.
///
/// # Errors
/// If one cannot be written.
pub fn write(results: &Results, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    all(results).into_iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
}
