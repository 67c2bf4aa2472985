//! The checksums of all files below a directory, over all processors, with a progress bar; and which
//! files are the same.
//!
//! ```sh
//! cargo run --release -p examples --bin checksums -- runtime
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use lexopt::prelude::*;
use offspring::{Pool, process};

const HELP: &str = "\
Prints the CRC-32 of all files below a directory, and which files are the same.

Usage: checksums [OPTIONS] DIRECTORY

Options:
  --workers N     how many processes read files [as many as there are processors]
  --quiet         print only which files are the same
  --help          this text";

#[derive(Debug)]
struct Options {
    directory: PathBuf,
    workers: usize,
    quiet: bool,
}

impl Options {
    /// `None` if it is the help that is asked for.
    fn parse(mut arguments: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let (mut directory, mut workers, mut quiet) = (None, offspring::cpu_count(), false);
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("workers") => {
                    let text = arguments.value()?.string()?;
                    workers = match text.parse() {
                        Ok(number @ 1..=1024) => number,
                        _ => {
                            let problem = "--workers takes a number from 1 to 1024, not";
                            return Err(format!("{problem} {text:?}").into());
                        }
                    };
                }
                Long("quiet") | Short('q') => quiet = true,
                Long("help") | Short('h') => return Ok(None),
                Value(path) if directory.is_none() => directory = Some(PathBuf::from(path)),
                other => return Err(other.unexpected()),
            }
        }
        let directory = directory.ok_or("say which directory: see --help")?;
        Ok(Some(Self { directory, workers, quiet }))
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
fn files_below(directory: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files_below(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let Options { directory, workers, quiet } = options;
    let mut files = Vec::new();
    files_below(directory, &mut files)
        .map_err(|error| format!("cannot read the directory {}: {error}", directory.display()))?;
    let begin = Instant::now();
    let pool = Pool::builder().workers(*workers).name("checksums").build()?;
    // Drawn only where somebody sees it: on a terminal, on the standard error output.
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} files, {eta} left")?;
    let bar = ProgressBar::new(0).with_style(style);
    let mapper = pool.mapper().progress(bar.clone());
    let outcomes = mapper.map(checksum, files.iter().cloned())?;
    bar.finish_and_clear();
    pool.join()?;

    let mut same = BTreeMap::<_, Vec<&Path>>::new();
    let (mut bytes, mut unread) = (0, 0);
    for (path, outcome) in files.iter().zip(outcomes) {
        match outcome {
            Ok((sum, len)) => {
                bytes += len;
                same.entry((len, sum)).or_default().push(path);
                if !quiet {
                    println!("{sum:08x}  {}", path.display());
                }
            }
            Err(reason) => {
                unread += 1;
                eprintln!("checksums: {}: {reason}", path.display());
            }
        }
    }
    for paths in same.into_iter().filter(|((len, _), _)| *len > 0).map(|(_, paths)| paths) {
        if let [first, others @ ..] = &paths[..] {
            for other in others {
                println!("{} seems to be {}", other.display(), first.display());
            }
        }
    }
    println!(
        "{} files, {}, by {workers} processes in {:.3} s",
        files.len(),
        HumanBytes(bytes),
        begin.elapsed().as_secs_f64()
    );
    if unread > 0 {
        return Err(format!("{unread} files could not be read").into());
    }
    Ok(())
}

/// What the tour shows: the files of these examples.
pub fn show() -> Result<(), Box<dyn Error>> {
    run(&Options { directory: env!("CARGO_MANIFEST_DIR").into(), workers: 2, quiet: true })
}

#[allow(dead_code, reason = "the tour calls `show`")]
pub fn main() -> ExitCode {
    let done = match Options::parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => run(&options),
        Ok(None) => {
            println!("{HELP}");
            Ok(())
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("checksums: {error}");
            ExitCode::FAILURE
        }
    }
}
