//! The tables: which figures are shown side by side.

/// One column: a figure that a work gives.
#[derive(Debug)]
pub struct Column {
    /// The work that gives it.
    pub work: &'static str,
    /// What the peers call it when they print it.
    pub figure: &'static str,
    /// The head of the column.
    pub title: &'static str,
    /// Which way it is compared.
    pub better: Better,
}

/// Which figures are the better ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Better {
    /// Times and sizes.
    Less,
    /// Rates.
    More,
    /// It is there to explain others.
    Neither,
}

const fn less(work: &'static str, figure: &'static str, title: &'static str) -> Column {
    Column { work, figure, title, better: Better::Less }
}

/// A column whose figure is called as its work.
const fn more(work: &'static str, title: &'static str) -> Column {
    Column { work, figure: work, title, better: Better::More }
}

/// How much of the workers' time is used.
const fn efficiency(work: &'static str, figure: &'static str, title: &'static str) -> Column {
    Column { work, figure, title, better: Better::More }
}

/// How much of what both sides got the one that got less had.
const fn smaller(work: &'static str, title: &'static str) -> Column {
    Column { work, figure: "smaller", title, better: Better::Neither }
}

/// Works that are shown side by side.
#[derive(Debug)]
pub struct Table {
    /// What they are about.
    pub title: &'static str,
    /// From left to right.
    pub columns: &'static [Column],
}

/// All tables, in their order.
pub const TABLES: &[Table] = &[
    Table {
        title: "Processes: start and join; 10,000 tasks with a process each, at most 3 at once",
        columns: &[
            less("A1", "A1", "A1 back to back (us)"),
            less("A1s", "A1s", "A1s 1 ms apart (us)"),
            less("A2", "A2", "A2 parent with 1 GiB (us)"),
            more("B1", "B1 tasks (/s)"),
        ],
    },
    Table {
        title: "Pools: 100,000 trivial tasks, in chunks and one by one; 10,000 with a worker each, at most 3 at once",
        columns: &[
            more("C1", "C1 map (/s)"),
            more("C2", "C2 chunks of 1 (/s)"),
            more("B2", "B2 a worker each (/s)"),
        ],
    },
    Table {
        title: "Pools, how much of two workers is used: 64 tasks of 10 ms; 200 tasks of 1 ms, and one of 100 ms",
        columns: &[
            more("C3", "C3 all alike"),
            efficiency("C4", "first", "C4 the long one first"),
            efficiency("C4", "middle", "C4 in the middle"),
            efficiency("C4", "last", "C4 last"),
        ],
    },
    Table {
        title: "Pools: 100 MB of `f64` to a worker and their sum back, and from a worker",
        columns: &[less("C5", "C5", "C5 in (ms)"), less("C6", "C6", "C6 out (ms)")],
    },
    Table {
        title: "One task through an idle pool",
        columns: &[
            less("D1", "D1", "D1 back to back, median (us)"),
            less("D1", "p99", "D2 99th percentile (us)"),
            less("D3", "D3", "D3 1 ms apart, median (us)"),
            less("D3", "p99", "D3 99th percentile (us)"),
        ],
    },
    Table {
        title: "The same, all on one core",
        columns: &[
            less("D1p", "D1", "D1 median (us)"),
            less("D1p", "p99", "D2 99th percentile (us)"),
            less("D3p", "D3", "D3 median (us)"),
            less("D3p", "p99", "D3 99th percentile (us)"),
        ],
    },
    Table {
        title: "A worker of a pool that waits",
        columns: &[
            less("Iw", "rss", "I1 RSS (KiB)"),
            less("Iw", "pss", "I2 PSS (KiB)"),
            less("Iw", "private", "I3 private (KiB)"),
        ],
    },
    Table {
        title: "Round trips of 24 bytes",
        columns: &[
            less("E1", "E1", "E1 median (us)"),
            less("E1", "p99", "E2 99th percentile (us)"),
            less("E1p", "E1", "E1 on one core, median (us)"),
            less("E1p", "p99", "E2 on one core, 99th percentile (us)"),
        ],
    },
    Table {
        title: "One way, values: a struct of 64 bytes, then `Vec<u8>`",
        columns: &[
            more("E5", "E5 64 B (/s)"),
            more("E6", "E6 1 KiB (GB/s)"),
            more("E7", "E7 64 KiB (GB/s)"),
            more("E8", "E8 1 MiB (GB/s)"),
            more("E9", "E9 64 MiB (GB/s)"),
        ],
    },
    Table {
        title: "One way, plain bytes",
        columns: &[
            more("E5b", "E5 64 B (/s)"),
            more("E6b", "E6 1 KiB (GB/s)"),
            more("E7b", "E7 64 KiB (GB/s)"),
            more("E8b", "E8 1 MiB (GB/s)"),
            more("E9b", "E9 64 MiB (GB/s)"),
        ],
    },
    Table {
        title: "Queues bounded at 1024: producers and consumers, items of 8 bytes",
        columns: &[
            more("F1", "F1 1 and 1 (/s)"),
            more("F2", "F2 2 and 2 (/s)"),
            more("F3", "F3 4 and 4 (/s)"),
            more("F8", "F8 1 and 1, batches of 100 (/s)"),
            less("F11", "F11", "F11 put and got by one thread (ns)"),
        ],
    },
    Table {
        title: "Queues, 1 producer and 1 consumer, values: a struct of 64 bytes, then `Vec<u8>`",
        columns: &[
            more("F4", "F4 64 B (/s)"),
            more("F5", "F5 1 KiB (GB/s)"),
            more("F6", "F6 64 KiB (GB/s)"),
            more("F7", "F7 1 MiB (GB/s)"),
        ],
    },
    Table {
        title: "Queues, 1 producer and 1 consumer, plain bytes",
        columns: &[
            more("F5b", "F5 1 KiB (GB/s)"),
            more("F6b", "F6 64 KiB (GB/s)"),
            more("F7b", "F7 1 MiB (GB/s)"),
        ],
    },
    Table {
        title: "Idle queues: a number through one, the answer through another, after 1 ms of rest",
        columns: &[
            less("F9", "F9", "F9 median (us)"),
            less("F9", "p99", "F9 99th percentile (us)"),
            less("F9p", "F9", "F9 on one core, median (us)"),
            less("F9p", "p99", "F9 on one core, 99th percentile (us)"),
        ],
    },
    Table {
        title: "The same, back to back",
        columns: &[
            less("F10", "F10", "F10 median (us)"),
            less("F10", "p99", "F10 99th percentile (us)"),
            less("F10p", "F10", "F10 on one core, median (us)"),
            less("F10p", "p99", "F10 on one core, 99th percentile (us)"),
        ],
    },
    Table {
        title: "Locks: taken and let go with nobody else there",
        columns: &[
            less("G1", "G1", "G1 mutex (ns)"),
            less("G3", "G3", "G3 semaphore (ns)"),
            less("G5", "G5", "G5 read lock (ns)"),
            less("G6", "G6", "G6 reentrant lock (ns)"),
            less("G6", "again", "G6 by its holder (ns)"),
        ],
    },
    Table {
        title: "Locks: two who want the same one",
        columns: &[
            more("G2", "G2 mutex (/s)"),
            smaller("G2", "smaller part (%)"),
            more("G4", "G4 semaphore of 1 (/s)"),
            smaller("G4", "smaller part (%)"),
        ],
    },
    Table {
        title: "Waiting for one another: round trips",
        columns: &[
            less("S1", "S1", "S1 semaphores (us)"),
            less("S1p", "S1", "S1 on one core (us)"),
            less("S2", "S2", "S2 events (us)"),
            less("S2p", "S2", "S2 on one core (us)"),
            less("S3", "S3", "S3 condition variable (us)"),
            less("S3p", "S3", "S3 on one core (us)"),
        ],
    },
    Table {
        title: "Barriers: one round",
        columns: &[
            less("S4", "S4", "S4 of 2 (us)"),
            less("S4p", "S4", "S4 on one core (us)"),
            less("S5", "S5", "S5 of 4 (us)"),
            less("S5p", "S5", "S5 on one core (us)"),
        ],
    },
    Table {
        title: "Shared memory of 4 KiB: making it, mapping it in another process",
        columns: &[
            less("M1", "mutex", "M1 mutex made (us)"),
            less("M1", "segment", "M1 segment made (us)"),
            less("M2", "mutex", "M2 mutex mapped (us)"),
            less("M2", "segment", "M2 segment mapped (us)"),
            less("M2s", "mutex", "M2s the same mutex (us)"),
            less("M2s", "segment", "M2s the same segment (us)"),
        ],
    },
    Table {
        title: "100 MB of `f64` to another process, the sum back",
        columns: &[less("H1", "H1", "H1 (ms)")],
    },
    Table {
        title: "A process that waits",
        columns: &[
            less("I", "rss", "RSS (KiB)"),
            less("I", "pss", "PSS (KiB)"),
            less("I", "private", "private (KiB)"),
        ],
    },
    Table {
        title: "Codecs: encoding and decoding once",
        columns: &[
            less("codec", "small", "struct of numbers (ns)"),
            less("codec", "strings", "struct of strings (ns)"),
            less("codec", "words", "`Vec<u64>` of 1,000 (ns)"),
            less("codec", "bytes", "`Vec<u8>` of 64 KiB (ns)"),
        ],
    },
];
