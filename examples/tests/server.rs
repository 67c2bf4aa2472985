//! The server goes on when its workers crash, and ends when it is interrupted.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long an answer may take before the server counts as hung.
const WATCHDOG: Duration = Duration::from_secs(120);

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    stream
}

fn ask(stream: &TcpStream, line: &str) -> String {
    let mut requests = stream;
    requests.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

#[test]
fn a_crash_ends_one_connection_and_the_worker_is_replaced() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_server"))
        .args(["--listen", "127.0.0.1:0", "--workers", "2"])
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    let first = line();
    let address = first.strip_prefix("listening on ").unwrap();

    let other = connect(address);
    assert_eq!(ask(&other, "hello"), "HELLO\n");
    // More crashes than there were workers: so those that came later serve, and crash, as well.
    for _ in 0..3 {
        assert_eq!(ask(&connect(address), "crash"), "");
        let replaced = line();
        assert!(replaced.contains("was killed by signal 6 (SIGABRT): serve-"), "{replaced}");
        assert!(replaced.ends_with("takes its place"), "{replaced}");
    }
    assert_eq!(ask(&other, "still here"), "STILL HERE\n");
    assert_eq!(ask(&connect(address), "a new one"), "A NEW ONE\n");

    let group = format!("-{}", server.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    // The end of both streams says that no process is left that holds them.
    assert!(lines.next().is_none());
    let mut errors = String::new();
    server.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "server: interrupted\n");
    assert_eq!(server.wait().unwrap().code(), Some(130));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn what_it_cannot_do_is_refused_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], &str); 3] = [
        (&["--listen", &taken], "Address already in use"),
        (&["--listen", "nonsense"], "cannot listen on nonsense: "),
        (&["--workers", "0"], "--workers takes a number from 1 to 1000, not \"0\""),
    ];
    for (arguments, message) in cases {
        let outcome = Command::new(env!("CARGO_BIN_EXE_server")).args(arguments).output().unwrap();
        let errors = String::from_utf8(outcome.stderr).unwrap();
        assert_eq!(outcome.status.code(), Some(1), "{errors}");
        assert!(errors.starts_with("server: ") && errors.contains(message), "{errors}");
        assert!(errors.lines().count() == 1 && outcome.stdout.is_empty(), "{errors}");
    }
}
