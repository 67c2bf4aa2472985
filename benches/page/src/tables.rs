//! The tables, as Markdown.

use std::fmt::Write;

use crate::columns::{Better, Column, TABLES, Table};
use crate::{Results, Run, Spread};

/// Each table that has a figure, with the run or the runs it comes from.
pub fn render(results: &Results) -> String {
    TABLES.iter().filter_map(|table| render_table(results, table)).collect()
}

fn render_table(results: &Results, table: &Table) -> Option<String> {
    let columns: Vec<&Column> =
        table.columns.iter().filter(|column| results.works.contains_key(column.work)).collect();
    if columns.is_empty() {
        return None;
    }
    let mut runs: Vec<&Run> = Vec::new();
    for column in &columns {
        let run = &results.works[column.work].run;
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    let mut text = format!("### {}\n\n", table.title);
    for run in runs {
        let _ = writeln!(text, "{}, {} rounds: {}\n", run.date, run.rounds, run.machine);
    }
    let titles: Vec<_> = columns.iter().map(|column| column.title).collect();
    let _ =
        writeln!(text, "| peer | {} |\n|---|{}", titles.join(" | "), "---:|".repeat(titles.len()));
    let peers = peers(results, &columns);
    for peer in &peers {
        let cells = columns.iter().map(|column| {
            let spread = |peer: &str| results.spread(column.work, column.figure, peer);
            let ours = peers.iter().filter(|peer| is_ours(peer)).find_map(|peer| spread(peer));
            spread(peer).map_or(String::new(), |figure| cell(column, figure, ours))
        });
        let _ = writeln!(text, "| {peer} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    text.push('\n');
    Some(text)
}

/// Whose figures the others are compared with.
pub(crate) fn is_ours(peer: &str) -> bool {
    peer.starts_with("ours") || peer.ends_with("(ours)")
}

/// The peers of all these columns, each after the one it follows in its column.
fn peers<'a>(results: &'a Results, columns: &[&Column]) -> Vec<&'a str> {
    let mut peers: Vec<&str> = Vec::new();
    for column in columns {
        let mut place = 0;
        for row in &results.works[column.work].peers {
            if let Some(index) = peers.iter().position(|peer| *peer == row.peer) {
                place = index + 1;
            } else {
                peers.insert(place, &row.peer);
                place += 1;
            }
        }
    }
    peers
}

/// `median (lowest–highest) ×ratio`: how many times better ours is.
fn cell(column: &Column, figure: Spread, ours: Option<Spread>) -> String {
    let Spread { median, lowest, highest } = figure;
    let spread = format!("{} ({}–{})", short(median), short(lowest), short(highest));
    let ratio = match (ours, column.better) {
        (Some(ours), Better::More) => ours.median / median,
        (Some(ours), Better::Less) => median / ours.median,
        (None, _) | (_, Better::Neither) => return spread,
    };
    format!("{spread} ×{}", short(ratio))
}

/// Three digits, and k or M.
pub(crate) fn short(value: f64) -> String {
    let (value, suffix) = match value {
        value if value >= 999_500.0 => (value / 1e6, "M"),
        value if value >= 9_995.0 => (value / 1e3, "k"),
        value => (value, ""),
    };
    let decimals = match value {
        ..0.1 => 3,
        ..10.0 => 2,
        _ => usize::from(value < 100.0),
    };
    format!("{value:.decimals$}{suffix}")
}
