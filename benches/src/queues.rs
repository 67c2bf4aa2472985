//! The loops around queues: from some producers to as many consumers.

use std::time::Instant;

use crate::{Block, Bytes, Round, Sample, measure, message};

/// How many items a queue takes that is bounded.
pub const BOUND: usize = 1024;

/// F8: how many items are put at once, and how many are got at most.
pub const BATCH: usize = 100;

/// How many producers there are, and how many consumers.
pub fn sides(round: &Round) -> usize {
    match round.work.as_str() {
        "F2" => 2,
        "F3" => 4,
        _ => 1,
    }
}

/// F1 to F8: how many items each producer puts in each part of the round.
pub fn shares(round: &Round) -> [usize; 2] {
    round.parts().map(|count| count.div_ceil(sides(round)))
}

/// What is put into a queue: an item, and what a producer puts after its last one, of which a consumer
/// sees nothing.
pub type Supply<T> = [T; 2];

/// 8 bytes.
pub const NUMBERS: Supply<u64> = [1, 0];

/// 64 bytes.
pub const SAMPLES: Supply<Sample> = [Sample::ONE, Sample::NONE];

/// Messages of the round's length, all as long.
pub fn messages(round: &Round) -> Supply<&'static [u8]> {
    let len = round.message_len();
    [message::bytes(len), vec![0; len].leak()]
}

/// Messages of the round's length.
pub fn blocks(round: &Round) -> Supply<Block> {
    [message::bytes(round.message_len()), &[]].map(Block::Borrowed)
}

/// The same as plain bytes.
pub fn bytes(round: &Round) -> Supply<Bytes> {
    blocks(round).map(Bytes)
}

/// One producer in one part: puts its share, and what says that nothing comes after it.
pub fn produce<T: Clone>([item, end]: &Supply<T>, share: usize, mut put: impl FnMut(T)) {
    for _ in 0..share {
        put(item.clone());
    }
    put(end.clone());
}

/// F8: the same in batches.
pub fn produce_batches<T: Clone>(
    [item, end]: &Supply<T>,
    share: usize,
    mut put: impl FnMut(std::iter::RepeatN<T>),
) {
    for put_before in (0..share).step_by(BATCH) {
        put(std::iter::repeat_n(item.clone(), BATCH.min(share - put_before)));
    }
    put(std::iter::repeat_n(end.clone(), 1));
}

/// The other producers. All producers and consumers begin a part at once.
pub fn produce_beside(round: &Round, mut begin: impl FnMut(), mut produce: impl FnMut(usize)) {
    for share in shares(round) {
        begin();
        produce(share);
    }
}

/// A consumer: in each part it gets until a producer has no more. There are as many of the one as of
/// the other, so all is got when all consumers have come to an end. `get` gives what it saw.
pub fn consume(
    mut begin: impl FnMut(),
    mut get: impl FnMut() -> u64,
    mut acknowledge: impl FnMut(u64),
) {
    for _ in 0..2 {
        begin();
        let mut seen = 0;
        loop {
            match get() {
                0 => break,
                more => seen += more,
            }
        }
        acknowledge(seen);
    }
}

/// F1 to F8: the first producer, with the clock. `acknowledged` waits until a consumer has come to an
/// end, and gives what that one saw.
///
/// # Panics
/// If the consumers have not seen all items.
pub fn flow(
    round: &Round,
    mut begin: impl FnMut(),
    mut produce: impl FnMut(usize),
    mut acknowledged: impl FnMut() -> u64,
) {
    let sides = sides(round);
    for (part, share) in shares(round).into_iter().enumerate() {
        let start = Instant::now();
        begin();
        produce(share);
        let seen: u64 = (0..sides).map(|_| acknowledged()).sum();
        let seconds = start.elapsed().as_secs_f64();
        let count = share * sides;
        assert_eq!(seen, (count * message::pages(round.message_len())) as u64, "items are missing");
        if part > 0 {
            measure::rate(round, count, seconds);
        }
    }
}
