//! One large picture that all processors draw at once: each process writes its rows where they
//! belong, so nothing is copied, and nothing is put together in the end.
//!
//! ```sh
//! cargo run --release -p examples --bin mandelbrot -- --width 3000 --output mandelbrot.png
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use lexopt::prelude::*;
use offspring::shm::{Shared, SharedMut};
use offspring::{Receiver, process};

const HELP: &str = "\
Draws the Mandelbrot set, by several processes, into a PNG file.

Usage: mandelbrot [OPTIONS]

Options:
  --width PIXELS     how wide the picture is [1200]
  --height PIXELS    how high the picture is [800]
  --output FILE      where it goes [mandelbrot.png]
  --processes N      how many draw it [as many as there are processors]
  --help             this text";

/// The part of the plane that is drawn is so high; its middle is at -0.65.
const HEIGHT: f64 = 2.4;
const MIDDLE: f64 = -0.65;
const ITERATIONS: u32 = 1_000;
const LARGEST: usize = 30_000;

/// How often the progress is shown.
const LOOK: Duration = Duration::from_millis(100);

type Pixel = [u8; 3];

#[derive(Debug)]
struct Options {
    width: usize,
    height: usize,
    output: PathBuf,
    processes: usize,
}

impl Default for Options {
    fn default() -> Self {
        let processes = offspring::cpu_count();
        Self { width: 1_200, height: 800, output: "mandelbrot.png".into(), processes }
    }
}

impl Options {
    /// `None` if it is the help that is asked for.
    fn parse(mut arguments: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("width") => {
                    options.width = cli::number(&mut arguments, "--width", 1..=LARGEST)?
                }
                Long("height") => {
                    options.height = cli::number(&mut arguments, "--height", 1..=LARGEST)?
                }
                Long("output") => options.output = arguments.value()?.into(),
                Long("processes") => {
                    options.processes = cli::number(&mut arguments, "--processes", 1..=cli::MOST)?;
                }
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(options))
    }
}

/// Draws all rows that come, and counts them.
#[process]
fn draw(rows: Receiver<SharedMut<Pixel>>, width: usize, height: usize, drawn: Shared<AtomicUsize>) {
    for mut rows in &rows {
        // A part knows where in the whole it is.
        let first = rows.range().start;
        for (index, pixel) in (first..).zip(rows.as_mut_slice()) {
            let scale = HEIGHT / height as f64;
            let x = MIDDLE + ((index % width) as f64 + 0.5 - width as f64 / 2.0) * scale;
            let y = ((index / width) as f64 + 0.5 - height as f64 / 2.0) * scale;
            *pixel = color(x, y);
        }
        drawn.fetch_add(rows.len() / width, Relaxed);
        // Here the rows are dropped, which gives them back.
    }
}

/// Black, if z² + c never gets far from 0; else a colour for how soon it does.
fn color(x: f64, y: f64) -> Pixel {
    let (mut a, mut b) = (0.0, 0.0);
    for n in 0..ITERATIONS {
        (a, b) = (a * a - b * b + x, 2.0 * a * b + y);
        let far = a * a + b * b;
        if far > 256.0 {
            let smooth = f64::from(n) + 1.0 - (far.ln() / 2.0).log2();
            let wave = |phase: f64| 0.5 - 0.5 * (phase + smooth.max(0.0).sqrt() * 0.6).cos();
            return [0.2, 0.6, 1.2].map(|phase| (wave(phase) * 255.0) as u8);
        }
    }
    [0; 3]
}

fn render(options: &Options) -> Result<SharedMut<Pixel>, Box<dyn Error>> {
    let &Options { width, height, processes, .. } = options;
    let picture = SharedMut::zeroed(width * height)?;
    // Many more parts than processes: who is done early takes another.
    let rows_at_once = (height / (processes * 16)).max(1);
    let (parts, whole) = picture.chunks(width * rows_at_once)?;

    let (to_draw, rows) = offspring::pipe()?;
    let drawn = Shared::new(AtomicUsize::new(0))?;
    let children = (0..processes)
        .map(|_| draw(rows.clone(), width, height, drawn.clone()).spawn())
        .collect::<Result<Vec<_>, _>>()?;
    drop(rows);
    for part in parts {
        to_draw.send(part)?;
    }
    drop(to_draw);
    // All rows are back when the last is drawn, or whoever had it is dead.
    let bar = cli::progress_bar("rows");
    bar.set_length(height as u64);
    while offspring::wait_timeout(&[&whole], LOOK)?.is_empty() {
        bar.set_position(drawn.load(Relaxed) as u64);
    }
    bar.finish_and_clear();
    for child in children {
        child.join()?;
    }
    Ok(whole.join())
}

fn write(file: File, options: &Options, picture: &[Pixel]) -> Result<(), Box<dyn Error>> {
    let mut file = BufWriter::new(file);
    let mut encoder = png::Encoder::new(&mut file, options.width as u32, options.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.as_flattened())?;
    writer.finish()?;
    Ok(file.flush()?)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let Options { width, height, output, processes } = options;
    let failed = |error: &dyn Error| format!("cannot write {}: {error}", output.display());
    let file = File::create(output).map_err(|error| failed(&error))?; // before all the work
    let mut picture = render(options)?;
    write(file, options, picture.as_mut_slice()).map_err(|error| failed(&*error))?;
    let (mut out, file) = (cli::stdout(), output.display());
    writeln!(out, "  {width} x {height} pixels by {processes} processes: see {file}")?;
    Ok(())
}

/// What the tour shows: a small one.
#[allow(dead_code, reason = "only the tour calls it")]
pub fn show() -> Result<(), Box<dyn Error>> {
    let output = std::env::temp_dir().join("offspring-mandelbrot.png");
    run(&Options { width: 600, height: 400, output, ..Options::default() })
}

#[allow(dead_code, reason = "the tour has its own")]
pub fn main() -> ExitCode {
    cli::main("mandelbrot", HELP, Options::parse, run)
}
