//! The driver: runs every peer through every work, round after round, and prints tables.
//!
//! - [`works`], [`peers`]: what is measured, and who
//! - [`runner`]: one peer, one work, one round
//! - [`report`]: the tables
//! - [`machine`]: what it was measured on

mod machine;
mod peers;
mod report;
mod runner;
mod works;

use lexopt::prelude::*;

use peers::{PEERS, Peer, Program};
use report::Results;
use works::{WORKS, Work};

const USAGE: &str = "\
Usage: cargo bench -p benches -- [OPTIONS]
  --rounds N       how often to go over all peers (7)
  --only A,B,E5    these works, or all that begin with this letter
  --peers X,Y      only peers whose names contain one of these; ours are always there
  --quick          2 rounds of a tenth of everything: does it run?";

const METHOD: &str = "\
Median (lowest–highest) over the rounds; each round goes over all peers in turn, each in a fresh \
process. × is how many times better the first of ours in that column is; below 1 it is worse. \
Compare ratios within one run: other work on the machine changes the figures of two runs, and of \
two rounds.";

struct Options {
    rounds: usize,
    only: Vec<String>,
    peers: Vec<String>,
    quick: bool,
}

impl Options {
    fn from_args() -> Result<Self, lexopt::Error> {
        let mut options = Self { rounds: 7, only: Vec::new(), peers: Vec::new(), quick: false };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("rounds") => options.rounds = parser.value()?.parse()?,
                Long("only") => options.only = list(&parser.value()?.string()?),
                Long("peers") => options.peers = list(&parser.value()?.string()?),
                Long("quick") => options.quick = true,
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

fn main() {
    let options = Options::from_args().unwrap_or_else(|error| {
        eprintln!("{error}\n{USAGE}");
        std::process::exit(2);
    });
    let has_python = machine::has_python();
    println!("{}\n\n{} rounds. {METHOD}", machine::describe(), options.rounds);
    if !has_python {
        println!("\nThere is no python3 here: its rows are left out.");
    }

    let mut results = Results::default();
    let mut failures: Vec<String> = Vec::new();
    for round in 1..=options.rounds {
        for work in WORKS.iter().filter(|work| options.wants_work(work)) {
            eprintln!("round {round} of {}: {}", options.rounds, work.name);
            let peers = PEERS.iter().filter(|peer| {
                peer.works.contains(&work.name)
                    && options.wants_peer(peer)
                    && (has_python || peer.program != Program::Python)
            });
            for peer in peers {
                match runner::run(peer, work, count(work, peer, options.quick)) {
                    Ok(figures) => figures
                        .into_iter()
                        .for_each(|(figure, value)| results.add(peer, work, figure, value)),
                    Err(reason) => {
                        failures.push(format!("{} at {}: {reason}", peer.name, work.name))
                    }
                }
            }
        }
    }
    report::print(&results);
    failures.sort();
    failures.dedup();
    if !failures.is_empty() {
        println!("\nFailed, in some round or all:\n");
        failures.iter().for_each(|failure| println!("- {failure}"));
    }
}

fn count(work: &Work, peer: &Peer, quick: bool) -> usize {
    let share = if quick { peer.share / 10.0 } else { peer.share };
    ((work.count as f64 * share) as usize).max(work.count.min(4))
}
