//! A struct of mixed types under a lock: Python's `ShareableList`.

use std::thread;

use offspring::process;
use offspring::shm::{ArrayString, ArrayVec, Shareable};
use offspring::sync::Mutex;
use tests::each_start_method;

/// The slots of a `ShareableList`: each has its type, and room for so much.
#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
struct Slots {
    text: ArrayString<8>,
    bytes: ArrayVec<u8, 8>,
    float: f64,
    number: i64,
    truth: bool,
    list: ArrayVec<i64, 5>,
}

fn slots() -> Slots {
    Slots {
        text: ArrayString::try_from("howdy").unwrap(),
        bytes: ArrayVec::try_from(&b"HoWdY"[..]).unwrap(),
        float: -273.154,
        number: 100,
        truth: true,
        list: ArrayVec::from([1, 2, 3, 2, 1]),
    }
}

/// Overwrites each slot; what is too long is refused, and harms nobody.
#[process]
fn overwrite(slots: Mutex<Slots>) {
    let mut slots = slots.lock().unwrap();
    let before = *slots;
    assert!(ArrayString::<8>::try_from("encodées").is_err()); // 9 bytes of UTF-8
    assert!(slots.text.push_str("dowdy").is_err());
    assert!(slots.bytes.extend_from_slice(b"6789").is_err());
    assert!(slots.list.push(9).is_err());
    assert_eq!(*slots, before);

    slots.text = ArrayString::try_from("encodés").unwrap(); // 8
    slots.bytes.extend_from_slice(b"678").unwrap();
    slots.float = 2.5;
    slots.number = 42;
    slots.truth = false;
    slots.list[2] = 30;
}

each_start_method! {
    /// `test_shared_memory_ShareableList_basics`
    fn test_shareable_list_basics_of_mixed_types() {
        let shared = Mutex::new(slots())?;
        let copy = *shared.lock().unwrap();
        let other = shared.clone();
        overwrite(other.clone()).spawn()?.join()?;

        let seen = *shared.lock().unwrap();
        assert_eq!((seen.number, seen.float, seen.truth), (42, 2.5, false));
        assert_eq!((seen.text.to_str()?, &seen.bytes[..]), ("encodés", &b"HoWdY678"[..]));
        assert_eq!(seen.list, [1, 2, 30, 2, 1]);
        assert_eq!(*other.lock().unwrap(), seen);
        assert_eq!(copy, slots()); // it is independent
    }
}

/// `test_shared_memory_ShareableList_basics`: `count`, `index`, and an index beyond the end.
#[test]
fn test_shareable_list_basics_of_a_slice() {
    let list = Mutex::new(slots()).unwrap();
    let held = list.lock().unwrap();
    let count = |of: i64| held.list.iter().filter(|number| **number == of).count();
    let index = |of: i64| held.list.iter().position(|number| *number == of);
    assert_eq!((held.list.len(), count(2), count(4)), (5, 2, 0));
    assert_eq!((index(3), index(4)), (Some(2), None));
    assert_eq!(held.list.get(5), None);

    let empty = Mutex::new(ArrayVec::<i64, 0>::new()).unwrap();
    let mut held = empty.lock().unwrap();
    assert!(held.is_empty() && held.push(1).is_err());
    drop(held);
    let beyond = thread::spawn(move || empty.lock().unwrap()[0]).join();
    assert!(beyond.is_err_and(|panic| {
        panic.downcast_ref::<String>().is_some_and(|text| text.contains("index out of bounds"))
    }));
}
