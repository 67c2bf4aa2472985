//! The checksums of all files below a directory, over all processors, with a progress bar; or which
//! files are the same, byte by byte.
//!
//! ```sh
//! cargo run --release -p examples --bin checksums -- runtime
//! cargo run --release -p examples --bin checksums -- --duplicates ~/Pictures
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use indicatif::HumanBytes;
use lexopt::prelude::*;
use offspring::{Pool, process};

const HELP: &str = "\
Prints the CRC-32 of all files below a directory, or which of them are the same.

Usage: checksums [OPTIONS] DIRECTORY

Options:
  --workers N     how many processes read files [as many as there are processors]
  --duplicates    print which files are the same, instead of checksums
  --help          this text";

#[derive(Debug)]
struct Options {
    directory: PathBuf,
    workers: usize,
    duplicates: bool,
}

impl Options {
    /// `None` if it is the help that is asked for.
    fn parse(mut arguments: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let (mut directory, mut workers, mut duplicates) = (None, offspring::cpu_count(), false);
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("workers") => {
                    workers = cli::number(&mut arguments, "--workers", 1..=cli::MOST)?
                }
                Long("duplicates") => duplicates = true,
                Long("help") | Short('h') => return Ok(None),
                Value(path) if directory.is_none() => directory = Some(PathBuf::from(path)),
                other => return Err(other.unexpected()),
            }
        }
        let directory = directory.ok_or("say which directory: see --help")?;
        Ok(Some(Self { directory, workers, duplicates }))
    }
}

/// The checksum of a file, and its length; or why there is none.
#[process]
fn checksum(path: PathBuf) -> Result<(u32, u64), String> {
    let read = || -> std::io::Result<(u32, u64)> {
        let mut file = File::open(&path)?;
        let mut hasher = crc32fast::Hasher::new();
        let (mut buffer, mut len) = (vec![0; 256 << 10], 0);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok((hasher.finalize(), len)),
                more => {
                    hasher.update(&buffer[..more]);
                    len += more as u64;
                }
            }
        }
    };
    read().map_err(|error| error.to_string())
}

/// All files below a directory, in order.
fn files_below(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let failed = |error| format!("cannot read the directory {}: {error}", directory.display());
    let entries = fs::read_dir(directory).and_then(|entries| entries.collect::<Result<_, _>>());
    let mut entries: Vec<_> = entries.map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            files_below(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// Whether the two files have the same bytes.
#[process]
fn is_same(a: PathBuf, b: PathBuf) -> Result<bool, String> {
    let compare = || -> std::io::Result<bool> {
        let (mut a, mut b) = (BufReader::new(File::open(&a)?), BufReader::new(File::open(&b)?));
        loop {
            let (left, right) = (a.fill_buf()?, b.fill_buf()?);
            let len = left.len().min(right.len());
            if len == 0 || left[..len] != right[..len] {
                return Ok(left.is_empty() && right.is_empty());
            }
            a.consume(len);
            b.consume(len);
        }
    };
    compare().map_err(|error| error.to_string())
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let Options { directory, workers, duplicates } = options;
    let mut files = Vec::new();
    files_below(directory, &mut files)?;
    let begin = Instant::now();
    let pool = Pool::builder().workers(*workers).name("checksums").build()?;
    let bar = cli::progress_bar("files");
    let mapper = pool.mapper().progress(bar.clone());
    let outcomes = mapper.map(checksum, files.iter().cloned())?;
    bar.finish_and_clear();

    let mut out = cli::stdout();
    let mut alike = BTreeMap::<_, Vec<&Path>>::new();
    let (mut bytes, mut unread) = (0, 0);
    for (path, outcome) in files.iter().zip(outcomes) {
        match outcome {
            Ok((sum, len)) => {
                bytes += len;
                alike.entry((len, sum)).or_default().push(path);
                if !duplicates {
                    writeln!(out, "{sum:08x}  {}", path.display())?;
                }
            }
            Err(reason) => {
                unread += 1;
                cli::say("checksums", format_args!("{}: {reason}", path.display()));
            }
        }
    }
    if *duplicates {
        unread += report(&pool, alike)?;
    }
    pool.join()?;
    writeln!(
        out,
        "{} files, {}, by {workers} processes in {:.3} s",
        files.len(),
        HumanBytes(bytes),
        begin.elapsed().as_secs_f64()
    )?;
    if unread > 0 {
        return Err(format!("{unread} files could not be read").into());
    }
    Ok(())
}

/// Prints which files are the same, of those with one length and checksum. Says how many could not
/// be read any more.
fn report(pool: &Pool, alike: BTreeMap<(u64, u32), Vec<&Path>>) -> Result<usize, Box<dyn Error>> {
    // A checksum of 32 bits only says which files are worth comparing.
    let pairs = alike.iter().flat_map(|((len, _), paths)| {
        let first = paths[0];
        paths[1..].iter().filter(|_| *len > 0).map(move |other| (*len, first, *other))
    });
    let pairs: Vec<_> = pairs.collect();
    let inputs = pairs.iter().map(|(_, first, other)| (first.to_path_buf(), other.to_path_buf()));
    let bar = cli::progress_bar("comparisons");
    let mapper = pool.mapper().progress(bar.clone());
    let answers = mapper.map(|(first, other)| is_same(first, other), inputs)?;
    bar.finish_and_clear();

    let mut out = cli::stdout();
    let (mut unread, mut copies, mut wasted) = (0, 0, 0);
    for ((len, first, other), answer) in pairs.into_iter().zip(answers) {
        match answer {
            Ok(true) => {
                writeln!(
                    out,
                    "{} is {} once more ({})",
                    other.display(),
                    first.display(),
                    HumanBytes(len)
                )?;
                copies += 1;
                wasted += len;
            }
            Ok(false) => {}
            Err(reason) => {
                unread += 1;
                cli::say("checksums", format_args!("{}: {reason}", other.display()));
            }
        }
    }
    writeln!(out, "{copies} files are copies: {} could be saved", HumanBytes(wasted))?;
    Ok(unread)
}

/// What the tour shows: the files of these examples.
pub fn show() -> Result<(), Box<dyn Error>> {
    run(&Options { directory: env!("CARGO_MANIFEST_DIR").into(), workers: 2, duplicates: true })
}

#[allow(dead_code, reason = "the tour calls `show`")]
pub fn main() -> ExitCode {
    cli::main("checksums", HELP, Options::parse, run)
}
