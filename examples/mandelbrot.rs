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

use lexopt::prelude::*;
use offspring::shm::SharedMut;
use offspring::{Receiver, process};

const HELP: &str = "\
Draws the Mandelbrot set, by several processes, into a PNG file.

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
                Long("width") => options.width = number(&mut arguments, "--width", LARGEST)?,
                Long("height") => options.height = number(&mut arguments, "--height", LARGEST)?,
                Long("output") => options.output = arguments.value()?.into(),
                Long("processes") => {
                    options.processes = number(&mut arguments, "--processes", 1_000)?;
                }
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(options))
    }
}

fn number(from: &mut lexopt::Parser, option: &str, most: usize) -> Result<usize, lexopt::Error> {
    let text = from.value()?.string()?;
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("{option} takes a number from 1 to {most}, not {text:?}").into()),
    }
}

/// Draws all rows that come.
#[process]
fn draw(rows: Receiver<SharedMut<Pixel>>, width: usize, height: usize) -> usize {
    let mut drawn = 0;
    for mut rows in &rows {
        // A part knows where in the whole it is.
        let first = rows.range().start;
        for (index, pixel) in (first..).zip(rows.as_mut_slice()) {
            let scale = HEIGHT / height as f64;
            let x = MIDDLE + ((index % width) as f64 + 0.5 - width as f64 / 2.0) * scale;
            let y = ((index / width) as f64 + 0.5 - height as f64 / 2.0) * scale;
            *pixel = color(x, y);
        }
        drawn += rows.len() / width;
        // Here the rows are dropped, which gives them back.
    }
    drawn
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
    let children = (0..processes)
        .map(|_| draw(rows.clone(), width, height).spawn())
        .collect::<Result<Vec<_>, _>>()?;
    drop(rows);
    for part in parts {
        to_draw.send(part)?;
    }
    drop(to_draw);
    let mut drawn = 0;
    for child in children {
        drawn += child.join()?;
    }
    assert_eq!(drawn, height);
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
    println!("  {width} x {height} pixels by {processes} processes: see {}", output.display());
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
            eprintln!("mandelbrot: {error}");
            ExitCode::FAILURE
        }
    }
}
