//! The file that holds what was measured, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};

/// What was measured of each work, by the work's name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Each work has its own run: one that measures some works again leaves the others alone.
    pub works: BTreeMap<String, Measured>,
}

/// One work, measured in one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// When, on what, how often.
    pub run: Run,
    /// In the order of the tables.
    pub peers: Vec<Row>,
}

/// When, on what and how often something was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// As 2026-01-31, in UTC.
    pub date: String,
    /// The machine, the versions, and the load at the start.
    pub machine: String,
    /// How many rounds there were.
    pub rounds: usize,
}

/// One peer's figures: one value for each round that it ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// As the tables call it.
    pub peer: String,
    /// By the figure's name.
    pub figures: BTreeMap<String, Vec<f64>>,
}

impl Results {
    /// Reads them; nothing was measured if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read, or holds something else.
    pub fn load(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes them. Whoever is killed meanwhile leaves the old file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_extension("json.new");
        fs::write(&fresh, serde_json::to_string_pretty(self)? + "\n")?;
        fs::rename(fresh, path)
    }

    /// Notes one value of a work of `run`, which has had so many rounds by now. What another run has
    /// measured of that work goes.
    pub fn add(&mut self, run: &Run, work: &str, peer: &str, figure: String, value: f64) {
        let measured = self
            .works
            .entry(work.to_owned())
            .or_insert_with(|| Measured { run: run.clone(), peers: Vec::new() });
        if (&measured.run.date, &measured.run.machine) != (&run.date, &run.machine) {
            measured.peers.clear();
        }
        measured.run = run.clone();
        let index = measured.peers.iter().position(|row| row.peer == peer).unwrap_or_else(|| {
            measured.peers.push(Row { peer: peer.to_owned(), figures: BTreeMap::new() });
            measured.peers.len() - 1
        });
        measured.peers[index].figures.entry(figure).or_default().push(value);
    }

    /// What the rounds gave for one figure.
    pub fn spread(&self, work: &str, figure: &str, peer: &str) -> Option<Spread> {
        let rows = &self.works.get(work)?.peers;
        let row = rows.iter().find(|row| row.peer == peer)?;
        Spread::of(row.figures.get(figure)?)
    }
}

/// What several rounds gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The lowest of all.
    pub lowest: f64,
    /// The highest of all.
    pub highest: f64,
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
