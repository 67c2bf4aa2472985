//! What is measured: the works, and the tables that show their figures.

/// One work, for which a peer is run once in each round.
pub(crate) struct Work {
    /// As the peers know it. A `p` at the end is the driver's: pinned to one core.
    pub(crate) name: &'static str,
    /// How many starts, tasks, round trips or messages; a slow peer does a share of it.
    pub(crate) count: usize,
}

const fn work(name: &'static str, count: usize) -> Work {
    Work { name, count }
}

pub(crate) const WORKS: &[Work] = &[
    work("A1", 400),
    work("A1s", 200),
    work("A2", 100),
    work("B1", 10_000),
    work("E1", 20_000),
    work("E1p", 20_000),
    work("E5", 500_000),
    work("E6", 200_000),
    work("E7", 4096),
    work("E8", 256),
    work("E9", 12),
    work("E5b", 500_000),
    work("E6b", 200_000),
    work("E7b", 4096),
    work("E8b", 256),
    work("E9b", 12),
    work("I", 1),
    work("codec", 100),
];

/// One column: a figure that a work gives.
pub(crate) struct Column {
    pub(crate) work: &'static str,
    /// What the peers call it when they print it.
    pub(crate) figure: &'static str,
    pub(crate) title: &'static str,
    pub(crate) more_is_better: bool,
}

const fn less(work: &'static str, figure: &'static str, title: &'static str) -> Column {
    Column { work, figure, title, more_is_better: false }
}

/// A column whose figure is called as its work.
const fn more(work: &'static str, title: &'static str) -> Column {
    Column { work, figure: work, title, more_is_better: true }
}

/// Works that are shown side by side.
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) columns: &'static [Column],
}

pub(crate) const TABLES: &[Table] = &[
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
        title: "Round trips of 24 bytes",
        columns: &[
            less("E1", "E1", "E1 median (us)"),
            less("E1", "E2", "E2 99th percentile (us)"),
            less("E1p", "E1", "E1 on one core, median (us)"),
            less("E1p", "E2", "E2 on one core, 99th percentile (us)"),
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
