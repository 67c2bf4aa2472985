//! The server goes on when its workers crash, and finishes what it has begun when it is to end.

mod common;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use common::expect_refusals;

/// How long an answer may take before the server counts as hung.
const WATCHDOG: Duration = Duration::from_secs(120);

/// A server with two workers, in a process group of its own.
struct Server {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_server"))
            .args(["--listen", "127.0.0.1:0", "--workers", "2"])
            .args(options)
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first.strip_prefix("listening on ").unwrap().to_owned();
        Self { process, lines, address }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        stream
    }

    /// Sends a signal to it alone, or to its workers as well, as Ctrl-C in a terminal does.
    fn signal(&self, signal: &str, to_all: bool) {
        let sign = if to_all { "-" } else { "" };
        let whom = format!("{sign}{}", self.process.id());
        assert!(Command::new("kill").args([signal, "--", &whom]).status().unwrap().success());
    }

    /// Its exit code and what it says at last, on either stream. That they end says that no process is
    /// left that holds them.
    fn end(mut self) -> (Option<i32>, Vec<String>, String) {
        let lines = self.lines.map(Result::unwrap).collect();
        let mut errors = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let code = self.process.wait().unwrap().code();
        assert!(TcpStream::connect(&self.address).is_err());
        (code, lines, errors)
    }
}

fn ask(stream: &TcpStream, line: &str) -> String {
    let mut requests = stream;
    requests.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

const FINISHING: &str = "finishing what is open; another signal ends it at once";
const FINISHED: &str = "all connections are finished";

#[test]
fn a_crash_ends_one_connection_and_the_worker_is_replaced() {
    let mut server = Server::start(&[]);
    let other = server.connect();
    assert_eq!(ask(&other, "hello"), "HELLO\n");
    // More crashes than there were workers: so those that came later serve, and crash, as well.
    for _ in 0..3 {
        assert_eq!(ask(&server.connect(), "crash"), "");
        let replaced = server.line();
        assert!(replaced.contains("was killed by signal 6 (SIGABRT): serve-"), "{replaced}");
        assert!(replaced.ends_with("takes its place"), "{replaced}");
    }
    assert_eq!(ask(&other, "still here"), "STILL HERE\n");
    assert_eq!(ask(&server.connect(), "a new one"), "A NEW ONE\n");
    drop(other);
    server.signal("-INT", true);
    assert_eq!(server.end(), (Some(130), vec![FINISHING.into(), FINISHED.into()], String::new()));
}

#[test]
fn open_connections_are_finished_and_no_more_are_accepted() {
    for (signal, to_all, code) in
        [("-TERM", false, 0), ("-TERM", true, 0), ("-INT", false, 130), ("-INT", true, 130)]
    {
        let mut server = Server::start(&[]);
        let open = server.connect();
        assert_eq!(ask(&open, "before"), "BEFORE\n");
        server.signal(signal, to_all);
        assert_eq!(server.line(), FINISHING);
        assert!(TcpStream::connect(&server.address).is_err());
        assert_eq!(ask(&open, "after"), "AFTER\n", "{signal} {to_all}");
        drop(open);
        assert_eq!(server.end(), (Some(code), vec![FINISHED.into()], String::new()));
    }
}

#[test]
fn a_crash_while_it_finishes_is_told() {
    let mut server = Server::start(&[]);
    let open = server.connect();
    assert_eq!(ask(&open, "before"), "BEFORE\n");
    server.signal("-TERM", true);
    assert_eq!(server.line(), FINISHING);
    assert_eq!(ask(&open, "crash"), "");
    let (code, lines, errors) = server.end();
    assert_eq!((code, &*errors), (Some(0), ""));
    assert!(lines[0].ends_with("was killed by signal 6 (SIGABRT)"), "{lines:?}");
    assert_eq!(lines[1..], [FINISHED]);
}

#[test]
fn what_is_not_finished_in_time_is_cut() {
    let server = Server::start(&["--grace", "1"]);
    let open = server.connect();
    assert_eq!(ask(&open, "before"), "BEFORE\n");
    server.signal("-TERM", true);
    let told = "server: 1 connections were cut after 1 s\n".to_owned();
    assert_eq!(server.end(), (Some(1), vec![FINISHING.into()], told));
    assert_eq!(read_of(&open), 0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut server = Server::start(&[]);
        let open = server.connect();
        assert_eq!(ask(&open, "before"), "BEFORE\n");
        server.signal("-TERM", true);
        assert_eq!(server.line(), FINISHING);
        server.signal(signal, true);
        assert_eq!(server.end(), (Some(code), vec![], String::new()));
        assert_eq!(read_of(&open), 0);
    }
}

/// How much can be read of a connection whose server is gone.
fn read_of(mut stream: &TcpStream) -> usize {
    stream.read(&mut [0]).unwrap_or(0)
}

#[test]
fn what_it_cannot_do_is_refused_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    expect_refusals(
        "server",
        env!("CARGO_BIN_EXE_server"),
        &[
            (&["--listen", &taken], "Address already in use"),
            (&["--listen", "nonsense"], "cannot listen on nonsense: "),
            (&["--workers", "0"], "--workers takes a number from 1 to 1000, not \"0\""),
        ],
    );
}
