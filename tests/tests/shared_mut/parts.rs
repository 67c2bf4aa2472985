//! Making parts, of a whole and of parts.

use std::thread;
use std::time::Duration;

use offspring::shm::SharedMut;
use tests::each_start_method;

use super::{hold_their_numbers, numbers, panic_of, ranges};

each_start_method! {
    only [forkserver ForkServer]
    fn split_makes_so_many_parts_of_about_one_length() {
        for len in [0, 1, 2, 7, 100, 1_001] {
            for n in [1, 2, 3, 7, 100, 1_000, 5_000] {
                let (mut parts, whole) = numbers(len).split(n).unwrap();
                assert_eq!(parts.len(), n);
                let lengths: Vec<_> = parts.iter().map(SharedMut::len).collect();
                assert_eq!(lengths.iter().sum::<usize>(), len as usize);
                assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1);
                let ends = ranges(&parts);
                assert!(ends.windows(2).all(|pair| pair[0].end == pair[1].start), "{ends:?}");
                assert_eq!((ends[0].start, ends[n - 1].end), (0, len as usize));
                assert_eq!(
                    parts.iter().filter(|part| part.is_empty()).count(),
                    n.saturating_sub(len as usize)
                );
                assert!(hold_their_numbers(&mut parts));
                drop(parts);
                assert!(hold_their_numbers(&mut [whole.join()]));
            }
        }
    }

    only [forkserver ForkServer]
    fn chunks_have_the_length_that_is_asked_for_and_the_last_what_is_left() {
        for len in [0, 1, 2, 7, 100, 1_001] {
            for chunk in [1, 2, 3, 7, 100, 1_000, 5_000, usize::MAX] {
                let (mut parts, whole) = numbers(len).chunks(chunk).unwrap();
                let expected: Vec<_> = (0..len as usize)
                    .step_by(chunk)
                    .map(|from| from..from.saturating_add(chunk).min(len as usize))
                    .collect();
                assert_eq!(ranges(&parts), expected);
                assert!(hold_their_numbers(&mut parts));
                drop(parts);
                assert!(hold_their_numbers(&mut [whole.join()]));
            }
        }
    }

    only [forkserver ForkServer]
    /// There is nobody to wait for.
    fn an_empty_array_has_no_chunks_and_is_free() {
        let (parts, whole) = numbers(0).chunks(10).unwrap();
        assert!(parts.is_empty() && whole.join().is_empty());
    }
}

#[test]
fn no_parts_and_parts_of_nothing_are_refused() {
    let array = numbers(10);
    assert_eq!(panic_of(|| array.split(0)), "an array cannot be split into 0 parts");
    let array = numbers(10);
    assert_eq!(panic_of(|| array.chunks(0)), "an array cannot be split into parts of 0 elements");
}

each_start_method! {
    only [forkserver ForkServer]
    /// Each is exclusive, so all can be written at once.
    fn parts_are_written_by_threads_at_once() {
        let (mut parts, whole) = numbers(1_003).chunks(100).unwrap();
        thread::scope(|scope| {
            for part in &mut parts {
                scope.spawn(|| part.as_mut_slice().iter_mut().for_each(|number| *number += 1));
            }
        });
        drop(parts);
        assert!(whole.join().as_mut_slice().iter().copied().eq(1..=1_003));
    }

    only [forkserver ForkServer]
    /// Their pages are mapped at once; neither more nor less is theirs for that.
    fn large_parts_that_begin_and_end_within_a_page() {
        let (mut parts, whole) = numbers(1_000_001).split(3).unwrap();
        assert!(hold_their_numbers(&mut parts));
        parts[1].as_mut_slice().fill(0);
        drop(parts);
        let mut whole = whole.join();
        let middle = 333_334..666_668;
        let expected = |index| if middle.contains(&index) { 0 } else { index as u32 };
        assert!(whole.as_mut_slice().iter().enumerate().all(|(n, value)| *value == expected(n)));
    }

    only [forkserver ForkServer]
    fn parts_of_parts_are_parts_of_the_whole() {
        let (mut parts, whole) = numbers(100).split(2).unwrap();
        let (inner, second) = parts.pop().unwrap().chunks(20).unwrap();
        assert_eq!(ranges(&inner), [50..70, 70..90, 90..100]);
        let mut all = parts;
        all.extend(inner);
        assert!(hold_their_numbers(&mut all));

        // The inner parts are parts of the whole, whatever becomes of the part that they are parts of.
        let whole = whole.join_timeout(Duration::ZERO).unwrap_err();
        drop(all.drain(..3));
        let second = second.join_timeout(Duration::ZERO).unwrap_err();
        drop(all);
        let mut second = second.join();
        assert_eq!(second.range(), 50..100);
        second.as_mut_slice().fill(7);
        let whole = whole.join_timeout(Duration::ZERO).unwrap_err();
        drop(second);
        let mut whole = whole.join();
        assert_eq!((whole.as_mut_slice()[49], whole.as_mut_slice()[50]), (49, 7));

        // As deep as one likes.
        let mut splits = Vec::new();
        let mut innermost = whole;
        for _ in 0..20 {
            let (mut halves, split) = innermost.split(2).unwrap();
            splits.push(split);
            innermost = halves.swap_remove(0);
        }
        assert_eq!(innermost.range(), 0..1);
        for split in splits.into_iter().rev() {
            drop(innermost);
            innermost = split.join();
        }
        assert_eq!(innermost.range(), 0..100);
    }

    only [forkserver ForkServer]
    fn who_splits_and_drops_the_split_leaves_the_parts_alive() {
        let (mut parts, _) = numbers(10).split(2).unwrap();
        assert!(hold_their_numbers(&mut parts));
        let (mut outer, whole) = numbers(10).split(2).unwrap();
        drop(outer.pop());
        let (mut inner, _) = outer.pop().unwrap().split(2).unwrap();
        let whole = whole.join_timeout(Duration::ZERO).unwrap_err();
        assert!(hold_their_numbers(&mut inner));
        drop(inner);
        assert_eq!(whole.join().len(), 10);
    }
}

#[test]
fn it_shows_its_range_and_where_it_was_made() {
    let (parts, whole) = numbers(10).split(2).unwrap();
    for text in [format!("{:?}", parts[1]), format!("{whole:?}")] {
        assert!(text.contains("shared_mut.rs:") && text.contains("range: "), "{text}");
    }
    assert!(format!("{:?}", parts[1]).contains("range: 5..10"));
}
