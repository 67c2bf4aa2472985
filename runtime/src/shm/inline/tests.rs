//! Against `Vec` and `String`, and with whatever a killed process may have left.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::collection::vec;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ArrayString, ArrayVec, CapacityError};
use crate::shm::Shareable;
use crate::wire::{DecodeError, decode, encode};

const N: usize = 8;

type List = ArrayVec<u16, N>;
type Text = ArrayString<N>;

#[derive(Debug, Clone)]
enum Change {
    Push(u16),
    Extend(Vec<u16>),
    Pop,
    Truncate(usize),
    Clear,
    Sort,
    Insert(usize, u16),
    Remove(usize),
    SwapRemove(usize),
    Retain(u16),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        6 => any::<u16>().prop_map(Change::Push),
        2 => vec(any::<u16>(), 0..N).prop_map(Change::Extend),
        2 => Just(Change::Pop),
        1 => (0..N + 2).prop_map(Change::Truncate),
        1 => Just(Change::Clear),
        1 => Just(Change::Sort),
        2 => (0..=N, any::<u16>()).prop_map(|(index, x)| Change::Insert(index, x)),
        1 => (0..N).prop_map(Change::Remove),
        1 => (0..N).prop_map(Change::SwapRemove),
        1 => (1..5u16).prop_map(Change::Retain),
    ];
    vec(change, 0..40)
}

/// Does the same to a list and to a `Vec` that is as long as a list can be.
fn apply(change: Change, list: &mut List, model: &mut Vec<u16>) {
    let room = N - model.len();
    match change {
        Change::Push(x) if room == 0 => assert_eq!(list.push(x).unwrap_err().into_inner(), x),
        Change::Push(x) => {
            list.push(x).unwrap();
            model.push(x);
        }
        Change::Extend(more) if more.len() > room => {
            let error = list.extend_from_slice(&more).unwrap_err();
            assert_eq!((error.needed(), error.capacity()), (model.len() + more.len(), N));
        }
        Change::Extend(more) => {
            list.extend_from_slice(&more).unwrap();
            model.extend(more);
        }
        Change::Pop => assert_eq!(list.pop(), model.pop()),
        Change::Truncate(len) => {
            list.truncate(len);
            model.truncate(len);
        }
        Change::Clear => {
            list.clear();
            model.clear();
        }
        Change::Sort => {
            list.sort();
            model.sort();
        }
        // Where there is no such place, the other end.
        Change::Insert(index, x) if room == 0 => {
            assert_eq!(list.insert(index.min(N), x).unwrap_err().into_inner(), x);
        }
        Change::Insert(index, x) => {
            let index = index.min(model.len());
            list.insert(index, x).unwrap();
            model.insert(index, x);
        }
        Change::Remove(_) | Change::SwapRemove(_) if model.is_empty() => {}
        Change::Remove(index) => {
            let index = index.min(model.len() - 1);
            assert_eq!(list.remove(index), model.remove(index));
        }
        Change::SwapRemove(index) => {
            let index = index.min(model.len() - 1);
            assert_eq!(list.swap_remove(index), model.swap_remove(index));
        }
        Change::Retain(divisor) => {
            let keep = |x: &mut u16| {
                *x /= 2;
                x.is_multiple_of(divisor)
            };
            list.retain(keep);
            model.retain_mut(keep);
        }
    }
}

fn assert_same(list: &List, model: &[u16]) {
    assert_eq!(*list, *model);
    assert_eq!(list.len(), model.len());
    assert_eq!(list.is_empty(), model.is_empty());
    assert_eq!(list.is_full(), model.len() == N);
    assert!(list.into_iter().eq(model));
    assert!(
        (*list).into_iter().eq(model.iter().copied()) && (*list).into_iter().len() == model.len()
    );
    assert!((*list).into_iter().rev().eq(model.iter().rev().copied()));
    assert_eq!(format!("{list:?}"), format!("{model:?}"));
    assert_eq!(hash(list), hash(model));
}

fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Whether it panics, which it does on purpose.
fn panics(work: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_err()
}

/// Sends one type and receives another, of which serde makes the same.
fn pass<T: DeserializeOwned>(value: &impl Serialize) -> Result<T, DecodeError> {
    let mut bytes = Vec::new();
    assert!(encode(value, &mut bytes).unwrap().fds().is_empty());
    decode(&bytes, Vec::new())
}

proptest! {
    #[test]
    fn a_list_is_as_a_vec_that_can_be_full(changes in changes()) {
        let (mut list, mut model) = (List::new(), Vec::new());
        for change in changes {
            apply(change, &mut list, &mut model);
            assert_same(&list, &model);
        }
    }

    #[test]
    fn a_list_that_fits_comes_back(model in vec(any::<u16>(), 0..=N)) {
        let list = List::try_from(&*model).unwrap();
        assert_same(&list, &model);
        assert_same(&pass(&list).unwrap(), &model);
        assert_same(&pass(&model).unwrap(), &model);
        assert_eq!(pass::<Vec<u16>>(&list).unwrap(), model);
        let json = serde_json::to_string(&list).unwrap();
        assert_same(&serde_json::from_str(&json).unwrap(), &model);
    }

    #[test]
    fn a_list_that_is_too_long_is_refused(model in vec(any::<u16>(), N + 1..4 * N)) {
        let error = List::try_from(&*model).unwrap_err();
        assert_eq!((error.needed(), error.capacity()), (model.len(), N));
        assert!(pass::<List>(&model).is_err());
    }

    #[test]
    fn lists_compare_as_slices(a in vec(0..3u16, 0..4), b in vec(0..3u16, 0..4)) {
        let (x, y) = (List::try_from(&*a).unwrap(), List::try_from(&*b).unwrap());
        assert_eq!(x == y, a == b);
        assert_eq!(x == ArrayVec::<u16, 100>::try_from(&*b).unwrap(), a == b);
        assert_eq!(x.cmp(&y), a.cmp(&b));
        assert_eq!(x.partial_cmp(&y), a.partial_cmp(&b));
    }

    #[test]
    fn a_list_of_any_bytes_is_a_list(
        len: u32, places: [u16; N], small in 0..2 * N as u32, changes in changes()
    ) {
        for len in [len, small, u32::MAX] {
            let mut list = List { len, places };
            let mut model = places[..N.min(len as usize)].to_vec();
            assert_same(&list, &model);
            assert_same(&pass(&list).unwrap(), &model);
            for change in changes.clone() {
                apply(change, &mut list, &mut model);
                assert_same(&list, &model);
            }
        }
    }

    #[test]
    fn a_text_is_as_a_string_that_can_be_full(pieces in vec(".{0,4}", 0..10)) {
        let (mut text, mut model) = (Text::new(), String::new());
        for piece in &pieces {
            match text.push_str(piece) {
                Ok(()) => model.push_str(piece),
                Err(error) => {
                    assert_eq!(error.needed(), model.len() + piece.len());
                    assert_eq!(error.capacity(), N);
                    assert!(error.needed() > N);
                }
            }
            assert!(model.len() <= N);
            assert_eq!(text, *model);
            assert_eq!(text.to_str(), Ok(&*model));
            assert_eq!((text.len(), text.is_empty()), (model.len(), model.is_empty()));
            assert_eq!(text.to_string(), model);
            assert_eq!(format!("{text:?} {text:>9} {text:.2}"), format!("{model:?} {model:>9} {model:.2}"));
        }
    }

    #[test]
    fn a_list_is_whole_when_its_user_panics(model in vec(any::<u16>(), 1..=N), at in 0..N, divisor in 1..4u16) {
        // As a `Vec`, whose elements those of a list are.
        let at = at.min(model.len() - 1);
        let (mut list, mut vec) = (List::try_from(&*model).unwrap(), model.clone());
        let keep = |asked: &mut usize, x: &mut u16| {
            assert!(*asked < at, "on purpose");
            *asked += 1;
            x.is_multiple_of(divisor)
        };
        let (mut asked, mut asked_too) = (0, 0);
        assert!(panics(|| list.retain(|x| keep(&mut asked, x))));
        assert!(panics(|| vec.retain_mut(|x| keep(&mut asked_too, x))));
        assert_same(&list, &vec);

        let len = list.len();
        assert!(panics(|| _ = list.insert(len + 1, 0)));
        assert!(panics(|| _ = list.remove(len)));
        assert!(panics(|| _ = list.swap_remove(len)));
        assert_same(&list, &vec);
        // What fits is there.
        assert!(panics(|| list.extend((0..).map(|_| 7))));
        vec.resize(N, 7);
        assert_same(&list, &vec);
    }

    #[test]
    fn a_list_is_extended_by_what_fits(model in vec(any::<u16>(), 0..=N), more in 0..=N) {
        let mut list = List::new();
        let (first, rest) = model.split_at(more.min(model.len()));
        list.extend(first.iter().copied());
        list.extend(rest);
        assert_same(&list, &model);
    }

    #[test]
    fn a_text_grows_and_shrinks_by_characters(characters in vec(any::<char>(), 0..8), cut in 0..N + 2) {
        let (mut text, mut model) = (Text::new(), String::new());
        for character in characters {
            match text.push(character) {
                Ok(()) => model.push(character),
                Err(error) => {
                    assert_eq!(error.needed(), model.len() + character.len_utf8());
                    assert_eq!(error.into_inner(), character);
                }
            }
        }
        assert_eq!(text, model);
        let mut written = Text::new();
        assert_eq!(write!(written, "{model}").is_ok(), model.len() <= N);
        assert_eq!(written, text);
        if model.is_char_boundary(cut) || cut > model.len() {
            model.truncate(cut);
            text.truncate(cut);
        } else {
            assert!(panics(|| text.truncate(cut)));
        }
        assert_eq!(text, model);
    }

    #[test]
    fn any_text_that_fits_comes_back(characters: Vec<char>, zeros in 0..=N) {
        let mut model = String::new();
        for character in characters.into_iter().chain(std::iter::repeat_n('\0', zeros)) {
            if model.len() + character.len_utf8() <= N {
                model.push(character);
            }
        }
        let text: Text = model.parse().unwrap();
        assert_eq!(text.to_str(), Ok(&*model));
        assert_eq!(pass::<Text>(&text).unwrap(), *model);
        assert_eq!(pass::<Text>(&model).unwrap(), *model);
        assert_eq!(pass::<String>(&text).unwrap(), model);
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), *model);
    }

    #[test]
    fn a_text_that_is_too_long_is_refused(model in ".{9,40}") {
        let error = Text::try_from(&*model).unwrap_err();
        assert_eq!((error.needed(), error.capacity()), (model.len(), N));
        assert!(pass::<Text>(&model).is_err());
    }

    #[test]
    fn any_bytes_that_fit_come_back(bytes in vec(any::<u8>(), 0..=N), zeros in 0..=N) {
        let mut bytes = bytes;
        bytes.extend(std::iter::repeat_n(0, zeros));
        bytes.truncate(N);
        let text = Text::from_bytes(&bytes).unwrap();
        assert_eq!(text.as_bytes(), bytes);
        assert_eq!(text.to_str().ok(), str::from_utf8(&bytes).ok());
        assert_eq!(text.to_string(), String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn texts_compare_as_strings(a in "[a-cß]{0,3}", b in "[a-cß]{0,3}") {
        let (x, y) = (Text::try_from(&*a).unwrap(), Text::try_from(&*b).unwrap());
        assert_eq!(x == y, a == b);
        assert_eq!(x == *b, a == b);
        assert_eq!(x == ArrayString::<100>::try_from(&*b).unwrap(), a == b);
        assert_eq!(x.cmp(&y), a.cmp(&b));
        assert_eq!(x.partial_cmp(&y), a.partial_cmp(&b));
        assert_eq!(hash(&x) == hash(&y), a == b);
    }

    #[test]
    fn a_text_of_any_bytes_is_read_without_a_panic(
        len: u32, places: [u8; N], small in 0..2 * N as u32, more in ".{0,4}"
    ) {
        for len in [len, small, u32::MAX] {
            let mut text = Text { len, places };
            let mut model = places[..N.min(len as usize)].to_vec();
            assert_eq!(text.as_bytes(), model);
            assert_eq!(text.to_string(), String::from_utf8_lossy(&model));
            assert_eq!(text.to_str().is_ok(), encode(&text, &mut Vec::new()).is_ok());
            let _ = format!("{text:?}");
            if text.push_str(&more).is_ok() {
                model.extend(more.as_bytes());
            }
            assert_eq!(text.as_bytes(), model);
            if text.to_str().is_err() {
                text.truncate(1); // wherever that is
                assert_eq!(text.as_bytes(), &model[..1]);
            }
            text.clear();
            assert_eq!(text, "");
        }
    }
}

#[test]
fn nothing_fits_into_no_room() {
    let mut list = ArrayVec::<u8, 0>::new();
    assert!(list.is_empty() && list.is_full());
    assert_eq!(list.push(1).unwrap_err().into_inner(), 1);
    assert_eq!(list.pop(), None);
    assert!(list.extend_from_slice(&[]).is_ok());

    let mut text = ArrayString::<0>::new();
    assert!(text.push_str("").is_ok());
    assert!(text.push_str("a").is_err());
    assert_eq!(text.to_str(), Ok(""));
}

#[test]
fn an_error_tells_what_was_needed_and_what_there_is() {
    let error: CapacityError = Text::try_from("nine bytes").unwrap_err();
    assert_eq!(error.to_string(), "a length of 10 exceeds the capacity of 8");
    assert_eq!(format!("{error:?}"), "CapacityError { needed: 10, capacity: 8, .. }");

    let error = pass::<List>(&[0u16; 9].as_slice()).unwrap_err().to_string();
    assert!(error.ends_with("invalid length 9, expected a list of at most 8"), "{error}");
    let error = pass::<Text>(&"nine bytes").unwrap_err().to_string();
    assert!(error.ends_with("invalid length 10, expected a text of at most 8 bytes"), "{error}");
}

#[test]
fn a_text_that_is_none_is_shown_as_bytes_and_not_sent() {
    let text = Text::from_bytes(b"a\xff\0").unwrap();
    assert_eq!(format!("{text:?}"), r#"b"a\xff\x00""#);
    assert!(encode(&text, &mut Vec::new()).is_err());
}

#[test]
fn they_can_be_constants() {
    /// Has no default, and no value of all zeros.
    #[derive(Clone, Copy, offspring_macros::Shareable)]
    #[shareable(crate = crate)]
    #[repr(u8)]
    enum Step {
        Left = 1,
    }
    const LIST: ArrayVec<Step, 3> = ArrayVec::with_filler(Step::Left);
    const TEXT: Text = match Text::from_bytes(b"abc") {
        Ok(text) => text,
        Err(_) => panic!(),
    };
    static PUSHED: ArrayVec<u8, 3> = {
        let mut list = ArrayVec::with_filler(7);
        assert!(list.push(1).is_ok());
        list
    };
    assert!(LIST.is_empty());
    assert_eq!(TEXT, "abc");
    assert_eq!(PUSHED, [1]);
}

#[test]
fn they_are_shareable_and_copied() {
    fn assert<T: Shareable + Copy>() {}
    assert::<List>();
    assert::<Text>();
    assert::<ArrayVec<(Text, [List; 2]), 5>>();
}
