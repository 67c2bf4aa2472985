//! Horizontal bars on a logarithmic scale, as SVG.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::columns::{Better, Column};
use crate::tables::{is_ours, short};
use crate::{Results, Spread};

const WIDTH: f64 = 860.0;
/// Where the names of the peers end and the bars begin; where the bars end and the figures begin.
const LEFT: f64 = 330.0;
const RIGHT: f64 = 690.0;
const ROW: f64 = 22.0;
const HEAD: f64 = 34.0;

/// Colours that can be read on white and on GitHub's dark ground, which shows through.
const STYLE: &str = "text{font:13px sans-serif;fill:#57606a}.h{font-weight:bold}\
.ours{fill:#1f883d}.other{fill:#8c959f}.w{stroke:#57606a;stroke-width:1.5}\
@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.ours{fill:#3fb950}.other{fill:#6e7681}.w{stroke:#c9d1d9}}";

/// Whose bars are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Everybody's.
    All,
    /// The best of ours, of other crates that use processes, of Python's, and of the bare mechanisms.
    Best,
}

/// Who is compared in [`Rows::Best`]; nothing for what uses threads, and for limits.
fn family(peer: &str) -> Option<u8> {
    let begins = |names: &[&str]| names.iter().any(|name| peer.starts_with(name));
    match peer {
        peer if is_ours(peer) => Some(0),
        _ if begins(&["procspawn", "crossmist", "ipc-channel"]) => Some(1),
        _ if begins(&["Python", "loky", "mpire"]) => Some(2),
        _ if begins(&["raw"]) => Some(3),
        _ => None,
    }
}

fn best(rows: Vec<(&str, Spread)>, better: Better) -> Vec<(&str, Spread)> {
    let mut best: BTreeMap<u8, (&str, Spread)> = BTreeMap::new();
    for (peer, spread) in rows {
        let Some(family) = family(peer) else { continue };
        let known = best.entry(family).or_insert((peer, spread));
        let is_better = match better {
            Better::More => spread.median > known.1.median,
            Better::Less | Better::Neither => spread.median < known.1.median,
        };
        if is_better {
            *known = (peer, spread);
        }
    }
    best.into_values().collect()
}

/// One panel for each of these columns that has figures; none if nothing was measured.
pub fn render(results: &Results, title: &str, columns: &[&Column], rows: Rows) -> Option<String> {
    let mut body = String::new();
    let mut y = 10.0;
    for column in columns {
        y = panel(&mut body, y, results, column, rows);
    }
    if body.is_empty() {
        return None;
    }
    let title = escape(title);
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" role=\"img\" \
         aria-labelledby=\"t d\">\n<title id=\"t\">{title}</title>\n<desc id=\"d\">Bars on a logarithmic \
         scale: the median of each peer, with the lowest and the highest round as whiskers. \
         The tables have the same figures.</desc>\n<style>{STYLE}</style>\n{body}</svg>\n"
    ))
}

/// Draws one column at `y`, and gives where it ends.
fn panel(body: &mut String, y: f64, results: &Results, column: &Column, shown: Rows) -> f64 {
    let rows: Vec<(&str, Spread)> = results.works.get(column.work).map_or(Vec::new(), |measured| {
        let spread = |peer: &str| results.spread(column.work, column.figure, peer);
        let rows = measured.peers.iter().filter_map(|row| Some((&*row.peer, spread(&row.peer)?)));
        // A logarithm needs something.
        rows.filter(|(_, spread)| spread.lowest > 0.0).collect()
    });
    let rows = if shown == Rows::Best { best(rows, column.better) } else { rows };
    if rows.is_empty() {
        return y;
    }
    let lowest = rows.iter().map(|(_, spread)| spread.lowest).fold(f64::INFINITY, f64::min);
    let highest = rows.iter().map(|(_, spread)| spread.highest).fold(0.0, f64::max);
    // Whole decades, so that bars of any two panels can be read alike.
    let (from, to) = (lowest.log10().floor(), highest.log10().floor() + 1.0);
    let x = |value: f64| LEFT + (value.log10() - from) / (to - from) * (RIGHT - LEFT);
    let better = match column.better {
        Better::Less => ", less is better",
        Better::More => ", more is better",
        Better::Neither => "",
    };
    let heading = escape(&format!("{}{better}", column.title.replace('`', "")));
    let _ = writeln!(body, "<text class=\"h\" x=\"10\" y=\"{:.0}\">{heading}</text>", y + 16.0);
    let mut top = y + HEAD - 8.0;
    for (peer, spread) in rows {
        let class = if is_ours(peer) { "ours" } else { "other" };
        let middle = top + ROW / 2.0;
        let (end, low, high) = (x(spread.median), x(spread.lowest), x(spread.highest));
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\"/>\
             <path class=\"w\" d=\"M{low:.1} {middle:.1}H{high:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            middle + 4.5,
            escape(peer),
            middle - 7.0,
            (end - LEFT).max(1.0),
            high.max(end) + 6.0,
            middle + 4.5,
            short(spread.median),
        );
        top += ROW;
    }
    top + 14.0
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
