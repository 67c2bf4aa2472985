//! Durations and sizes as people write them: a number and a unit.

const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000)];

const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// A duration in milliseconds, or what is wrong with the text.
pub(super) fn millis(text: &str) -> Result<u64, &'static str> {
    match number(text, &DURATIONS) {
        Some(0) => Err("no test ends in no time: allow it some, `\"5s\"`"),
        Some(millis) => Ok(millis),
        None => Err("a duration is a whole number and a unit, `ms`, `s`, `min` or `h`: \
                     write `\"5s\"` or `\"1500ms\"`"),
    }
}

/// A size in bytes, or what is wrong with the text.
pub(super) fn bytes(text: &str) -> Result<u64, &'static str> {
    match number(text, &SIZES) {
        Some(0) => Err("no program fits into no memory: allow it some, `\"256 MiB\"`"),
        Some(bytes) => Ok(bytes),
        None => {
            Err("a size is a whole number and a unit, `KiB`, `MiB`, `GiB` or `kB`, `MB`, `GB`: \
                     write `\"256 MiB\"`")
        }
    }
}

fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.replace('_', "").parse::<u64>().ok()?.checked_mul(*factor)
}
