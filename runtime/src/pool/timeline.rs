//! What the workers of a pool have done, and when.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;

/// How many events a timeline remembers: the last ones.
const MOST: usize = 1 << 20;

/// At a moment in nanoseconds of the monotonic clock.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) worker: usize,
    pub(super) at: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A worker was started, of this name and process number.
    Started { name: String, pid: u32 },
    /// Tasks of this process were run, so many from this input on, until then.
    Ran { process: &'static str, index: usize, count: u32, ended: u64 },
    /// The worker has ended, and how.
    Ended { how: String },
}

#[derive(Debug, Default)]
pub(super) struct Timeline(VecDeque<Event>);

impl Timeline {
    pub(super) fn add(&mut self, event: Event) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    /// In the format of Chrome's tracing: `chrome://tracing`, `ui.perfetto.dev`.
    pub(super) fn trace(&self) -> String {
        let mut json = String::from("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[");
        let start = self.0.iter().map(|event| event.at).min().unwrap_or(0);
        let workers: BTreeSet<_> = self.0.iter().map(|event| event.worker).collect();
        let mut separator = "\n";
        for worker in workers {
            let _ = write!(
                json,
                "{separator}{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":{worker},\
                 \"args\":{{\"name\":\"worker {worker}\"}}}}"
            );
            separator = ",\n";
        }
        for Event { worker, at, what } in &self.0 {
            let micros = |nanos: u64| nanos as f64 / 1e3;
            let at = micros(at - start);
            let _ = write!(json, "{separator}{{\"pid\":1,\"tid\":{worker},\"ts\":{at:.3},");
            let _ = match what {
                What::Started { name, pid } => write!(
                    json,
                    "\"ph\":\"i\",\"s\":\"t\",\"name\":\"started\",\
                     \"args\":{{\"worker\":\"{}\",\"pid\":{pid}}}}}",
                    escaped(name)
                ),
                What::Ran { process, index, count, ended } => write!(
                    json,
                    "\"ph\":\"X\",\"name\":\"{process}\",\"dur\":{:.3},\
                     \"args\":{{\"input\":{index},\"tasks\":{count}}}}}",
                    (micros(ended.saturating_sub(start)) - at).max(0.0)
                ),
                What::Ended { how } => write!(
                    json,
                    "\"ph\":\"i\",\"s\":\"t\",\"name\":\"ended\",\"args\":{{\"how\":\"{}\"}}}}",
                    escaped(how)
                ),
            };
            separator = ",\n";
        }
        json.push_str("\n]}\n");
        json
    }
}

/// As it stands in a text of JSON.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' | '\\' => escaped.extend(['\\', char]),
            char if char.is_control() => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(char));
            }
            char => escaped.push(char),
        }
    }
    escaped
}
