//! Values that cannot cross: their `Serialize` or `Deserialize` says no, or panics, or the wire
//! format cannot describe them. It is told where it happens, and everything goes on.

use std::collections::BTreeMap;
use std::fmt::Debug;

use offspring::{
    Error, JoinError, Process, Receiver, Sender, pipe, pipe::RecvError, pipe::SendError, process,
};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::each_start_method;

/// Where a [`Fragile`] breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Breaks {
    Never,
    InSerialize,
    InDeserialize,
    ByPanicInSerialize,
    ByPanicInDeserialize,
}

/// A value that breaks on its way. It is large, so that whatever was half done shows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fragile(Breaks);

const WRONG: &str = "it is Tuesday";

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Breaks::InSerialize => Err(S::Error::custom(WRONG)),
            Breaks::ByPanicInSerialize => panic!("{WRONG}"),
            _ => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Breaks::deserialize(deserializer)? {
            Breaks::InDeserialize => Err(D::Error::custom(WRONG)),
            Breaks::ByPanicInDeserialize => panic!("{WRONG}"),
            breaks => Ok(Self(breaks)),
        }
    }
}

#[process]
fn accept(before: Vec<u8>, value: Fragile) -> usize {
    assert_eq!(value.0, Breaks::Never);
    before.len()
}

/// Gives such a value.
#[process]
struct Give {
    breaks: Breaks,
}

impl Process for Give {
    type Output = (Vec<u8>, Fragile);

    fn run(self) -> Self::Output {
        (vec![7; 1000], Fragile(self.breaks))
    }
}

/// Fails, and ends this process at once, if it is not the one that called. A fork in which a panic
/// unwinds into its parent's code would do here what its parent does.
#[track_caller]
fn only_here<R>(code: impl FnOnce() -> R) -> R {
    let here = std::process::id();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(code));
    if std::process::id() != here {
        eprintln!("a child runs its parent's code");
        // SAFETY: _exit has no memory effects.
        unsafe { nix::libc::_exit(42) };
    }
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn works() {
    assert_eq!(accept(vec![1; 10], Fragile(Breaks::Never)).spawn().unwrap().join().unwrap(), 10);
}

each_start_method! {
    fn an_argument_that_cannot_be_serialised_starts_nothing() {
        works();
        let before = (tests::descriptors(), offspring::active_children().len());
        match accept(vec![0; 100_000], Fragile(Breaks::InSerialize)).spawn() {
            Err(error @ Error::Encode { .. }) => {
                let text = error.to_string();
                assert!(text.contains(WRONG) && text.contains("accept"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((tests::descriptors(), offspring::active_children().len()), before);
        works();
    }

    fn an_argument_whose_serialize_panics_starts_nothing() {
        let value = accept(vec![0; 100], Fragile(Breaks::ByPanicInSerialize));
        let outcome = only_here(|| std::panic::catch_unwind(|| value.spawn()));
        assert!(outcome.is_err(), "it is the caller's panic");
        works();
    }

    fn an_argument_that_cannot_be_deserialised_fails_its_child_alone() {
        let child = accept(vec![0; 100], Fragile(Breaks::InDeserialize)).spawn()?;
        let pid = child.pid();
        match child.join() {
            Err(JoinError::Decode(failure)) => {
                assert!(failure.reason().contains(WRONG), "{failure}");
                assert!(failure.process().starts_with("accept-") && failure.pid() == pid);
                assert!(!JoinError::Decode(failure).may_have_run());
            }
            other => panic!("{other:?}"),
        }
        works();
    }

    fn an_argument_whose_deserialize_panics_fails_its_child_alone() {
        let value = accept(vec![0; 100], Fragile(Breaks::ByPanicInDeserialize));
        match only_here(|| value.spawn())?.join() {
            Err(JoinError::Panicked(panic)) => assert!(panic.message().contains(WRONG)),
            Err(JoinError::Decode(failure)) => assert!(failure.reason().contains(WRONG)),
            other => panic!("{other:?}"),
        }
        works();
    }

    fn a_result_that_cannot_be_serialised_is_told() {
        match (Give { breaks: Breaks::InSerialize }).spawn()?.join() {
            Err(error @ JoinError::Encode(_)) => {
                assert!(error.to_string().contains(WRONG) && error.may_have_run(), "{error}");
            }
            other => panic!("{other:?}"),
        }
        works();
    }

    fn a_result_whose_serialize_panics_is_told() {
        match only_here(|| (Give { breaks: Breaks::ByPanicInSerialize }).spawn())?.join() {
            Err(JoinError::Panicked(panic)) => assert!(panic.message().contains(WRONG)),
            Err(JoinError::Encode(failure)) => assert!(failure.reason().contains(WRONG)),
            other => panic!("{other:?}"),
        }
        works();
    }

    /// Python's pool hangs here, for an exception that cannot be rebuilt.
    fn a_result_that_cannot_be_deserialised_is_told() {
        let child = (Give { breaks: Breaks::InDeserialize }).spawn()?;
        assert!(child.wait()?.success());
        match child.join() {
            Err(error @ JoinError::Decode(_)) => {
                assert!(error.to_string().contains(WRONG) && error.may_have_run(), "{error}");
            }
            other => panic!("{other:?}"),
        }
        works();
    }

    fn a_result_whose_deserialize_panics_is_the_callers_panic() {
        let child = (Give { breaks: Breaks::ByPanicInDeserialize }).spawn()?;
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| child.join())).is_err());
        works();
    }
}

/// Sends a sound value after each broken one.
#[process]
fn send_broken(to: Sender<Fragile>, breaks: Breaks) {
    to.send(Fragile(breaks)).unwrap();
    to.send(Fragile(Breaks::Never)).unwrap();
}

each_start_method! {
    fn a_value_that_cannot_be_sent_comes_back_and_the_pipe_is_as_it_was() {
        let (tx, rx) = pipe()?;
        match tx.send(Fragile(Breaks::InSerialize)) {
            Err(SendError::Encode(value, error)) => {
                assert_eq!(value.0, Breaks::InSerialize);
                assert!(error.to_string().contains(WRONG), "{error}");
            }
            other => panic!("{other:?}"),
        }
        let panic = || tx.send(Fragile(Breaks::ByPanicInSerialize));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panic)).is_err());
        let child = send_broken(tx, Breaks::Never).spawn()?;
        for _ in 0..2 {
            assert_eq!(rx.recv()?, Fragile(Breaks::Never));
        }
        child.join()?;
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
    }

    fn a_value_that_cannot_be_received_costs_no_other() {
        for breaks in [Breaks::InDeserialize, Breaks::ByPanicInDeserialize] {
            let (tx, rx) = pipe::<Fragile>()?;
            let child = send_broken(tx, breaks).spawn()?;
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rx.recv())) {
                Ok(Err(RecvError::Decode(error))) => assert!(error.to_string().contains(WRONG)),
                Err(_) if breaks == Breaks::ByPanicInDeserialize => {}
                other => panic!("{breaks:?}: {other:?}"),
            }
            assert_eq!(rx.recv()?, Fragile(Breaks::Never));
            child.join()?;
        }
    }
}

/// The wire format does not describe itself, so this cannot be told apart at the other side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
}

/// A map of unknown length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flattened {
    first: u32,
    #[serde(flatten)]
    rest: BTreeMap<String, u32>,
}

/// What is left out would be taken from what comes after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LeftOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u8>,
    second: u8,
    third: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    One { value: u32 },
    Two,
}

/// Sends it through a pipe within this process, where it must arrive as it is or not at all.
fn cross<T: Serialize + for<'de> Deserialize<'de> + PartialEq + Debug + Clone>(value: &T) {
    let (tx, rx): (Sender<T>, Receiver<T>) = pipe().unwrap();
    match tx.send(value.clone()) {
        Err(SendError::Encode(returned, error)) => {
            assert_eq!(returned, *value);
            assert!(error.to_string().contains(error.type_name()));
        }
        Ok(()) => match rx.recv() {
            Ok(received) => assert_eq!(received, *value, "it arrived as another value"),
            Err(RecvError::Decode(error)) => assert!(!error.to_string().is_empty()),
            Err(other) => panic!("{value:?}: {other:?}"),
        },
        Err(other) => panic!("{value:?}: {other:?}"),
    }
}

#[test]
fn a_type_that_the_format_cannot_describe_is_refused_and_never_altered() {
    cross(&Untagged::Number(7));
    cross(&Untagged::Text("seven".into()));
    cross(&Flattened { first: 1, rest: BTreeMap::from([("second".into(), 2)]) });
    cross(&Tagged::One { value: 7 });
    cross(&Tagged::Two);
}

#[test]
fn a_value_of_which_a_field_is_left_out_is_refused_and_never_altered() {
    let left_out = LeftOut { first: None, second: 0, third: Some(0) };
    cross(&left_out);
    cross(&vec![Some((left_out.clone(), "nested".to_string()))]);
    cross(&LeftOut { first: Some(1), second: 2, third: Some(3) });

    let (tx, _rx) = pipe().unwrap();
    let error = tx.send(left_out).unwrap_err();
    assert!(error.to_string().contains("field `first` is left out"), "{error}");
}

#[process]
fn take_untagged(value: Untagged) -> Untagged {
    value
}

#[process]
fn take_flattened(value: Flattened) -> u32 {
    value.first
}

#[process]
fn give_untagged() -> Untagged {
    Untagged::Number(7)
}

each_start_method! {
    fn a_type_that_the_format_cannot_describe_fails_its_child_alone() {
        match take_flattened(Flattened { first: 1, rest: BTreeMap::new() }).spawn() {
            Err(Error::Encode { source, .. }) => assert!(source.type_name().contains("Flattened")
                || source.type_name().contains("take_flattened")),
            other => panic!("{other:?}"),
        }
        match take_untagged(Untagged::Number(7)).spawn()?.join() {
            Err(error @ JoinError::Decode(_)) => assert!(!error.may_have_run()),
            other => panic!("{other:?}"),
        }
        match give_untagged().spawn()?.join() {
            Err(error @ JoinError::Decode(_)) => assert!(error.may_have_run()),
            other => panic!("{other:?}"),
        }
        works();
    }
}
