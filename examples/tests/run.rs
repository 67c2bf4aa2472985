//! Each example runs, and says what it should.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a program may take before it counts as hung.
const WATCHDOG: Duration = Duration::from_secs(120);

/// What comes of a program; one that hangs is killed.
fn output(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    outcome.recv_timeout(WATCHDOG).map_or_else(
        |_| {
            let _ = Command::new("kill").args(["-9", &pid]).status();
            panic!("{command:?} hung");
        },
        Result::unwrap,
    )
}

fn run(program: &str) -> String {
    let Output { status, stdout, stderr } = output(&mut Command::new(program));
    let text = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{status}\n{text}\n{}", String::from_utf8_lossy(&stderr));
    text
}

fn expect(program: &str, lines: &[&str]) {
    let text = run(program);
    for line in lines {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
}

#[test]
fn function_returns_values_and_waits_for_a_dropped_child() {
    expect(
        env!("CARGO_BIN_EXE_function"),
        &["started factor-", "1999966 = [2, 999983]", "hello from a child nobody joins"],
    );
}

#[test]
fn structure_runs_structs_and_enums() {
    expect(
        env!("CARGO_BIN_EXE_structure"),
        &["of 200000 hit", "together: pi is about 3.1", "says: good morning"],
    );
}

#[test]
fn lifecycle_tells_how_each_child_ended() {
    expect(
        env!("CARGO_BIN_EXE_lifecycle"),
        &[
            "sleeper slept 30ms",
            "is a daemon: true",
            "ended by signal Some(15)",
            "was killed by signal 15 (SIGTERM)",
            "exited with code 3",
            "attempt to divide by zero",
            "6 / 3 = 2",
        ],
    );
}

#[test]
fn pipe_talks_both_ways_and_shares_a_stream() {
    expect(
        env!("CARGO_BIN_EXE_pipe"),
        &["\"descriptor\" has 10 letters", "was asked 3 times", "is written in"],
    );
}

#[test]
fn survive_outlives_a_crash_a_hang_and_a_bomb() {
    expect(
        env!("CARGO_BIN_EXE_survive"),
        &[
            "gave \"nanabatm\"",
            "was refused: a group without an end",
            "killed by signal 11 (SIGSEGV)",
            "took too long, and was killed",
            "killed by signal 6 (SIGABRT)",
            "gave \"hey!hey!\"",
            "alive and well",
        ],
    );
}

#[test]
fn locks_count_limit_and_tell_of_deadlocks_and_of_the_dead() {
    expect(
        env!("CARGO_BIN_EXE_locks"),
        &[
            "have counted to 4000 together",
            "never more than two at once: ",
            "one of two has got both locks",
            "the other was told of a deadlock: process 'meet-",
            "poisoned: process 'hold_for_ever-1'",
            "found to be in order: 4000",
        ],
    );
}

#[test]
fn bank_balances_although_a_teller_is_killed() {
    let text = run(env!("CARGO_BIN_EXE_bank"));
    let lines = |with: &str| text.lines().filter(|line| line.contains(with)).count();
    assert_eq!(lines("is told: process 'Teller-1' (pid "), lines("is told: "), "{text}");
    assert_eq!(lines("process 'Teller-1' (pid "), lines("is told: ") + 1, "{text}");
    assert_eq!(lines("was killed by signal 9 (SIGKILL)"), 1, "{text}");
    assert_eq!(lines("has made 2000 transfers"), 4, "{text}");
    assert_eq!(lines("the accounts hold 8000, and held 8000: the books balance"), 1, "{text}");

    // Both accounts are put right, and one of them was wrong: by what was to go to the other.
    let repaired: Vec<_> = text.lines().filter_map(|line| line.split_once(" holds ")).collect();
    let number = |text: &str| text.parse::<i64>().unwrap();
    let differences = repaired.iter().map(|(_, rest)| {
        let (held, rest) = rest.split_once(", its slip says ").unwrap();
        number(rest.strip_suffix(": put back").unwrap()) - number(held)
    });
    let mut differences: Vec<_> = differences.collect();
    differences.sort();
    assert!(differences.len() == 2 && differences[0] == 0 && differences[1] > 0, "{text}");
}

/// The pixels of a PNG file, row by row.
fn pixels(path: &std::path::Path) -> (usize, usize, Vec<[u8; 3]>) {
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
fn mandelbrot_draws_the_same_picture_with_any_number_of_processes() {
    let dir = tempfile::tempdir().unwrap();
    let draw = |processes: &str| {
        let file = dir.path().join(processes);
        let drawn = output(
            Command::new(env!("CARGO_BIN_EXE_mandelbrot"))
                .args(["--width", "91", "--height=60", "--processes", processes, "--output"])
                .arg(&file),
        );
        let text = String::from_utf8(drawn.stdout).unwrap();
        assert!(drawn.status.success() && drawn.stderr.is_empty(), "{text}");
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
fn mandelbrot_refuses_what_it_cannot_do_in_one_line() {
    let cases: [(&[&str], &str); 11] = [
        (&["--width", "0"], "--width takes a number from 1 to 30000, not \"0\""),
        (&["--width", "-5"], "--width takes a number from 1 to 30000, not \"-5\""),
        (&["--height", "30001"], "--height takes a number from 1 to 30000, not \"30001\""),
        (&["--height", "many"], "--height takes a number from 1 to 30000, not \"many\""),
        (&["--processes=0"], "--processes takes a number from 1 to 1000, not \"0\""),
        (&["--width"], "missing argument for option '--width'"),
        (&["--colour"], "invalid option '--colour'"),
        (&["picture.png"], "unexpected argument \"picture.png\""),
        (&["--output", "/nowhere/a.png"], "cannot write /nowhere/a.png: No such file or directory"),
        (&["--output", "/"], "cannot write /: Is a directory"),
        (
            &["--width", "9", "--height", "9", "--output", "/dev/full"],
            "cannot write /dev/full: No space left on device",
        ),
    ];
    for (arguments, message) in cases {
        let Output { status, stdout, stderr } =
            output(Command::new(env!("CARGO_BIN_EXE_mandelbrot")).args(arguments));
        let text = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{arguments:?}: {text}");
        assert!(text.starts_with(&format!("mandelbrot: {message}")), "{arguments:?}: {text}");
        assert!(text.lines().count() == 1 && stdout.is_empty(), "{arguments:?}: {text}");
    }
}

#[test]
fn mandelbrot_explains_itself() {
    for argument in ["--help", "-h"] {
        let Output { status, stdout, stderr } =
            output(Command::new(env!("CARGO_BIN_EXE_mandelbrot")).arg(argument));
        let text = String::from_utf8(stdout).unwrap();
        assert!(status.success() && stderr.is_empty());
        for option in ["--width", "--height", "--output", "--processes", "--help"] {
            assert!(text.contains(option), "{option} is missing in:\n{text}");
        }
    }
}

#[test]
fn tour_shows_them_all() {
    expect(
        env!("CARGO_BIN_EXE_tour"),
        &[
            "A program that survives what it calls",
            "alive and well",
            "hello from a child",
            "the books balance",
            "600 x 400 pixels",
            "told of a deadlock",
        ],
    );
}

#[test]
fn queue_shares_work_and_outlives_who_has_put() {
    expect(
        env!("CARGO_BIN_EXE_queue"),
        &[
            "20 numbers are done, 0 are left",
            "the first prime among them: Some(1000003)",
            "have factored 20 together",
            "a process was killed; of what it had put, ",
            "10000 lines of a process that has ended, the first: \"line 0\"",
            "none after the last: \"nothing is left in the queue, and nobody else has the queue any more",
        ],
    );
}

/// What `words` prints for these arguments, and whether it was content.
fn words(arguments: &[&std::ffi::OsStr]) -> (bool, String, String) {
    let Output { status, stdout, stderr } =
        output(Command::new(env!("CARGO_BIN_EXE_words")).args(arguments));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

#[test]
fn words_counts_the_words_of_a_tree_of_texts() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
    // Larger than what crosses at once, and cut between words.
    let long = "one two-three, Four four\n".repeat(20_000);
    std::fs::write(dir.path().join("a/long"), long).unwrap();
    std::fs::write(dir.path().join("a/b/short"), "four \u{fc}ber \u{dc}ber").unwrap();
    std::fs::write(dir.path().join("empty"), "").unwrap();
    std::fs::write(dir.path().join("picture"), [0x89, 0xff, 0xfe]).unwrap();
    std::os::unix::fs::symlink("/", dir.path().join("elsewhere")).unwrap();
    for (readers, counters) in [("1", "1"), ("3", "5")] {
        let options = ["--readers", readers, "--counters", counters, "--top", "2"];
        let mut arguments: Vec<_> = options.iter().map(std::ffi::OsStr::new).collect();
        arguments.push(dir.path().as_os_str());
        let (success, text, errors) = words(&arguments);
        assert!(success && errors.is_empty(), "{errors}");
        let mut lines = text.lines().map(str::trim);
        assert_eq!(lines.next(), Some("40001  four"));
        assert_eq!(lines.next(), Some("20000  one"));
        assert_eq!(lines.next(), Some("100003 words, 5 of them different, in 4 files"));
        assert_eq!(lines.next(), Some("1 files are no texts"));
        assert!(lines.next().unwrap().ends_with("alone: the same words"), "{text}");
    }
}

#[test]
fn words_refuses_what_it_cannot_do_in_one_line() {
    let cases: [(&[&str], &str); 6] = [
        (&[], "say which directory: see --help"),
        (&["/nowhere"], "cannot read the directory /nowhere: No such file or directory"),
        (&["/dev/null"], "cannot read the directory /dev/null: Not a directory"),
        (&[".", "--readers", "0"], "--readers takes a number from 1 to 1000, not \"0\""),
        (&[".", "--counters", "x"], "--counters takes a number from 1 to 1000, not \"x\""),
        (&[".", ".."], "unexpected argument \"..\""),
    ];
    for (arguments, message) in cases {
        let arguments: Vec<_> = arguments.iter().map(std::ffi::OsStr::new).collect();
        let (success, text, errors) = words(&arguments);
        assert!(!success && text.is_empty(), "{arguments:?}: {text}");
        assert!(errors.starts_with("words: ") && errors.contains(message), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn pool_survives_its_workers() {
    expect(
        env!("CARGO_BIN_EXE_pool"),
        &[
            "squares: [0, 1, 4, 9, 16, 25]",
            "the first square from 1000 on is 1024",
            "task `parse` of input 1 died of signal: 6 (SIGABRT)",
            "parsed 5 bytes",
            "job 1 is done",
            "task `nap` was cancelled",
        ],
    );
}

#[test]
fn ten_thousand_has_a_fresh_process_for_each_task() {
    expect(env!("CARGO_BIN_EXE_ten_thousand"), &["10000 tasks in 10000 processes"]);
}

#[test]
fn fragile_goes_on_after_crashes_in_c() {
    let lines = [
        "Some(\"7 apples\") is 7",
        "None is the end: signal: 11 (SIGSEGV)",
        "Some(\"-1\") is -1",
        "and the program goes on",
    ];
    expect(env!("CARGO_BIN_EXE_fragile"), &lines);
}

/// What `checksums` prints for these arguments, and whether it was content.
fn checksums(arguments: &[&str]) -> (bool, String, String) {
    let Output { status, stdout, stderr } =
        output(Command::new(env!("CARGO_BIN_EXE_checksums")).args(arguments));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

#[test]
fn checksums_finds_files_that_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("a")).unwrap();
    std::fs::write(dir.path().join("a/one"), "123456789").unwrap();
    std::fs::write(dir.path().join("two"), "123456789").unwrap();
    std::fs::write(dir.path().join("zeros"), vec![0; 1_000_000]).unwrap();
    for workers in ["1", "3"] {
        let (success, text, errors) =
            checksums(&["--workers", workers, dir.path().to_str().unwrap()]);
        assert!(success && errors.is_empty(), "{errors}");
        // The check value of CRC-32.
        assert!(
            text.contains(&format!("cbf43926  {}", dir.path().join("two").display())),
            "{text}"
        );
        assert!(text.contains("3 files, 976.58 KiB"), "{text}");
    }
    // Of the same length and checksum, and yet not the same: that is for the bytes to say.
    std::fs::write(dir.path().join("plumless"), "plumless").unwrap();
    std::fs::write(dir.path().join("buckeroo"), "buckeroo").unwrap();
    let (success, text, errors) = checksums(&["--duplicates", dir.path().to_str().unwrap()]);
    assert!(success && errors.is_empty(), "{errors}");
    let same = format!(
        "{} is {} once more (9 B)",
        dir.path().join("two").display(),
        dir.path().join("a/one").display()
    );
    assert!(text.contains(&same), "{text}");
    assert!(!text.contains("buckeroo") && !text.contains("plumless"), "{text}");
    assert!(text.contains("1 files are copies: 9 B could be saved"), "{text}");
}

#[test]
fn checksums_refuses_what_it_cannot_do_in_one_line() {
    let cases: [(&[&str], &str); 4] = [
        (&[], "say which directory: see --help"),
        (&["/nowhere"], "cannot read the directory /nowhere: No such file or directory"),
        (&[".", "--workers", "0"], "--workers takes a number from 1 to 1000, not \"0\""),
        (&[".", ".."], "unexpected argument \"..\""),
    ];
    for (arguments, message) in cases {
        let (success, text, errors) = checksums(arguments);
        assert!(!success && text.is_empty(), "{arguments:?}: {text}");
        assert!(errors.starts_with("checksums: ") && errors.contains(message), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

/// Starts a program, interrupts it and its processes when it has some, as Ctrl-C in a terminal does,
/// and gives what came of it. That it comes at all says that nobody is left who holds its output.
fn interrupted(command: &mut Command) -> Output {
    let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap();
    let group = child.id().to_string();
    let began = std::time::Instant::now();
    while members(&group) < 2 {
        assert!(began.elapsed() < WATCHDOG, "{command:?} starts no processes");
        thread::sleep(Duration::from_millis(1));
    }
    let kill =
        |signal: &str| Command::new("kill").args([signal, "--", &format!("-{group}")]).status();
    assert!(kill("-INT").unwrap().success());
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    let output = outcome.recv_timeout(WATCHDOG).unwrap_or_else(|_| {
        let _ = kill("-9");
        panic!("{command:?} hung after an interrupt");
    });
    output.unwrap()
}

/// How many processes of a group there are.
fn members(group: &str) -> usize {
    let is_member = |entry: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(entry.unwrap().path().join("stat")).unwrap_or_default();
        // After the name, which may have anything in it: state, parent, group.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(2) == Some(group))
    };
    std::fs::read_dir("/proc").unwrap().map(is_member).filter(|is| *is).count()
}

#[test]
fn an_interrupt_ends_each_of_them_with_one_line() {
    let dir = tempfile::tempdir().unwrap();
    // Takes hours to read, and no place.
    File::create(dir.path().join("endless")).unwrap().set_len(1 << 40).unwrap();
    let texts = tempfile::tempdir().unwrap();
    for number in 0..100 {
        let file = File::create(texts.path().join(number.to_string())).unwrap();
        file.set_len(32 << 20).unwrap();
    }
    let picture = dir.path().join("picture.png");
    let programs = [
        ("checksums", env!("CARGO_BIN_EXE_checksums"), vec![dir.path().as_os_str()]),
        ("words", env!("CARGO_BIN_EXE_words"), vec![texts.path().as_os_str()]),
        (
            "mandelbrot",
            env!("CARGO_BIN_EXE_mandelbrot"),
            vec![
                "--width=8000".as_ref(),
                "--height=8000".as_ref(),
                "--output".as_ref(),
                picture.as_os_str(),
            ],
        ),
    ];
    for (name, program, arguments) in programs {
        let Output { status, stdout, stderr } = interrupted(Command::new(program).args(arguments));
        assert_eq!(String::from_utf8_lossy(&stderr), format!("{name}: interrupted\n"));
        assert_eq!(status.code(), Some(130), "{name}");
        assert!(stdout.is_empty(), "{name}: {}", String::from_utf8_lossy(&stdout));
    }
}

/// What `timeline` prints for these arguments, and whether it was content.
fn timeline(arguments: &[&str]) -> (bool, String, String) {
    let Output { status, stdout, stderr } =
        output(Command::new(env!("CARGO_BIN_EXE_timeline")).args(arguments));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

#[test]
fn timeline_draws_each_chunk_and_the_death_of_a_worker() {
    let (success, picture, errors) = timeline(&["--show"]);
    assert!(success, "{errors}");
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{picture}");
    assert_eq!(picture.matches("class=\"lane\"").count(), 4);
    // All but the one that has crashed.
    assert_eq!(picture.matches("class=\"task\"").count(), 59);
    assert_eq!(picture.matches("class=\"died\"").count(), 1);
}

#[test]
fn timeline_refuses_what_it_cannot_draw_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.json");
    std::fs::write(&other, "{}").unwrap();
    let other = other.to_str().unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&[], "which trace"),
        (&["/nowhere"], "No such file"),
        (&[env!("CARGO_MANIFEST_PATH")], "expected"),
        (&[other], "no timeline"),
        (&["--show", other], "unexpected"),
    ];
    for (arguments, message) in cases {
        let (success, text, errors) = timeline(arguments);
        assert!(!success && text.is_empty(), "{arguments:?}: {text}");
        assert!(errors.starts_with("timeline: ") && errors.contains(message), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}
