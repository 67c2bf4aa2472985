//! A process from a struct that implements `run`.
//!
//! The fields are what travels to the child. Use this form when there are many of them, when the
//! work has helper methods, or when it is to be built step by step; there is no other difference.

use std::error::Error;
use std::time::Duration;

use offspring::{Process, process};

/// Estimates π by throwing darts.
#[process]
struct Darts {
    throws: u32,
    seed: u64,
}

impl Process for Darts {
    type Output = f64;

    fn run(mut self) -> f64 {
        let hits = (0..self.throws).filter(|_| self.hits()).count();
        println!("  pid {}: {hits} of {} hit", std::process::id(), self.throws);
        4.0 * hits as f64 / f64::from(self.throws)
    }
}

impl Darts {
    /// A number from 0 to 1, by xorshift.
    fn random(&mut self) -> f64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as f64 / (1u64 << 53) as f64
    }

    fn hits(&mut self) -> bool {
        let (x, y) = (self.random(), self.random());
        x * x + y * y < 1.0
    }
}

/// An enum can be a process as well: a little language of work.
#[process]
enum Job {
    Nap(Duration),
    Say(String),
}

impl Process for Job {
    type Output = ();

    fn run(self) {
        match self {
            Self::Nap(time) => std::thread::sleep(time),
            Self::Say(words) => println!("  pid {} says: {words}", std::process::id()),
        }
    }
}

pub fn main() -> Result<(), Box<dyn Error>> {
    let players: Vec<_> = (1..=4)
        .map(|seed| Darts { throws: 200_000, seed: 12_345 * seed }.spawn())
        .collect::<Result<_, _>>()?;
    let mut sum = 0.0;
    let count = players.len() as f64;
    for player in players {
        sum += player.join()?;
    }
    println!("  together: pi is about {:.3}", sum / count);

    let jobs = [Job::Nap(Duration::from_millis(20)), Job::Say("good morning".into())];
    for job in jobs {
        job.spawn()?.join()?;
    }
    Ok(())
}
