//! The driver: runs every peer through every work, round after round, and keeps the figures.
//!
//! - [`works`], [`peers`]: what is measured, and who
//! - [`runner`]: one peer, one work, one round
//! - [`group`]: the peer that runs ends with the driver
//! - [`machine`]: what it was measured on
#![deny(unsafe_code)]

mod group;
mod machine;
mod peers;
mod runner;
mod works;

use std::io;

use benches_page::{Results, Run, page, tables};
use lexopt::prelude::*;

use peers::{PEERS, Peer, Program};
use works::{WORKS, Work};

const USAGE: &str = "\
Usage: cargo bench -p benches -- [OPTIONS]
  --rounds N       how often to go over all peers (7)
  --only A,B,E5    these works, or all that begin with this letter
  --peers X,Y      only peers whose names contain one of these; ours are always there
  --quick          2 rounds of a tenth of everything: does it run?
  --render         write the tables from results.json, measure nothing

All works and peers take some six minutes a round. --peers and --quick print their tables and keep
nothing; else results.json is written after each work, so that what was measured is kept if the run is
interrupted, and the tables at the end.";

struct Options {
    rounds: usize,
    only: Vec<String>,
    peers: Vec<String>,
    quick: bool,
    render: bool,
}

impl Options {
    fn from_args() -> Result<Self, lexopt::Error> {
        let mut options =
            Self { rounds: 7, only: Vec::new(), peers: Vec::new(), quick: false, render: false };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("rounds") => options.rounds = parser.value()?.parse()?,
                Long("only") => options.only = list(&parser.value()?.string()?),
                Long("peers") => options.peers = list(&parser.value()?.string()?),
                Long("quick") => options.quick = true,
                Long("render") => options.render = true,
                Long("bench") => {} // cargo says this
                Long("help") | Short('h') => {
                    println!("{USAGE}");
                    std::process::exit(0);
                }
                _ => return Err(argument.unexpected()),
            }
        }
        if options.quick {
            options.rounds = options.rounds.min(2);
        }
        Ok(options)
    }

    fn wants_work(&self, work: &Work) -> bool {
        let name = work.name.to_lowercase();
        let bare = name.trim_end_matches(['b', 'p']); // bytes, pinned
        self.only.is_empty()
            || self.only.iter().any(|only| {
                let is_group = only.len() == 1 && work.name.starts_with(&only.to_uppercase());
                *only == name || *only == bare || is_group
            })
    }

    fn wants_peer(&self, peer: &Peer) -> bool {
        let name = peer.name.to_lowercase();
        self.peers.is_empty()
            || name.contains("ours")
            || self.peers.iter().any(|part| name.contains(part))
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_lowercase()).collect()
}

fn main() -> io::Result<()> {
    let options = Options::from_args().unwrap_or_else(|error| {
        eprintln!("{error}\n{USAGE}");
        std::process::exit(2);
    });
    let folder = page::folder();
    if options.render {
        return page::render(&folder);
    }
    group::end_on_signals()?;
    let has_python = machine::has_python();
    if !has_python {
        eprintln!("There is no python3 here: its rows are left out.");
    }
    let (date, machine) = (machine::date(), machine::describe());
    let kept = !options.quick && options.peers.is_empty();
    let path = folder.join("results.json");
    let mut results = if kept { Results::load(&path)? } else { Results::default() };
    // A work's old figures stay until a round has given new ones.
    let mut fresh = Results::default();
    let mut failures: Vec<String> = Vec::new();
    for round in 1..=options.rounds {
        let run = Run { date: date.clone(), machine: machine.clone(), rounds: round };
        for work in WORKS.iter().filter(|work| options.wants_work(work)) {
            eprintln!("round {round} of {}: {}", options.rounds, work.name);
            let peers = PEERS.iter().filter(|peer| {
                peer.works.contains(&work.name)
                    && options.wants_peer(peer)
                    && (has_python || peer.program != Program::Python)
            });
            for peer in peers {
                match runner::run(peer, work, count(work, peer, options.quick)) {
                    Ok(figures) => figures.into_iter().for_each(|(figure, value)| {
                        fresh.add(&run, work.name, peer.name, figure, value);
                    }),
                    Err(reason) => {
                        eprintln!("{} failed at {}: {reason}", peer.name, work.name);
                        failures.push(format!("{} at {}: {reason}", peer.name, work.name));
                    }
                }
            }
            if let Some(measured) = fresh.works.get(work.name) {
                results.works.insert(work.name.to_owned(), measured.clone());
            }
            if kept {
                results.save(&path)?;
            }
        }
    }
    failures.sort();
    failures.dedup();
    if !failures.is_empty() {
        eprintln!("\nFailed, in some round or all:\n");
        failures.iter().for_each(|failure| eprintln!("- {failure}"));
    }
    if kept {
        return page::render(&folder);
    }
    println!("{}", tables::render(&results));
    Ok(())
}

fn count(work: &Work, peer: &Peer, quick: bool) -> usize {
    let share = if quick { peer.share / 10.0 } else { peer.share };
    ((work.count as f64 * share) as usize).max(work.count.min(4))
}
