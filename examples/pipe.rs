//! Pipes: processes that talk while they work.

use std::error::Error;
use std::io::{BufRead, BufReader};

use offspring::{Duplex, Fd, Process, Receiver, Sender, process};

/// One end of a two-way pipe: sends `String`s, receives `usize`s.
#[process]
struct Pupil {
    teacher: Duplex<String, usize>,
}

impl Process for Pupil {
    type Output = ();

    fn run(self) {
        for word in ["process", "pipe", "descriptor"] {
            self.teacher.send(word.into()).expect("the teacher listens");
            let letters = self.teacher.recv().expect("the teacher answers");
            println!("  {word:?} has {letters} letters, I am told");
        }
    }
}

#[process]
fn teach(pupil: Duplex<usize, String>) -> u32 {
    let mut questions = 0;
    // `recv` fails when the other end is gone, in whatever process it was.
    while let Ok(word) = pupil.recv() {
        pupil.send(word.chars().count()).expect("the pupil waits");
        questions += 1;
    }
    questions
}

/// A file travels as an open descriptor, a pipe's end as itself.
#[process]
fn read_lines(file: Fd<std::fs::File>, lines: Sender<String>) {
    for line in BufReader::new(file.into_inner()).lines().map_while(Result::ok) {
        if lines.send(line).is_err() {
            return; // nobody listens any more
        }
    }
}

#[process]
fn count_words(lines: Receiver<String>) -> usize {
    // Ends when every sender is gone.
    lines.iter().map(|line| line.split_whitespace().count()).sum()
}

pub fn main() -> Result<(), Box<dyn Error>> {
    let (left, right) = offspring::duplex()?;
    let teacher = teach(right).spawn()?;
    Pupil { teacher: left }.spawn()?.join()?;
    println!("  the teacher was asked {} times", teacher.join()?);

    // One reads, two count: each line goes to one of them.
    let (tx, rx) = offspring::pipe()?;
    let counters = [count_words(rx.clone()).spawn()?, count_words(rx).spawn()?];
    let file = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/pipe.rs"))?;
    read_lines(Fd::new(file), tx).spawn()?;
    let mut words = 0;
    for counter in counters {
        words += counter.join()?;
    }
    println!("  this program is written in {words} words");
    Ok(())
}
