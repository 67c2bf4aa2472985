//! What was sent is not here any more.

use std::error::Error as StdError;
use std::sync::Arc;
use std::thread;

use offspring::{Error, pipe, pipe::SendError};
use tests::each_start_method;

use super::{
    Array, Kept, SENT, hold_their_numbers, is_as_before, numbers, panic_of, part, take_both,
    take_kept,
};

each_start_method! {
    fn a_part_cannot_be_sent_twice() {
        let (part, whole) = part();
        let kept = Kept::new(part);
        assert_eq!(take_kept(kept.clone()).spawn()?.join()?, 5);
        match take_kept(kept.clone()).spawn() {
            Err(error @ Error::Encode { .. }) => {
                assert!(error.to_string().contains("this SharedMut was sent already"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        let (tx, _rx) = pipe()?;
        match tx.send(kept.clone()) {
            Err(SendError::Encode(_, error)) => {
                assert!(error.to_string().contains("this SharedMut was sent already"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        drop(kept);
        assert_eq!(whole.join().len(), 10);
    }

    fn a_part_cannot_be_twice_in_one_message() {
        let (part, whole) = part();
        let mut kept = Kept::new(part);
        match take_both(kept.clone(), kept.clone()).spawn() {
            Err(error @ Error::Encode { .. }) => {
                assert!(error.to_string().contains("this SharedMut was sent already"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        let (tx, _rx) = pipe()?;
        assert!(matches!(tx.send([kept.clone(), kept.clone()]), Err(SendError::Encode(..))));
        // Nothing was sent, so it is here.
        assert_eq!(*kept.values(), [5, 6, 7, 8, 9]);
        is_as_before(Arc::into_inner(kept.0).expect("the only one"), whole)?;
    }

    only [forkserver ForkServer]
    fn of_many_threads_that_send_one_part_one_does() {
        for _ in 0..50 {
            let (tx, rx) = pipe()?;
            let (part, whole) = part();
            let kept = Kept::new(part);
            let sent: usize = thread::scope(|scope| {
                let threads = [0; 4].map(|_| scope.spawn(|| tx.send(kept.clone()).is_ok()));
                threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
            });
            assert_eq!(sent, 1);
            drop((tx, kept));
            assert_eq!(rx.iter().count(), 1);
            assert_eq!(whole.join().len(), 10);
        }
    }

    only [forkserver ForkServer]
    fn what_was_sent_cannot_be_used() {
        let (tx, rx) = pipe()?;
        let sent = || -> Result<Array, Box<dyn StdError>> {
            let kept = Kept::new(numbers(10));
            tx.send(kept.clone())?;
            Ok(Arc::into_inner(kept.0).expect("the only one"))
        };
        let mut array = sent()?;
        assert_eq!(panic_of(|| array.as_mut_slice().len()), SENT);
        assert_eq!((array.len(), array.range()), (10, 0..10)); // which is no secret
        let (array, other, third) = (sent()?, sent()?, sent()?);
        assert_eq!(panic_of(|| array.split(2)), SENT);
        assert_eq!(panic_of(|| other.chunks(2)), SENT);
        assert_eq!(panic_of(|| third.freeze()), SENT);

        // Where it went, it is, as often as it is sent.
        let mut arrived = Arc::into_inner(rx.recv()?.0).expect("the only one");
        let (tx, rx) = pipe()?;
        for _ in 0..10 {
            assert!(hold_their_numbers(std::slice::from_mut(&mut arrived)));
            tx.send(arrived)?;
            arrived = rx.recv()?;
        }
    }
}
