//! Sending that fails, at either end.

use std::error::Error as StdError;
use std::fs;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offspring::shm::SplitError;
use offspring::{
    Builder, Error, Receiver, Sender, pipe,
    pipe::{RecvError, SendError, SendTimeoutError, TrySendError},
    process,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::each_start_method;

use super::{Array, Kept, hold_their_numbers, is_as_before, numbers, panic_of, part, take_kept};

/// Fails when it is encoded.
#[derive(Debug, Clone, Deserialize)]
struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not to be sent"))
    }
}

/// Panics when it is encoded.
#[derive(Debug, Clone, Deserialize)]
struct Explosive;

impl Serialize for Explosive {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("not to be touched")
    }
}

/// Fails when it is decoded.
#[derive(Debug, Clone, Serialize)]
struct Undecodable;

impl<'de> Deserialize<'de> for Undecodable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("not to be received"))
    }
}

#[process]
fn take_with_unencodable(kept: Kept, _other: Unencodable) -> usize {
    kept.0.len()
}

#[process]
fn take_with_explosive(kept: Kept, _other: Explosive) -> usize {
    kept.0.len()
}

#[process]
fn take_with_undecodable(kept: Kept, _other: Undecodable) -> usize {
    kept.0.len()
}

/// Receives what it has no room for.
#[process]
fn take_without_descriptors(parts: Receiver<Array>, ready: Sender<()>) -> bool {
    let received = with_room(0, || {
        ready.send(()).unwrap();
        parts.recv()
    });
    matches!(received, Err(RecvError::DescriptorsLost))
}

each_start_method! {
    fn a_pipe_without_a_receiver_gives_the_part_back() {
        let (tx, rx) = pipe()?;
        drop(rx);
        let (part, whole) = part();
        let part = match tx.send(part) {
            Err(SendError::Disconnected(part)) => part,
            other => panic!("{other:?}"),
        };
        is_as_before(part, whole)?;
    }

    fn a_full_pipe_gives_the_part_back() {
        let (tx, _rx) = pipe()?;
        let mut fillers = Vec::new();
        while tx.try_send(numbers(1)).is_ok() {
            fillers.push(());
            assert!(fillers.len() < 1_000_000);
        }
        let (part, whole) = part();
        let part = match tx.try_send(part) {
            Err(TrySendError::Full(part)) => part,
            other => panic!("{other:?}"),
        };
        let part = match tx.send_timeout(part, Duration::from_millis(1)) {
            Err(SendTimeoutError::Timeout(part)) => part,
            other => panic!("{other:?}"),
        };
        is_as_before(part, whole)?;
    }

    fn a_message_that_cannot_be_encoded_gives_the_part_back() {
        let (tx, _rx) = pipe()?;
        let (part, whole) = part();
        let part = match tx.send((part, Unencodable)) {
            Err(SendError::Encode((part, _), error)) => {
                assert!(error.to_string().contains("not to be sent"), "{error}");
                part
            }
            other => panic!("{other:?}"),
        };
        is_as_before(part, whole)?;
    }

    fn a_message_whose_encoding_panics_leaves_the_part() {
        let (tx, _rx) = pipe()?;
        let (part, whole) = part();
        let mut kept = Kept::new(part);
        assert_eq!(panic_of(|| tx.send((kept.clone(), Explosive))), "not to be touched");
        assert_eq!(*kept.values(), [5, 6, 7, 8, 9]);
        is_as_before(Arc::into_inner(kept.0).expect("the only one"), whole)?;
    }

    fn a_message_for_which_there_is_no_descriptor_gives_the_part_back() {
        let (tx, _rx) = pipe()?;
        let (mut part, whole) = part();
        for room in 0..2 {
            let error = with_room(room, || tx.send(part).map_err(Box::new)).unwrap_err();
            assert!(error.to_string().contains("no descriptor"), "{error}");
            assert!(matches!(*error, SendError::Encode(..)));
            part = error.into_inner();
        }
        is_as_before(part, whole)?;
    }

    /// What was handed over with a process that was not started is dropped, unless somebody has kept
    /// it; then it is as before.
    fn a_start_that_fails_leaves_the_part() {
        let (part, whole) = part();
        let mut kept = Kept::new(part);
        let failures = [
            ("encode", take_with_unencodable(kept.clone(), Unencodable).spawn()),
            ("dir", Builder::new().current_dir("/nowhere").spawn(take_kept(kept.clone()))),
            ("name", Builder::new().name("a\0b").spawn(take_kept(kept.clone()))),
            ("descriptors", with_room(2, || take_kept(kept.clone()).spawn())),
        ];
        for (what, failure) in failures {
            match failure.map(|child| child.join()) {
                Err(_) => {}
                Ok(other) => panic!("{what}: {other:?}"),
            }
            assert_eq!(*kept.values(), [5, 6, 7, 8, 9], "{what}");
        }
        let exploded = panic_of(|| take_with_explosive(kept.clone(), Explosive).spawn());
        assert_eq!(exploded, "not to be touched");
        assert_eq!(*kept.values(), [5, 6, 7, 8, 9]);
        is_as_before(Arc::into_inner(kept.0).expect("the only one"), whole)?;
    }

    fn a_start_that_fails_gives_the_whole_back() {
        let (part, whole) = part();
        assert!(take_with_unencodable(Kept::new(part), Unencodable).spawn().is_err());
        assert!(hold_their_numbers(&mut [whole.join()]));
    }

    fn a_part_that_arrives_and_cannot_be_decoded_is_free() {
        let (one, whole) = part();
        match take_with_undecodable(Kept::new(one), Undecodable).spawn()?.join() {
            Err(error) => assert!(error.to_string().contains("not to be received"), "{error}"),
            Ok(other) => panic!("{other}"),
        }
        assert!(hold_their_numbers(&mut [whole.join()]));

        let (tx, rx) = pipe::<(Array, Undecodable)>()?;
        let (one, whole) = part();
        tx.send((one, Undecodable))?;
        let whole = whole.join_timeout(Duration::ZERO).unwrap_err();
        assert!(matches!(rx.recv(), Err(RecvError::Decode(_))));
        assert!(hold_their_numbers(&mut [whole.join()]));
    }

    fn a_part_that_arrives_where_there_is_no_descriptor_for_it_is_free() {
        let (tx, rx) = pipe()?;
        let (ready, is_ready) = pipe()?;
        let child = take_without_descriptors(rx, ready).spawn()?;
        is_ready.recv()?;
        let (part, whole) = part();
        tx.send(part)?;
        assert!(child.join()?);
        assert!(hold_their_numbers(&mut [whole.join()]));
    }

    only [fork Fork]
    fn a_fork_that_is_refused_leaves_the_part() {
        let (part, whole) = part();
        let mut kept = Kept::new(part);
        let (hold, until) = pipe::<()>()?;
        let other = thread::spawn(move || until.recv().is_err());
        match take_kept(kept.clone()).spawn() {
            Err(Error::Multithreaded) => {}
            other => panic!("{other:?}"),
        }
        drop(hold);
        assert!(other.join().unwrap());
        assert_eq!(*kept.values(), [5, 6, 7, 8, 9]);
        is_as_before(Arc::into_inner(kept.0).expect("the only one"), whole)?;
    }
}

/// Runs `code` with room for so many more descriptors.
fn with_room<R>(room: u64, code: impl FnOnce() -> R) -> R {
    let highest = tests::descriptors().last().map_or(0, |(number, _)| *number);
    // Numbers are given out from the lowest: fill the gaps, so that `room` is what there is.
    let null = fs::File::open("/dev/null").unwrap();
    let mut fillers = vec![null];
    while fillers.iter().all(|filler| filler.as_raw_fd() <= highest) {
        fillers.push(fillers[0].try_clone().unwrap());
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, highest as u64 + 2 + room, hard).unwrap();
    let result = code();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    result
}

each_start_method! {
    only [forkserver ForkServer]
    fn a_split_without_descriptors_gives_the_array_back() {
        let mut array = numbers(10);
        for room in 0..2 {
            let error: SplitError<u32> = with_room(room, || array.split(2)).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("make a pipe for the parts of an array"), "{text}");
            assert!(error.source().is_none(), "its text has told that");
            array = error.into_inner();
            let error = with_room(room, || array.chunks(2)).unwrap_err();
            array = error.into_inner();
            assert_eq!(array.as_mut_slice().len(), 10);
        }
        let (parts, whole) = with_room(2, || array.split(1_000))?;
        drop(parts);
        assert!(hold_their_numbers(&mut [whole.join()]));
    }
}
