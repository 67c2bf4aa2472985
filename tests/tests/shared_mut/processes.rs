//! Parts in other processes, and on their way.

use std::time::Duration;

use offspring::{Receiver, pipe, process};
use serde::{Deserialize, Serialize};
use tests::each_start_method;

use super::{Array, add, add_and_return, counts, have_added, numbers, ranges, serve};

/// All that there is in one value.
#[derive(Debug, Serialize, Deserialize)]
struct Several {
    parts: Vec<Array>,
    another: Option<Box<Array>>,
}

#[process]
fn reverse(several: Several) -> Several {
    let Several { mut parts, another } = several;
    parts.iter_mut().for_each(|part| part.as_mut_slice().reverse());
    Several {
        another: another.map(|mut part| {
            part.as_mut_slice().reverse();
            part
        }),
        parts,
    }
}

each_start_method! {
    fn parts_are_written_by_children_and_the_whole_has_it_all() {
        let (parts, whole) = numbers(1_000).split(7)?;
        let children: Vec<_> =
            parts.into_iter().map(|part| add(part, 5).spawn()).collect::<Result<_, _>>()?;
        children.into_iter().try_for_each(|child| child.join())?;
        assert!(whole.join().as_mut_slice().iter().copied().eq(5..1_005));
    }

    fn more_parts_than_elements_and_one_part() {
        for n in [1, 12] {
            let (parts, whole) = numbers(10).split(n)?;
            let children: Vec<_> =
                parts.into_iter().map(|part| add(part, 5).spawn()).collect::<Result<_, _>>()?;
            children.into_iter().try_for_each(|child| child.join())?;
            assert!(whole.join().as_mut_slice().iter().copied().eq(5..15));
        }
    }

    fn the_whole_goes_to_a_child_and_comes_back() {
        let array = add_and_return(numbers(1_000), 5).spawn()?.join()?;
        let mut array = have_added(array, 10, 3).spawn()?.join()?;
        assert_eq!(array.range(), 0..1_000);
        assert!(array.as_mut_slice().iter().copied().eq(15..1_015));
    }

    fn parts_come_back_as_results_and_are_parts_still() {
        let (mut parts, whole) = numbers(1_000).chunks(400)?;
        let last = add_and_return(parts.pop().expect("three"), 5).spawn()?;
        let middle = have_added(parts.pop().expect("two"), 5, 4).spawn()?;
        let mut back = [middle.join()?, last.join()?];
        assert_eq!(ranges(&back), [400..800, 800..1_000]);
        let whole = whole.join_timeout(Duration::from_millis(1)).unwrap_err();
        back.iter_mut().for_each(|part| part.as_mut_slice()[0] = 0);
        drop((parts, back));
        let mut whole = whole.join();
        let values = whole.as_mut_slice();
        assert_eq!([values[399], values[400], values[401], values[800]], [399, 0, 406, 0]);
    }

    fn parts_go_round_by_pipes() {
        let ((tx, rx), (back, returned)) = (pipe()?, pipe()?);
        let children =
            [serve(rx.clone(), back.clone()).spawn()?, serve(rx, back).spawn()?];
        let (parts, whole) = numbers(1_000).chunks(10)?;
        let mut parts = parts.into_iter();
        // No more at once than the pipes have room for.
        for part in parts.by_ref().take(10) {
            tx.send(part)?;
        }
        for part in parts {
            drop(returned.recv()?);
            tx.send(part)?;
        }
        drop(tx);
        assert_eq!(returned.iter().count(), 10);
        children.into_iter().try_for_each(|child| child.join())?;
        assert!(whole.join().as_mut_slice().iter().copied().eq(1..=1_000));
    }

    fn several_parts_in_one_value() {
        let (mut parts, whole) = numbers(100).chunks(20)?;
        let another = parts.pop().map(Box::new);
        let child = reverse(Several { parts, another }).spawn()?;
        let several = child.join()?;
        assert_eq!(ranges(&several.parts), [0..20, 20..40, 40..60, 60..80]);
        assert_eq!(several.another.as_ref().map(|part| part.range()), Some(80..100));
        drop(several);
        let expected = [20, 40, 60, 80, 100].into_iter().flat_map(|end| (end - 20..end).rev());
        assert!(whole.join().as_mut_slice().iter().copied().eq(expected));
    }

    /// More descriptors than a message of the system's can have.
    fn a_thousand_parts_in_one_value_to_a_process_that_maps_them_once() {
        let (parts, whole) = numbers(1_000).split(1_000)?;
        let child = count_mappings(parts).spawn()?;
        // A fork has the descriptor of what it is a copy of as well, but not the mapping.
        let inherited = usize::from(offspring::start_method() == offspring::StartMethod::Fork);
        assert_eq!(child.join()?, (1 + inherited, 1));
        assert!(whole.join().as_mut_slice().iter().copied().eq(1..=1_000));
    }

    fn a_thousand_parts_one_by_one_to_a_process_that_maps_them_once() {
        let (tx, rx) = pipe()?;
        let child = count_mappings_of_all(rx).spawn()?;
        let (parts, whole) = numbers(1_000).split(1_000)?;
        for part in parts {
            tx.send(part)?;
        }
        drop(tx);
        assert_eq!(child.join()?, (1, 1));
        assert!(whole.join().as_mut_slice().iter().copied().eq(1..=1_000));
    }
}

#[process]
fn count_mappings(mut parts: Vec<Array>) -> (usize, usize) {
    parts.iter_mut().for_each(|part| part.as_mut_slice()[0] += 1);
    counts()
}

#[process]
fn count_mappings_of_all(parts: Receiver<Array>) -> (usize, usize) {
    let mut parts: Vec<_> = parts.iter().collect();
    assert_eq!(parts.len(), 1_000);
    parts.iter_mut().for_each(|part| part.as_mut_slice()[0] += 1);
    counts()
}
