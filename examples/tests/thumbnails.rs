//! Thumbnails are made of whatever can be read, and whatever cannot is told.

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use common::{expect_refusals, run};
use image::codecs::jpeg::JpegEncoder;
use image::{ImageEncoder, ImageReader, Rgb, RgbImage};

const COLOUR: Rgb<u8> = Rgb([10, 200, 30]);

fn picture(path: &Path, width: u32, height: u32) {
    RgbImage::from_pixel(width, height, COLOUR).save(path).unwrap();
}

/// Checks that a thumbnail is so large, and of the colour of its picture, as nearly as its format can
/// tell.
fn expect_thumbnail(path: &Path, size: (u32, u32)) {
    let thumbnail = image::open(path).unwrap().into_rgb8();
    assert_eq!(thumbnail.dimensions(), size, "{}", path.display());
    let is_near = |(is, should): (&u8, &u8)| is.abs_diff(*should) < 4;
    let is_right = |pixel: &Rgb<u8>| pixel.0.iter().zip(&COLOUR.0).all(is_near);
    assert!(thumbnail.pixels().all(is_right), "{}", path.display());
}

/// Makes thumbnails of at most 30 pixels: what is printed, and what is said.
fn thumbnails(from: &Path) -> (Option<i32>, String, String) {
    let options = ["--size=30", "--seconds=1", "--workers=2"].map(OsStr::new);
    let to = from.join("out");
    let arguments = options.into_iter().chain([from.as_os_str(), to.as_os_str()]);
    run(env!("CARGO_BIN_EXE_thumbnails"), arguments)
}

/// Checks that it is told of a file why it has no thumbnail.
fn expect_reason(errors: &str, file: &Path, reason: &str) {
    let start = format!("thumbnails: {}: ", file.display());
    let found = errors.lines().find(|line| line.starts_with(&start));
    assert!(found.is_some_and(|line| line.contains(reason)), "{}: {errors}", file.display());
}

#[test]
fn each_format_is_read_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let names =
        ["a.bmp", "a.gif", "a.jpg", "a.jpeg", "a.PNG", "a.ppm", "a.qoi", "a.tiff", "a.webp"];
    for name in names {
        picture(&at(name), 90, 60);
    }
    fs::write(at("a.txt"), "no picture, and of no interest").unwrap();
    // What is in it counts, not what it is called.
    fs::copy(at("a.jpg"), at("jpeg.png")).unwrap();
    let text = format!("10 thumbnails in {}\n", at("out").display());
    assert_eq!(thumbnails(dir.path()), (Some(0), text, String::new()));
    for name in names {
        expect_thumbnail(&at("out").join(name), (30, 20));
        let format = |path: &Path| {
            let reader = ImageReader::open(path).unwrap().with_guessed_format().unwrap();
            reader.format().unwrap()
        };
        assert_eq!(format(&at("out").join(name)), format(&at(name)), "{name}");
    }
    assert_eq!(fs::read_dir(at("out")).unwrap().count(), 10);
}

#[test]
fn a_photograph_is_turned_as_its_camera_was() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // Red on the left; and, by its only entry, to be turned to the right: then red is on top.
    let red_and_blue = |x: u32, _| if x < 60 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) };
    let photograph = RgbImage::from_fn(120, 60, red_and_blue);
    let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut encoder = JpegEncoder::new(File::create(at("photograph.jpg")).unwrap());
    encoder.set_exif_metadata(exif.to_vec()).unwrap();
    photograph.write_with_encoder(encoder).unwrap();

    assert_eq!(thumbnails(dir.path()).0, Some(0));
    let thumbnail = image::open(at("out").join("photograph.jpg")).unwrap().into_rgb8();
    assert_eq!(thumbnail.dimensions(), (15, 30));
    let (above, below) = (thumbnail.get_pixel(7, 5), thumbnail.get_pixel(7, 25));
    assert!(above[0] > 200 && above[2] < 50, "{above:?}");
    assert!(below[0] < 50 && below[2] > 200, "{below:?}");
}

#[test]
fn bad_files_cost_nobody_but_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for number in 0..5 {
        picture(&at(&format!("good-{number}.png")), 300, 150);
    }
    picture(&at("small.png"), 3, 2);
    picture(&at("good.jpg"), 300, 150);
    fs::write(at("text.png"), "no picture").unwrap();
    fs::write(at("text.jpg"), "no picture").unwrap();
    // One byte of its pixels is another, and their checksum tells.
    let mut damaged = fs::read(at("good-0.png")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(at("damaged.png"), damaged).unwrap();
    // Cut off before its pixels begin.
    let cut = fs::read(at("good.jpg")).unwrap();
    fs::write(at("damaged.jpg"), &cut[..100]).unwrap();
    // Its header alone: it says that there are 25 GB of pixels.
    let mut huge = Vec::new();
    let mut encoder = png::Encoder::new(&mut huge, 90_000, 90_000);
    encoder.set_color(png::ColorType::Rgb);
    drop(encoder.write_header().unwrap());
    let end = huge.len() - 12;
    huge.truncate(end);
    huge.extend([0, 0, 0, 1]);
    huge.extend(b"IDAT");
    fs::write(at("huge.png"), huge).unwrap();
    // Whoever opens it waits for ever.
    assert!(Command::new("mkfifo").arg(at("endless.png")).status().unwrap().success());

    let (code, _, errors) = thumbnails(dir.path());
    for (name, reason) in [
        ("text.png", "Invalid PNG signature"),
        ("text.jpg", "Illegal start bytes"),
        ("damaged.png", "CRC"),
        ("damaged.jpg", "Not enough bytes"),
        ("huge.png", "SIGABRT"),
        ("endless.png", "took longer than 1s"),
    ] {
        expect_reason(&errors, &at(name), reason);
    }
    assert!(errors.ends_with("thumbnails: 6 of 13 files gave none\n"), "{errors}");
    assert_eq!(code, Some(1));
    for (name, size) in [
        ("good-0.png", (30, 15)),
        ("good-4.png", (30, 15)),
        ("good.jpg", (30, 15)),
        ("small.png", (3, 2)),
    ] {
        expect_thumbnail(&at("out").join(name), size);
    }
}

#[test]
fn a_thumbnail_that_cannot_be_written_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    picture(&at("good.png"), 60, 60);
    picture(&at("taken.png"), 60, 60);
    // A directory is in its place, with something in it, so that nothing can take it.
    fs::create_dir_all(at("out/taken.png/something")).unwrap();
    let (code, text, errors) = thumbnails(dir.path());
    assert_eq!(text, format!("1 thumbnails in {}\n", at("out").display()));
    let reason = format!("cannot write {}: Is a directory", at("out/taken.png").display());
    expect_reason(&errors, &at("taken.png"), &reason);
    assert!(errors.ends_with("thumbnails: 1 of 2 files gave none\n"), "{errors}");
    assert_eq!((code, errors.lines().count()), (Some(1), 2));
    expect_thumbnail(&at("out/good.png"), (30, 30));
}

#[test]
fn bad_arguments_are_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).into_os_string().into_string().unwrap();
    fs::write(at("file"), "").unwrap();
    let here = dir.path().to_str().unwrap();
    expect_refusals(
        "thumbnails",
        env!("CARGO_BIN_EXE_thumbnails"),
        &[
            (&[here], "say which directory"),
            (&["/nowhere", &at("out")], "cannot read the directory /nowhere"),
            (&[&at("file"), &at("out")], "cannot read the directory"),
            (&[here, &at("file")], "cannot make the directory"),
            (&[here, here], "take the place of the pictures"),
            (&["--workers", "0", here, &at("out")], "--workers takes a number from 1"),
        ],
    );
}
