//! bincode 1 against bincode 2, both through serde, with integers of fixed and of variable width:
//! encoding into a buffer that is kept, and decoding again.

use std::fmt::Debug;
use std::hint::black_box;
use std::time::{Duration, Instant};

use benches::{Round, figure};
use bincode::Options;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Small {
    id: u64,
    count: u32,
    kind: Option<u8>,
    place: (f64, f64),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Strings {
    name: String,
    path: String,
    tags: Vec<String>,
    limit: Option<u64>,
}

fn main() {
    let round = Round::from_args();
    let small = Small { id: 70_000, count: 12, kind: Some(3), place: (0.5, -2.25) };
    let strings = Strings {
        name: "square-1".into(),
        path: "a_program::module::square".into(),
        tags: vec!["one".into(), "two".into(), "three".into()],
        limit: None,
    };
    let words: Vec<u64> = (0..1000).map(|n| n * n * n).collect();
    let bytes: Vec<u8> = (0..64 << 10).map(|n| n as u8).collect();
    messages(&round, "small", &small);
    messages(&round, "strings", &strings);
    messages(&round, "words", &words);
    messages(&round, "bytes", &bytes);
}

fn messages<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    round: &Round,
    name: &str,
    value: &T,
) {
    let one = bincode::DefaultOptions::new();
    let two = bincode2::config::standard();
    match round.variant.as_str() {
        "1-fixed" => measure_one(round, name, value, one.with_fixint_encoding()),
        "1-variable" => measure_one(round, name, value, one.with_varint_encoding()),
        "2-fixed" => measure_two(round, name, value, two.with_fixed_int_encoding()),
        "2-variable" => measure_two(round, name, value, two.with_variable_int_encoding()),
        other => panic!("no codec {other}"),
    }
}

fn measure_one<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    round: &Round,
    name: &str,
    value: &T,
    options: impl Options + Copy,
) {
    let encode = |bytes: &mut Vec<u8>| options.serialize_into(bytes, black_box(value)).unwrap();
    let decode = |bytes: &[u8]| options.deserialize(bytes).unwrap();
    time(round, name, value, encode, decode);
}

fn measure_two<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    round: &Round,
    name: &str,
    value: &T,
    config: impl bincode2::config::Config,
) {
    let encode = |bytes: &mut Vec<u8>| {
        bincode2::serde::encode_into_std_write(black_box(value), bytes, config).unwrap();
    };
    let decode = |bytes: &[u8]| bincode2::serde::decode_from_slice(bytes, config).unwrap().0;
    time(round, name, value, encode, decode);
}

/// Encodes and decodes for `count` milliseconds, and prints what one of each takes.
fn time<T: PartialEq + Debug>(
    round: &Round,
    name: &str,
    value: &T,
    encode: impl Fn(&mut Vec<u8>),
    decode: impl Fn(&[u8]) -> T,
) {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    assert_eq!(decode(&bytes), *value);
    let limit = Duration::from_millis(round.count as u64);
    let (mut times, begin) = (0, Instant::now());
    while begin.elapsed() < limit {
        for _ in 0..10 {
            bytes.clear();
            encode(&mut bytes);
            black_box(decode(black_box(&bytes)));
        }
        times += 10;
    }
    figure(name, begin.elapsed().as_secs_f64() * 1e9 / f64::from(times), "ns");
}
