//! What a worker says need not be true: memory that it shares with its parent may be written over. It can
//! spoil results of its pool, but the pool does not hang or panic, and does later work as if nothing had been.

use std::cell::Cell;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::Pool;
use super::desk::next_reply;
use super::reply::{Claim, End, Reply, Times};
use super::worker::Place;
use crate::process::Process;
use crate::process::registry::{Entry, Registered, Registration};

/// No reply: everything on the desk is zero afterwards.
const WIPE: u32 = u32::MAX;

/// A task that leaves these replies, and then its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Lie(Vec<(u32, Vec<u8>)>);

static ENTRY: Entry =
    Entry::new::<Lie>("offspring::pool::tests::Lie", "lie", "", file!(), line!(), column!());

impl Registered for Lie {
    fn entry() -> &'static Entry {
        &ENTRY
    }
}

inventory::submit! { Registration(&ENTRY) }

impl Process for Lie {
    type Output = u32;

    fn run(self) -> u32 {
        let desk = Place::own().and_then(Place::desk).expect("it is run by a worker");
        let head = Cell::new(0);
        for (kind, payload) in &self.0 {
            if *kind == WIPE {
                desk.clear();
            } else {
                desk.reply(&head, *kind, payload, || ());
            }
        }
        self.0.len() as u32
    }
}

/// Runs `body`, which would otherwise wait for ever.
fn within_a_minute<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let (tx, rx) = mpsc::channel();
    let thread = thread::spawn(move || tx.send(body()));
    match rx.recv_timeout(Duration::from_secs(60)) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the pool hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().expect_err("it has sent nothing"))
        }
    }
}

fn honest() -> Lie {
    Lie(Vec::new())
}

const TIMES: Times = Times { began: 0, ended: 1 };

/// A chunk that is never ended, an end of nothing, one of another's, a chunk twice, a kind that there is not.
#[test]
fn a_worker_whose_replies_make_no_sense_is_killed_and_its_task_says_so() {
    let other = |seq| (Reply::Claimed.code(false), Claim { seq, number: 3 }.to_bytes().to_vec());
    let end = (Reply::End.code(false), End { seq: 1, times: TIMES }.to_bytes().to_vec());
    let wanted = (Reply::Wanted.code(false), Vec::new());
    let unknown = (99, Vec::new());
    for lie in [end, other(0), other(u32::MAX), wanted, unknown] {
        let outcomes = within_a_minute(move || {
            let pool = Pool::new(1).unwrap();
            let tasks = [honest(), Lie(vec![lie]), honest()];
            let first = pool.mapper().chunk_size(1).map_settled(|lie| lie, tasks);
            assert_eq!(pool.mapper().map(|_| honest(), 0..3).unwrap(), [0; 3]);
            first
        });
        assert_eq!(outcomes[0].as_ref().unwrap(), &0);
        let error = outcomes[1].as_ref().unwrap_err().to_string();
        assert!(error.contains("its replies made no sense"), "{error}");
    }
}

/// Every kind that there is, and some that there are not, with any bytes: numbers of chunks among them.
fn any_lie() -> impl Strategy<Value = Lie> {
    let payload = prop_oneof![
        Just(Vec::new()),
        (0u32..12, 0u32..12).prop_map(|(seq, number)| Claim { seq, number }.to_bytes().to_vec()),
        (0u32..12, any::<u64>(), any::<u64>()).prop_map(|(seq, began, ended)| {
            End { seq, times: Times { began, ended } }.to_bytes().to_vec()
        }),
        vec(any::<u8>(), 0..40),
    ];
    let kind = (0u32..10, any::<bool>()).prop_map(|(kind, beside)| kind | u32::from(beside) << 8);
    let kind = prop_oneof![10 => kind, 1 => Just(WIPE)];
    vec((kind, payload), 1..30).prop_map(Lie)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 20, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_pool_outlives_workers_that_lie(lies in vec(prop_oneof![any_lie(), Just(honest())], 1..12)) {
        within_a_minute(move || {
            let timeline = std::env::temp_dir().join(format!("lies-{}.json", std::process::id()));
            let pool = Pool::builder().workers(2).timeline(&timeline).build().unwrap();
            let count = lies.len();
            let settled = pool.mapper().chunk_size(2).map_settled(|lie| lie, lies.clone());
            assert_eq!(settled.len(), count);
            let ordered = pool.imap(|lie| lie, lies.clone()).take(2 * count).count();
            let unordered = pool.imap_unordered(|lie| lie, lies.clone()).take(2 * count).count();
            assert!(ordered >= 1 && unordered >= 1);
            for lie in lies {
                let _ = pool.submit(lie).wait();
            }
            // One or the other may have to go yet, with what it has in hand.
            let later = pool.mapper().retries(3).map(|_| honest(), 0..100);
            assert_eq!(later.unwrap(), vec![0; 100]);
            pool.join().unwrap();
            std::fs::remove_file(timeline).unwrap();
        });
    }

    #[test]
    fn any_bytes_are_replies_and_never_more_than_there_are(bytes in vec(any::<u8>(), 0..200)) {
        let mut rest = &bytes[..];
        let mut left = rest.len();
        while let Some((kind, payload)) = next_reply(&mut rest) {
            assert!(rest.len() + payload.len() < left);
            left = rest.len();
            if let Some((reply, beside)) = Reply::of(kind) {
                assert_eq!(reply.code(beside), kind);
            }
        }
    }
}
