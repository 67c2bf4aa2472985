//! The page: prose, and between two markers the tables.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::{Results, charts, tables};

const BEGIN: &str = "<!-- tables: written by `cargo bench -p benches -- --render` -->\n";
const END: &str = "<!-- end of the tables -->\n";

/// The folder of the benches: `results.json` and `README.md` are there.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The page as it is, and as the results would have it.
///
/// # Errors
/// If the page or the results cannot be read, or the page lacks its markers.
pub fn compare(folder: &Path) -> io::Result<(String, String)> {
    let results = Results::load(&folder.join("results.json"))?;
    let page = fs::read_to_string(folder.join("README.md"))?;
    let missing = || io::Error::other(format!("README.md lacks a line {BEGIN}or, after it, {END}"));
    let (before, rest) = page.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    let fresh = format!("{before}{BEGIN}\n{}{END}{after}", tables::render(&results));
    Ok((page, fresh))
}

/// Writes the page and its charts anew.
///
/// # Errors
/// As [`compare`], and if it cannot be written.
pub fn render(folder: &Path) -> io::Result<()> {
    charts::write(&Results::load(&folder.join("results.json"))?, &folder.join("charts"))?;
    let (page, fresh) = compare(folder)?;
    if page == fresh { Ok(()) } else { fs::write(folder.join("README.md"), fresh) }
}
