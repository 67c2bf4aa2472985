//! What a `SharedSlice` is made of, and how it is used.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU32;
use std::thread;

use offspring::shm::{Shared, SharedMut, SharedSlice};
use tests::each_start_method;

use super::{counts, unknown_length};

/// `SharedSlice::collect` takes what comes, whatever the iterator says that it will be.
#[test]
fn a_shared_slice_of_an_iterator_that_is_wrong_about_its_length() {
    struct Wrong(std::ops::Range<u64>, usize);
    impl Iterator for Wrong {
        type Item = u64;
        fn next(&mut self) -> Option<u64> {
            self.0.next()
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.1, Some(self.1))
        }
    }
    for (len, told) in [(10, 0), (0, 10), (100_000, 1), (3, 1_000_000)] {
        let slice = SharedSlice::try_from_iter(Wrong(0..len, told)).unwrap();
        assert!(slice.iter().copied().eq(0..len), "{len}, told to be {told}");
    }
}

/// More than is written at once; and an iterator that makes memory itself.
#[test]
fn a_shared_slice_of_an_iterator() {
    let long = SharedSlice::try_from_iter(unknown_length(1_000_000)).unwrap();
    assert!(long.len() == 1_000_000 && (0..).zip(&long).all(|(n, value)| n == *value));

    let nested = SharedSlice::try_from_iter((1..=3).map(|n| {
        let inner = SharedSlice::from_slice(&vec![n; n]).unwrap();
        inner.iter().sum::<usize>()
    }));
    assert_eq!(nested.unwrap()[..], [1, 4, 9]);
}

each_start_method! {
    only [forkserver ForkServer]
    fn what_panics_while_memory_is_made_leaves_nothing() {
        let five = |n: u32| if n == 5 { panic!("enough") } else { n };
        let panics = |attempt: &dyn Fn()| catch_unwind(AssertUnwindSafe(attempt)).is_err();
        assert!(panics(&|| drop(SharedSlice::try_from_iter((0..10).map(five)))));
        assert!(panics(&|| drop(SharedMut::from_fn(10, |n| five(n as u32)))));
        assert!(panics(&|| drop(Shared::from_fn(10, |n| AtomicU32::new(five(n as u32))))));
        assert_eq!(counts(), (0, 0));
    }
}

/// A clone, and what arrives in the same process, are the same memory; views of all kinds.
#[test]
fn a_shared_slice_is_a_handle() {
    let slice = SharedSlice::from_slice(&[3, 1, 2]).unwrap();
    let clone = slice.clone();
    assert!(std::ptr::eq(&*slice, &*clone));
    assert_eq!(format!("{clone:?}"), "[3, 1, 2]");
    assert_eq!((&clone).into_iter().max(), Some(&3));
    assert_eq!(AsRef::<[i32]>::as_ref(&clone)[1..], [1, 2]);
    drop(slice);
    let sum: i32 = thread::spawn(move || clone.iter().sum()).join().unwrap();
    assert_eq!(sum, 6);
}
