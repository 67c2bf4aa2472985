//! Thumbnails of a directory of pictures, by a pool in which no file can do harm: one that is damaged,
//! never ends, or asks for too much memory costs itself, and is reported in the end.
//!
//! ```sh
//! cargo run --release -p examples --bin thumbnails -- ~/Pictures thumbnails
//! ```

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use lexopt::prelude::*;
use offspring::{Pool, process};

const HELP: &str = "\
Makes thumbnails of all pictures in a directory: BMP, GIF, JPEG, PNG, PNM, QOI, TIFF, WebP. Each has the
name and the format of its picture.

Usage: thumbnails [OPTIONS] DIRECTORY OUTPUT

Options:
  --size PIXELS     how wide and high a thumbnail is at the most [128]
  --workers N       how many processes work [as many as there are processors]
  --seconds N       how long one file may take [10]
  --megabytes N     how much memory a process may have [1024]
  --help            this text";

#[derive(Debug)]
struct Options {
    directory: PathBuf,
    output: PathBuf,
    size: usize,
    workers: usize,
    seconds: usize,
    megabytes: usize,
}

impl Options {
    /// `None` if it is the help that is asked for.
    fn parse(mut arguments: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut places = Vec::new();
        let (mut size, mut workers) = (128, offspring::cpu_count());
        let (mut seconds, mut megabytes) = (10, 1024);
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("size") => size = cli::number(&mut arguments, "--size", 1..=10_000)?,
                Long("workers") => {
                    workers = cli::number(&mut arguments, "--workers", 1..=cli::MOST)?
                }
                Long("seconds") => seconds = cli::number(&mut arguments, "--seconds", 1..=86_400)?,
                Long("megabytes") => {
                    megabytes = cli::number(&mut arguments, "--megabytes", 64..=1 << 20)?
                }
                Long("help") | Short('h') => return Ok(None),
                Value(path) if places.len() < 2 => places.push(PathBuf::from(path)),
                other => return Err(other.unexpected()),
            }
        }
        let [directory, output] = <[PathBuf; 2]>::try_from(places)
            .map_err(|_| "say which directory, and where the thumbnails go: see --help")?;
        Ok(Some(Self { directory, output, size, workers, seconds, megabytes }))
    }
}

/// Makes one thumbnail, or says why there is none.
#[process]
fn thumbnail(from: PathBuf, to: PathBuf, size: usize) -> Result<(), String> {
    make(&from, &to, size).map_err(|error| error.to_string())
}

fn make(from: &Path, to: &Path, size: usize) -> Result<(), Box<dyn Error>> {
    let mut reader = ImageReader::open(from)?.with_guessed_format()?;
    // The process has limits of its own, which hold for all that a decoder does.
    reader.no_limits();
    let format = reader.format().ok_or("it is no picture")?;
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    let size = size as u32;
    if picture.width().max(picture.height()) > size {
        picture = picture.thumbnail(size, size);
    }

    // Under another name first: whoever is killed leaves no half of a thumbnail.
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unwritten = |error: &dyn Error| format!("cannot write {}: {error}", to.display());
    let file = File::create(&unfinished).map_err(|error| unwritten(&error))?;
    let mut file = BufWriter::new(file);
    picture.write_to(&mut file, format).map_err(|error| unwritten(&error))?;
    file.flush().map_err(|error| unwritten(&error))?;
    fs::rename(unfinished, to).map_err(|error| unwritten(&error))?;
    Ok(())
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let Options { directory, output, size, .. } = options;
    let failed = |error| format!("cannot read the directory {}: {error}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if ImageFormat::from_path(&path).is_ok_and(|format| format.reading_enabled()) {
            files.push(path);
        }
    }
    files.sort();
    fs::create_dir_all(output)
        .map_err(|error| format!("cannot make the directory {}: {error}", output.display()))?;
    if fs::canonicalize(directory)? == fs::canonicalize(output)? {
        return Err("the thumbnails would take the place of the pictures".into());
    }

    let pool = Pool::builder()
        .workers(options.workers)
        .task_timeout(Duration::from_secs(options.seconds as u64))
        .memory_limit((options.megabytes as u64) << 20)
        .build()?;
    let bar = cli::progress_bar("files");
    let tasks = files.iter().filter_map(|file| {
        let name = file.file_name()?;
        Some((file.clone(), output.join(name)))
    });
    let mapper = pool.mapper().progress(bar.clone());
    let outcomes = mapper.map_settled(|(from, to)| thumbnail(from, to, *size), tasks);
    bar.finish_and_clear();
    pool.join()?;

    let mut bad = 0;
    for (file, outcome) in files.iter().zip(outcomes) {
        let reason = match outcome {
            Ok(Ok(())) => continue,
            Ok(Err(reason)) => reason,
            Err(error) => error.to_string(),
        };
        bad += 1;
        let line = reason.lines().next().unwrap_or_default();
        cli::say("thumbnails", format_args!("{}: {line}", file.display()));
    }
    writeln!(cli::stdout(), "{} thumbnails in {}", files.len() - bad, output.display())?;
    match bad {
        0 => Ok(()),
        _ => Err(format!("{bad} of {} files gave none", files.len()).into()),
    }
}

fn main() -> ExitCode {
    cli::main("thumbnails", HELP, Options::parse, run)
}
