//! The words of all texts below a directory, counted by a pipeline of processes: one finds the files,
//! some read them, some count; between them are queues that hold back who is too quick. Then they are
//! counted again by this process alone, and the two must agree.
//!
//! ```sh
//! cargo run --release -p examples --bin words -- runtime/src
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use lexopt::prelude::*;
use offspring::shm::{Shareable, Shared};
use offspring::{Child, Queue, process};
use serde::de::DeserializeOwned;

const HELP: &str = "\
Counts the words of all texts below a directory, by a pipeline of processes.

Usage: words [OPTIONS] DIRECTORY

Options:
  --readers N     how many processes read files [2]
  --counters N    how many count words [as many as there are processors]
  --top N         how many of the most frequent words are shown [10]
  --help          this text";

/// Texts are counted in parts of about this size.
const PART: usize = 64 << 10;

/// How often the progress is shown.
const LOOK: Duration = Duration::from_millis(100);

/// How often each word occurs.
type Counts = HashMap<String, u64>;

#[derive(Debug)]
struct Options {
    directory: PathBuf,
    readers: usize,
    counters: usize,
    top: usize,
}

impl Options {
    /// `None` if it is the help that is asked for.
    fn parse(mut arguments: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut directory = None;
        let (mut readers, mut counters, mut top) = (2, offspring::cpu_count(), 10);
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("readers") => {
                    readers = cli::number(&mut arguments, "--readers", 1..=cli::MOST)?
                }
                Long("counters") => {
                    counters = cli::number(&mut arguments, "--counters", 1..=cli::MOST)?
                }
                Long("top") => top = cli::number(&mut arguments, "--top", 0..=1_000_000)?,
                Long("help") | Short('h') => return Ok(None),
                Value(path) if directory.is_none() => directory = Some(PathBuf::from(path)),
                other => return Err(other.unexpected()),
            }
        }
        let directory = directory.ok_or("say which directory: see --help")?;
        Ok(Some(Self { directory, readers, counters, top }))
    }
}

/// How many files the pipeline has found and read up to now.
#[derive(Default, Shareable)]
struct Progress {
    found: AtomicU64,
    read: AtomicU64,
}

/// The first stage: all files below a directory.
#[process]
fn find(
    directory: PathBuf,
    files: Queue<PathBuf>,
    progress: Shared<Progress>,
) -> Result<(), String> {
    walk(&directory, &mut |file| {
        progress.found.fetch_add(1, Relaxed);
        files.put(file).map_err(|error| error.to_string())
    })
}

fn walk(
    directory: &Path,
    file: &mut impl FnMut(PathBuf) -> Result<(), String>,
) -> Result<(), String> {
    let failed =
        |error: &dyn Error| format!("cannot read the directory {}: {error}", directory.display());
    for entry in fs::read_dir(directory).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        match entry.file_type().map_err(|error| failed(&error))? {
            kind if kind.is_dir() => walk(&entry.path(), file)?,
            kind if kind.is_file() => file(entry.path())?,
            _ => {}
        }
    }
    Ok(())
}

/// The second stage: texts, in parts. Says how many files were none.
#[process]
fn read(
    files: Queue<PathBuf>,
    texts: Queue<String>,
    progress: Shared<Progress>,
) -> Result<u64, String> {
    let mut skipped = 0;
    for file in &files {
        match text_of(&file)? {
            None => skipped += 1,
            Some(text) => {
                for part in parts(&text) {
                    texts.put(part.to_owned()).map_err(|error| error.to_string())?;
                }
            }
        }
        progress.read.fetch_add(1, Relaxed);
    }
    Ok(skipped)
}

/// `None` if it is no text.
fn text_of(file: &Path) -> Result<Option<String>, String> {
    match fs::read(file) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) => Err(format!("cannot read {}: {error}", file.display())),
    }
}

/// Cuts a text between words.
fn parts(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let end = text.char_indices().find(|(at, c)| *at >= PART && !c.is_alphanumeric());
        let (part, rest) = text.split_at(end.map_or(text.len(), |(at, _)| at));
        text = rest;
        (!part.is_empty()).then_some(part)
    })
}

/// The third stage.
#[process]
fn count(texts: Queue<String>) -> Counts {
    let mut counts = Counts::new();
    texts.iter().for_each(|text| count_in(&text, &mut counts));
    counts
}

fn count_in(text: &str, counts: &mut Counts) {
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
}

/// What was found: how many files, how many of them are no texts, and the words.
#[derive(Debug, Default, PartialEq)]
struct Found {
    files: u64,
    skipped: u64,
    counts: Counts,
}

fn by_pipeline(options: &Options) -> Result<Found, Box<dyn Error>> {
    let files = Queue::bounded(64)?;
    let texts = Queue::bounded(32)?;
    let progress = Shared::new(Progress::default())?;
    let finder = find(options.directory.clone(), files.clone(), progress.clone()).spawn()?;
    let readers = (0..options.readers)
        .map(|_| read(files.clone(), texts.clone(), progress.clone()).spawn())
        .collect::<Result<Vec<_>, _>>()?;
    let counters = (0..options.counters)
        .map(|_| count(texts.clone()).spawn())
        .collect::<Result<Vec<_>, _>>()?;

    let bar = cli::progress_bar("files");
    // Each stage ends when the one before it has ended, well or not, and its queue is empty.
    let finder = watched(finder, &bar, &progress);
    files.close();
    let readers: Vec<_> =
        readers.into_iter().map(|reader| watched(reader, &bar, &progress)).collect();
    texts.close();
    let counters: Vec<_> = counters.into_iter().map(Child::join).collect();
    bar.finish_and_clear();

    finder??;
    let mut found = Found { files: progress.found.load(Relaxed), ..Found::default() };
    for skipped in readers {
        found.skipped += skipped??;
    }
    for counts in counters {
        for (word, times) in counts? {
            *found.counts.entry(word).or_default() += times;
        }
    }
    Ok(found)
}

/// What comes of a child; the bar shows meanwhile how far the pipeline is.
fn watched<T: DeserializeOwned>(
    child: Child<T>,
    bar: &ProgressBar,
    progress: &Progress,
) -> Result<T, Box<dyn Error>> {
    while child.wait_timeout(LOOK)?.is_none() {
        bar.set_length(progress.found.load(Relaxed));
        bar.set_position(progress.read.load(Relaxed));
    }
    Ok(child.join()?)
}

/// The same by one process. So many files there should be.
fn alone(directory: &Path, files: u64) -> Result<Found, String> {
    let bar = cli::progress_bar("files once more");
    bar.set_length(files);
    let mut found = Found::default();
    walk(directory, &mut |file| {
        found.files += 1;
        bar.set_position(found.files);
        match text_of(&file)? {
            None => found.skipped += 1,
            Some(text) => count_in(&text, &mut found.counts),
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(found)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let found = by_pipeline(options)?;
    let by_pipeline = began.elapsed();
    let began = Instant::now();
    let expected = alone(&options.directory, found.files)?;
    let alone = began.elapsed();
    if found != expected {
        return Err("the pipeline and one process alone do not agree".into());
    }

    let mut words: Vec<_> = found.counts.iter().collect();
    words.sort_by_key(|(word, times)| (std::cmp::Reverse(**times), *word));
    let mut out = cli::stdout();
    for (word, times) in words.iter().take(options.top) {
        writeln!(out, "  {times:>8}  {word}")?;
    }
    let total: u64 = found.counts.values().sum();
    let Found { files, skipped, counts } = &found;
    writeln!(out, "  {total} words, {} of them different, in {files} files", counts.len())?;
    if *skipped > 0 {
        writeln!(out, "  {skipped} files are no texts")?;
    }
    writeln!(out, "  {by_pipeline:.1?} by a pipeline, {alone:.1?} alone: the same words")?;
    Ok(())
}

/// What the tour shows: the words of the examples themselves.
#[allow(dead_code, reason = "only the tour calls it")]
pub fn show() -> Result<(), Box<dyn Error>> {
    let directory = env!("CARGO_MANIFEST_DIR").into();
    run(&Options { directory, readers: 2, counters: 2, top: 3 })
}

#[allow(dead_code, reason = "the tour has its own")]
pub fn main() -> ExitCode {
    cli::main("words", HELP, Options::parse, run)
}
