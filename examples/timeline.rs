//! A picture of what the workers of a pool have done, and when.
//!
//! ```sh
//! timeline trace.json > picture.svg   # of a file that `PoolBuilder::timeline` has written
//! timeline --show > picture.svg       # of a pool that it runs itself, in which a worker dies
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, process};

use offspring::{Pool, process};
use serde_json::Value;

const HELP: &str = "\
Draws the timeline of a pool, as an SVG picture.

Usage: timeline TRACE
       timeline --show

  TRACE   a file that PoolBuilder::timeline has written
  --show  runs a pool of four workers, of which one crashes, and draws that";

/// Takes so long, or crashes.
#[process]
fn task(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
    if millis == 66 {
        std::process::abort();
    }
}

/// The trace of a pool whose tasks are of very different lengths.
fn show() -> Result<Value, Box<dyn Error>> {
    let path = env::temp_dir().join(format!("timeline-{}.json", process::id()));
    let pool = Pool::builder().workers(4).timeline(&path).build()?;
    let millis = (0..60).map(|n| if n == 21 { 66 } else { 4 + (n * n * 7) % 41 });
    pool.mapper().chunk_size(1).map_settled(task, millis);
    pool.join()?;
    let text = fs::read_to_string(&path)?;
    fs::remove_file(&path)?;
    Ok(serde_json::from_str(&text)?)
}

/// What is on the lane of one worker, in microseconds.
#[derive(Default)]
struct Lane {
    /// From, and for how long.
    tasks: Vec<(f64, f64)>,
    started: Vec<f64>,
    ended: Vec<f64>,
}

fn lanes(trace: &Value) -> Option<BTreeMap<u64, Lane>> {
    let mut lanes = BTreeMap::<u64, Lane>::new();
    for event in trace["traceEvents"].as_array()? {
        let lane = lanes.entry(event["tid"].as_u64()?).or_default();
        match (event["ph"].as_str()?, event["name"].as_str()?) {
            ("X", _) => lane.tasks.push((event["ts"].as_f64()?, event["dur"].as_f64()?)),
            ("i", "started") => lane.started.push(event["ts"].as_f64()?),
            ("i", "ended") => lane.ended.push(event["ts"].as_f64()?),
            _ => {}
        }
    }
    (!lanes.is_empty()).then_some(lanes)
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 80.0;
const LANE: f64 = 34.0;
const TOP: f64 = 34.0;

/// In colours that can be seen on light and on dark ground.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#57606a}.task{fill:#2f81f7}.lane{fill:#8c959f;opacity:.15}\
.died{stroke:#e5534b;stroke-width:3}.new{stroke:#3fb950;stroke-width:2}\
@media(prefers-color-scheme:dark){text{fill:#9da7b3}}";

fn draw(lanes: &BTreeMap<u64, Lane>) -> Result<String, std::fmt::Error> {
    let last_task = lanes.values().flat_map(|lane| &lane.tasks).map(|(at, took)| at + took);
    let end = last_task.fold(1.0, f64::max);
    let x = |at: f64| LEFT + at.min(end) / end * (WIDTH - LEFT - 10.0);
    let height = TOP + LANE * lanes.len() as f64 + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>The timeline of a pool</title>\n<style>{STYLE}</style>\n\
         <text x=\"{LEFT}\" y=\"18\">each bar is a chunk of tasks; red: the worker has died; green: another takes \
         its place</text>\n"
    );
    for (row, (number, lane)) in lanes.iter().enumerate() {
        let y = TOP + LANE * row as f64;
        let middle = y + LANE / 2.0;
        writeln!(svg, "<text x=\"4\" y=\"{:.0}\">worker {number}</text>", middle + 4.0)?;
        let (from, to) = (x(0.0), x(end));
        writeln!(
            svg,
            "<rect class=\"lane\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            y + 4.0,
            to - from,
            LANE - 8.0
        )?;
        for (at, took) in &lane.tasks {
            let width = (x(at + took) - x(*at) - 0.6).max(0.4);
            writeln!(
                svg,
                "<rect class=\"task\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
                x(*at),
                y + 6.0,
                LANE - 12.0
            )?;
        }
        for at in lane.ended.iter().filter(|at| **at < end) {
            let (x, r) = (x(*at), 7.0);
            writeln!(
                svg,
                "<path class=\"died\" d=\"M{:.1} {:.1}l{2} {2}m0 -{2}l-{2} {2}\"/>",
                x - r,
                middle - r,
                2.0 * r
            )?;
        }
        for at in lane.started.iter().filter(|at| lane.ended.iter().any(|died| died < *at)) {
            let x = x(*at);
            writeln!(svg, "<path class=\"new\" d=\"M{x:.1} {:.1}v{:.1}\"/>", y + 2.0, LANE - 4.0)?;
        }
    }
    let y = height - 10.0;
    writeln!(svg, "<text x=\"{LEFT}\" y=\"{y}\">0</text>")?;
    let (right, millis) = (WIDTH - 10.0, end / 1e3);
    writeln!(
        svg,
        "<text x=\"{right}\" y=\"{y}\" text-anchor=\"end\">{millis:.0} ms</text>\n</svg>"
    )?;
    Ok(svg)
}

/// What to draw: of a file, or of a pool of its own.
enum Wanted {
    Show,
    File(PathBuf),
}

impl Wanted {
    fn parse(mut from: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::*;
        let mut wanted = None;
        while let Some(argument) = from.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(None),
                Long("show") if wanted.is_none() => wanted = Some(Self::Show),
                Value(path) if wanted.is_none() => wanted = Some(Self::File(path.into())),
                other => return Err(other.unexpected()),
            }
        }
        wanted.map(Some).ok_or_else(|| "which trace? See --help".into())
    }
}

fn run(wanted: &Wanted) -> Result<(), Box<dyn Error>> {
    let trace = match wanted {
        Wanted::Show => show()?,
        Wanted::File(path) => {
            let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
            serde_json::from_str(&text).map_err(|error| failed(&error))?
        }
    };
    let lanes = lanes(&trace).ok_or("that is no timeline of a pool")?;
    cli::stdout().write_all(draw(&lanes)?.as_bytes())?;
    Ok(())
}

fn main() -> ExitCode {
    cli::main("timeline", HELP, Wanted::parse, run)
}
