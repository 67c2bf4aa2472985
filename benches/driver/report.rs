//! The tables, as Markdown.

use std::collections::HashMap;

use crate::peers::{PEERS, Peer};
use crate::works::{Better, Column, TABLES, Table, Work};

/// All that was measured: for each peer, work and figure, one value a round.
#[derive(Default)]
pub(crate) struct Results(HashMap<(&'static str, &'static str, String), Vec<f64>>);

impl Results {
    pub(crate) fn add(&mut self, peer: &Peer, work: &Work, figure: String, value: f64) {
        self.0.entry((peer.name, work.name, figure)).or_default().push(value);
    }

    fn get(&self, peer: &Peer, column: &Column) -> Option<Spread> {
        Spread::of(self.0.get(&(peer.name, column.work, column.figure.to_owned()))?)
    }
}

/// What several rounds gave.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    lowest: f64,
    highest: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            _ if values.is_empty() => return None,
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Self { median, lowest: values[0], highest: values[values.len() - 1] })
    }
}

/// Prints each table that has a figure.
pub(crate) fn print(results: &Results) {
    for table in TABLES {
        print_table(results, table);
    }
}

fn print_table(results: &Results, table: &Table) {
    let columns: Vec<&Column> = table
        .columns
        .iter()
        .filter(|column| PEERS.iter().any(|peer| results.get(peer, column).is_some()))
        .collect();
    if columns.is_empty() {
        return;
    }
    println!("\n### {}\n", table.title);
    let titles: Vec<_> = columns.iter().map(|column| column.title).collect();
    println!("| peer | {} |", titles.join(" | "));
    println!("|---|{}", "---:|".repeat(columns.len()));
    // Ours come first among the peers.
    let ours: Vec<_> = columns
        .iter()
        .map(|column| PEERS.iter().find_map(|peer| results.get(peer, column)))
        .collect();
    for (index, peer) in PEERS.iter().enumerate() {
        if PEERS[..index].iter().any(|before| before.name == peer.name) {
            continue; // it has its row
        }
        let figures: Vec<_> = columns.iter().map(|column| results.get(peer, column)).collect();
        if figures.iter().all(Option::is_none) {
            continue;
        }
        let cells = columns.iter().zip(&ours).zip(figures).map(|((column, ours), figure)| {
            figure.map_or(String::new(), |figure| cell(column, figure, *ours))
        });
        println!("| {} | {} |", peer.name, cells.collect::<Vec<_>>().join(" | "));
    }
}

/// `median (lowest–highest) ×ratio`: how many times better ours is.
fn cell(column: &Column, figure: Spread, ours: Option<Spread>) -> String {
    let Spread { median, lowest, highest } = figure;
    let ratio = match (ours, column.better) {
        (Some(ours), Better::More) => ours.median / median,
        (Some(ours), Better::Less) => median / ours.median,
        (None, _) | (_, Better::Neither) => {
            return format!("{} ({}–{})", short(median), short(lowest), short(highest));
        }
    };
    format!("{} ({}–{}) ×{}", short(median), short(lowest), short(highest), short(ratio))
}

/// Three digits, and k or M.
fn short(value: f64) -> String {
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
