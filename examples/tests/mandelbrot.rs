//! The same picture, however many draw it.

mod common;

use std::ffi::OsStr;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use common::{expect_refusals, run};

/// The pixels of a PNG file, row by row.
fn pixels(path: &Path) -> (usize, usize, Vec<[u8; 3]>) {
    let decoder = png::Decoder::new(BufReader::new(File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    let (pixels, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    (info.width as usize, info.height as usize, pixels.to_vec())
}

#[test]
fn it_draws_the_same_picture_with_any_number_of_processes() {
    let dir = tempfile::tempdir().unwrap();
    let draw = |processes: &str| {
        let file = dir.path().join(processes);
        let options = ["--width", "91", "--height=60", "--processes", processes, "--output"];
        let arguments = options.iter().map(OsStr::new).chain([file.as_os_str()]);
        let (code, text, errors) = run(env!("CARGO_BIN_EXE_mandelbrot"), arguments);
        assert_eq!((code, &*errors), (Some(0), ""), "{text}");
        assert!(text.contains(&format!("91 x 60 pixels by {processes} processes")), "{text}");
        pixels(&file)
    };
    let (width, height, picture) = draw("1");
    assert_eq!((width, height, picture.len()), (91, 60, 91 * 60));
    let at = |x: usize, y: usize| picture[y * width + x];
    // The heart of it is black, its surroundings are not, and what is above is below.
    assert_eq!((at(55, 30), at(36, 30)), ([0; 3], [0; 3]));
    for (x, y) in [(0, 0), (90, 0), (0, 59), (90, 59), (85, 30), (45, 2)] {
        assert_ne!(at(x, y), [0; 3], "at {x}, {y}");
    }
    let black = picture.iter().filter(|pixel| **pixel == [0; 3]).count();
    assert!((700..1_300).contains(&black), "{black}");
    assert!((0..60).all(|y| (0..91).all(|x| at(x, y) == at(x, 59 - y))));

    for processes in ["2", "7", "100"] {
        assert!(draw(processes).2 == picture, "drawn by {processes}");
    }
}

#[test]
fn what_it_cannot_do_is_refused_in_one_line() {
    expect_refusals(
        "mandelbrot",
        env!("CARGO_BIN_EXE_mandelbrot"),
        &[
            (&["--width", "0"], "--width takes a number from 1 to 30000, not \"0\""),
            (&["--width", "-5"], "--width takes a number from 1 to 30000, not \"-5\""),
            (&["--height", "30001"], "--height takes a number from 1 to 30000, not \"30001\""),
            (&["--height", "many"], "--height takes a number from 1 to 30000, not \"many\""),
            (&["--processes=0"], "--processes takes a number from 1 to 1000, not \"0\""),
            (&["--width"], "missing argument for option '--width'"),
            (&["--colour"], "invalid option '--colour'"),
            (&["picture.png"], "unexpected argument \"picture.png\""),
            (
                &["--output", "/nowhere/a.png"],
                "cannot write /nowhere/a.png: No such file or directory",
            ),
            (&["--output", "/"], "cannot write /: Is a directory"),
            (
                &["--width", "9", "--height", "9", "--output", "/dev/full"],
                "cannot write /dev/full: No space left on device",
            ),
        ],
    );
}

#[test]
fn it_explains_itself() {
    for argument in ["--help", "-h"] {
        let (code, text, errors) = run(env!("CARGO_BIN_EXE_mandelbrot"), [argument]);
        assert_eq!((code, &*errors), (Some(0), ""));
        for option in ["--width", "--height", "--output", "--processes", "--help"] {
            assert!(text.contains(option), "{option} is missing in:\n{text}");
        }
    }
}
