//! Thumbnails are made of whatever can be read, and whatever cannot is told.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

fn picture(path: &Path, width: u32, height: u32) {
    let mut encoder = png::Encoder::new(File::create(path).unwrap(), width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    let pixels = [10, 200, 30].repeat((width * height) as usize);
    writer.write_image_data(&pixels).unwrap();
}

#[test]
fn bad_files_cost_nobody_but_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for number in 0..5 {
        picture(&at(&format!("good-{number}.png")), 300, 150);
    }
    picture(&at("small.png"), 3, 2);
    fs::write(at("damaged.png"), "no picture").unwrap();
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

    let outcome = Command::new(env!("CARGO_BIN_EXE_thumbnails"))
        .args(["--size", "30", "--seconds", "1", "--workers", "2"])
        .args([dir.path(), &at("out")])
        .output()
        .unwrap();
    let errors = String::from_utf8(outcome.stderr).unwrap();
    let told = |name: &str, reason: &str| {
        let start = format!("thumbnails: {}: ", at(name).display());
        let found = errors.lines().find(|line| line.starts_with(&start));
        assert!(found.is_some_and(|line| line.contains(reason)), "{name}: {errors}");
    };
    told("damaged.png", "Invalid PNG signature");
    told("huge.png", "SIGABRT");
    told("endless.png", "it ran for longer than 1s");
    assert!(errors.ends_with("thumbnails: 3 of 9 files gave none\n"), "{errors}");
    assert_eq!(outcome.status.code(), Some(1));
    for (name, size) in [("good-0.png", (30, 15)), ("good-4.png", (30, 15)), ("small.png", (3, 2))]
    {
        let file = std::io::BufReader::new(File::open(at("out").join(name)).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), size, "{name}");
        assert!(pixels.chunks(3).all(|pixel| pixel == [10, 200, 30]), "{name}");
    }
}

#[test]
fn bad_arguments_are_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).into_os_string().into_string().unwrap();
    fs::write(at("file"), "").unwrap();
    let here = dir.path().to_str().unwrap();
    let bad: [(&[&str], &str); 6] = [
        (&[here], "say which directory"),
        (&["/nowhere", &at("out")], "cannot read the directory /nowhere"),
        (&[&at("file"), &at("out")], "cannot read the directory"),
        (&[here, &at("file")], "cannot make the directory"),
        (&[here, here], "take the place of the pictures"),
        (&["--workers", "0", here, &at("out")], "--workers takes a number from 1"),
    ];
    for (arguments, message) in bad {
        let outcome =
            Command::new(env!("CARGO_BIN_EXE_thumbnails")).args(arguments).output().unwrap();
        let errors = String::from_utf8(outcome.stderr).unwrap();
        assert!(outcome.status.code() == Some(1) && outcome.stdout.is_empty(), "{arguments:?}");
        assert!(errors.starts_with("thumbnails: ") && errors.contains(message), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}
