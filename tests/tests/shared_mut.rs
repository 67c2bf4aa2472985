//! Arrays that are written in place, without a lock, in parts that go from process to process:
//! what the docs of [`SharedMut`] and [`Split`] promise. Python has no such thing.

use std::error::Error as StdError;
use std::fs;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offspring::shm::{SharedMut, SharedSlice, Split, SplitError};
use offspring::{
    Builder, Error, Fd, JoinError, Receiver, RecvError, SendError, SendTimeoutError, Sender,
    TrySendError, pipe, process,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::{Holdings, each_start_method};

type Array = SharedMut<u32>;

/// The numbers from 0.
fn numbers(len: u32) -> Array {
    SharedMut::from_iter(0..len).unwrap()
}

fn ranges(parts: &[Array]) -> Vec<Range<usize>> {
    parts.iter().map(SharedMut::range).collect()
}

/// Whether each part holds the numbers of its range.
fn hold_their_numbers(parts: &mut [Array]) -> bool {
    parts.iter_mut().all(|part| {
        let range = part.range();
        part.len() == range.len() && part.as_mut_slice().iter().map(|n| *n as usize).eq(range)
    })
}

/// The text of the panic that `code` ends in.
fn panic_of<R>(code: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(code)).err().expect("a panic");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => (*other.downcast::<&str>().expect("a text")).to_owned(),
    }
}

const SENT: &str = "this part of an array was sent to another process";
const COPIED: &str = "this part of an array belongs to the process that this one is a copy of";

// -- Parts.

each_start_method! {
    only [forkserver Forkserver]
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

    only [forkserver Forkserver]
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

    only [forkserver Forkserver]
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
    only [forkserver Forkserver]
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

    only [forkserver Forkserver]
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

    only [forkserver Forkserver]
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

    only [forkserver Forkserver]
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

// -- In other processes.

#[process]
fn add(mut part: Array, what: u32) {
    part.as_mut_slice().iter_mut().for_each(|number| *number += what);
}

#[process]
fn add_and_return(mut part: Array, what: u32) -> Array {
    part.as_mut_slice().iter_mut().for_each(|number| *number += what);
    part
}

/// Splits what it has among children of its own, and returns what it has then.
#[process]
fn have_added(part: Array, what: u32, children: usize) -> Array {
    let (parts, whole) = part.split(children).unwrap();
    let children: Vec<_> = parts.into_iter().map(|part| add(part, what).spawn().unwrap()).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    whole.join()
}

/// Works on all that comes, and sends it back.
#[process]
fn serve(parts: Receiver<Array>, back: Sender<Array>) {
    for mut part in &parts {
        part.as_mut_slice().iter_mut().for_each(|number| *number += 1);
        back.send(part).unwrap();
    }
}

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

/// Has it until the case lets go, or fails.
#[process]
fn hold(part: Array, started: Sender<()>, until: Receiver<()>) {
    started.send(()).unwrap();
    let _ = until.recv();
    drop(part);
    thread::park(); // this process is not what is waited for
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

/// What this process has of shared memory: descriptors, mappings.
fn counts() -> (usize, usize) {
    let open = tests::descriptors();
    let open = open.iter().filter(|(_, to)| to.contains("memfd:offspring-shared")).count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    (open, maps.lines().filter(|line| line.contains("memfd:offspring-shared")).count())
}

#[process]
fn count_mappings(mut parts: Vec<Array>) -> (usize, usize) {
    parts.iter_mut().for_each(|part| part.as_mut_slice()[0] += 1);
    counts()
}

#[process]
fn count_own_mappings() -> usize {
    counts().1
}

#[process]
fn count_mappings_of_all(parts: Receiver<Array>) -> (usize, usize) {
    let mut parts: Vec<_> = parts.iter().collect();
    assert_eq!(parts.len(), 1_000);
    parts.iter_mut().for_each(|part| part.as_mut_slice()[0] += 1);
    counts()
}

// -- Waiting for the parts.

fn is_readable(split: &Split<u32>) -> bool {
    let mut fds = [PollFd::new(split.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
}

each_start_method! {
    fn join_waits_for_a_part_wherever_it_is() {
        let (started, has_started) = pipe()?;
        let (let_go, until) = pipe()?;
        let (mut parts, whole) = numbers(10).split(3)?;
        let child = hold(parts.pop().expect("three"), started, until).spawn()?;
        has_started.recv()?;
        let (tx, rx) = pipe()?;
        tx.send(parts.pop().expect("two"))?;

        // In a child, in a message, here.
        let whole = whole.join_timeout(Duration::from_millis(1)).unwrap_err();
        drop(let_go);
        let sources = [parts.pop().expect("one"), rx.recv()?];
        let whole = sources.into_iter().fold(whole, |whole, part| {
            let whole = whole.join_timeout(Duration::from_millis(1)).unwrap_err();
            drop(part);
            whole
        });
        assert!(hold_their_numbers(&mut [whole.join()]));
        assert!(child.is_alive()); // but has it no more
        child.kill()?;
    }

    /// What is returned to nobody is a part until its child is reaped.
    fn a_result_that_nobody_asks_for_goes_with_its_child() {
        let (parts, whole) = numbers(10).split(2)?;
        for part in parts {
            let child = add_and_return(part, 1).spawn()?;
            child.wait()?;
        }
        assert!(offspring::active_children().is_empty());
        assert!(whole.join().as_mut_slice().iter().copied().eq(1..=10));
    }

    /// What nobody receives any more, nobody has.
    fn join_does_not_wait_for_a_message_that_nobody_can_receive() {
        let (tx, rx) = pipe()?;
        let (parts, whole) = numbers(10).split(3)?;
        for part in parts {
            tx.send(part)?;
        }
        assert!(rx.recv()?.len() == 4);
        let whole = whole.join_timeout(Duration::ZERO).unwrap_err();
        drop(rx);
        assert!(hold_their_numbers(&mut [whole.join()]));
    }

    only [forkserver Forkserver]
    fn join_timeout_waits_no_shorter_than_it_is_told_and_gives_it_back() {
        let (parts, mut whole) = numbers(10).split(1)?;
        for millis in [0, 1, 30] {
            let timeout = Duration::from_millis(millis);
            let start = Instant::now();
            whole = whole.join_timeout(timeout).unwrap_err();
            assert!(start.elapsed() >= timeout);
        }
        drop(parts);
        // Longer than anything.
        assert!(hold_their_numbers(&mut [whole.join_timeout(Duration::MAX).unwrap()]));
    }

    fn a_split_is_readable_when_it_is_free() {
        let (started, has_started) = pipe()?;
        let (let_go, until) = pipe()?;
        let (mut parts, whole) = numbers(10).split(2)?;
        let child = hold(parts.pop().expect("two"), started, until).spawn()?;
        has_started.recv()?;
        assert!(!is_readable(&whole));
        drop(parts);
        assert!(!is_readable(&whole));
        assert_eq!(offspring::wait(&[&whole, &child], Duration::ZERO)?, []);
        drop(let_go);
        assert_eq!(offspring::wait(&[&child, &whole], None)?, [1]);
        assert!(is_readable(&whole));
        assert_eq!(whole.join().len(), 10);
        child.kill()?;
    }
}

// -- kill -9.

/// Counts each number up, one after the other, again and again.
#[process]
fn count_up(mut part: Array, started: Sender<()>) {
    for round in 0u32.. {
        for number in part.as_mut_slice() {
            *number += 1;
        }
        if round == 10 {
            started.send(()).unwrap();
        }
    }
}

/// Passes its part on to one who is not its child.
#[process]
fn pass_on(mut part: Array, to: Sender<Array>) {
    part.as_mut_slice().fill(77);
    to.send(part).unwrap();
    thread::park();
}

each_start_method! {
    fn a_part_of_a_killed_process_is_free_at_once_with_what_it_has_written() {
        let (started, has_started) = pipe()?;
        let (parts, whole) = SharedMut::<u32>::zeroed(2_000)?.split(2)?;
        let children: Vec<_> = parts
            .into_iter()
            .map(|part| count_up(part, started.clone()).spawn())
            .collect::<Result<_, _>>()?;
        has_started.recv()?;
        has_started.recv()?;
        let mut whole = whole;
        for child in &children {
            whole = whole.join_timeout(Duration::ZERO).unwrap_err();
            child.kill()?;
        }
        let mut whole = whole.join();
        for part in whole.as_mut_slice().chunks(1_000) {
            let (first, last) = (part[0], part[999]);
            assert!(last > 10 && (first == last || first == last + 1), "{first} {last}");
            assert!(part.is_sorted_by(|one, next| one >= next));
        }
        for child in children {
            match child.join() {
                Err(JoinError::Exited(exit)) => assert_eq!(exit.signal(), Some(libc::SIGKILL)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn a_part_that_a_killed_process_has_passed_on_is_not_free() {
        let (to, from) = pipe()?;
        let (mut parts, whole) = numbers(10).split(2)?;
        let child = pass_on(parts.pop().expect("two"), to).spawn()?;
        drop(parts);
        let mut part = from.recv()?;
        child.kill()?;
        child.wait()?;
        let whole = whole.join_timeout(Duration::ZERO).unwrap_err();
        assert_eq!(*part.as_mut_slice(), [77; 5]);
        drop(part);
        assert_eq!(*whole.join().as_mut_slice(), [0, 1, 2, 3, 4, 77, 77, 77, 77, 77]);
    }

    /// As if it were dropped at any other point: in a message, in the hands of a child's child.
    fn parts_of_processes_that_are_killed_at_any_moment_come_back() {
        let rounds = if tests::long() { 1_000 } else { 30 };
        for round in 0..rounds {
            let ((tx, rx), (back, returned)) = (pipe()?, pipe()?);
            let (mut parts, whole) = numbers(1_000).chunks(100)?;
            let children = [
                serve(rx.clone(), back.clone()).spawn()?,
                serve(rx, back.clone()).spawn()?,
                pass_on(parts.pop().expect("ten"), back).spawn()?,
            ];
            let deep = have_added(parts.pop().expect("nine"), 1, 2).spawn()?;
            for part in parts {
                tx.send(part)?;
            }
            for _ in 0..round % 8 {
                drop(returned.recv()?);
            }
            for child in &children {
                child.kill()?;
            }
            deep.kill()?;
            drop(deep.join()); // it may have returned its part before
            drop((tx, returned));
            let mut whole = whole.join();
            let untouched_or_changed =
                |(n, value): (u32, &u32)| *value == n || *value == n + 1 || *value == 77;
            assert!((0..).zip(whole.as_mut_slice()).all(|(n, v)| untouched_or_changed((n, v))));
        }
    }
}

// -- Sending that fails.

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

/// Two owners of one part, which safe code can have: one is serialised, the other stays.
#[derive(Debug, Clone)]
struct Kept(Arc<Array>);

impl Kept {
    fn new(part: Array) -> Self {
        Self(Arc::new(part))
    }

    /// The part, to be used, when all other owners are gone.
    fn values(&mut self) -> &mut [u32] {
        Arc::get_mut(&mut self.0).expect("the only one").as_mut_slice()
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Array::deserialize(deserializer).map(Self::new)
    }
}

#[process]
fn take(part: Array) -> usize {
    part.len()
}

#[process]
fn take_kept(kept: Kept) -> usize {
    kept.0.len()
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

#[process]
fn take_both(one: Kept, other: Kept) -> usize {
    one.0.len() + other.0.len()
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

/// It can be used, sent, and joined, as if nothing had been.
fn is_as_before(mut part: Array, whole: Split<u32>) -> Result<(), Box<dyn StdError>> {
    assert!(hold_their_numbers(std::slice::from_mut(&mut part)));
    let part = add_and_return(part, 0).spawn()?.join()?;
    let whole = whole.join_timeout(Duration::ZERO).unwrap_err();
    drop(part);
    assert!(hold_their_numbers(&mut [whole.join()]));
    Ok(())
}

/// A part, and what to join it to.
fn part() -> (Array, Split<u32>) {
    let (mut parts, whole) = numbers(10).split(2).unwrap();
    (parts.pop().unwrap(), whole)
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
    only [forkserver Forkserver]
    fn a_split_without_descriptors_gives_the_array_back() {
        let mut array = numbers(10);
        for room in 0..2 {
            let error: SplitError<u32> = with_room(room, || array.split(2)).unwrap_err();
            let reason = error.source().expect("the system's").to_string();
            assert!(reason.contains("make a pipe for the parts of an array"), "{reason}");
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

// -- What was sent is not here any more.

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

    only [forkserver Forkserver]
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

    only [forkserver Forkserver]
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

// -- Frozen.

/// Sends what it gets back, and keeps what is left of it, mapped, until it is let go.
#[process]
fn give_back_and_keep(kept: Kept, back: Sender<Kept>, until: Receiver<()>) {
    back.send(kept.clone()).unwrap();
    let _ = until.recv();
    drop(kept);
}

#[process]
fn sum(numbers: SharedSlice<u32>) -> u32 {
    numbers.iter().sum()
}

/// A copy that lives until the case lets go of it, or fails.
#[process]
fn parked(until: Receiver<()>) {
    let _ = until.recv();
}

const PART: &str = "a part of an array cannot be made read-only";
const IN_USE: &str = "some process still has the array mapped";

each_start_method! {
    fn a_whole_is_frozen_without_a_copy_and_read_by_children() {
        let (parts, whole) = numbers(1_000).split(4)?;
        for part in parts {
            add(part, 1).spawn()?.join()?;
        }
        let memory = counts();
        let frozen = whole.join().freeze()?;
        assert_eq!(counts(), memory);
        assert!(frozen.iter().copied().eq(1..=1_000));
        assert_eq!(sum(frozen.clone()).spawn()?.join()?, 500_500);
        drop(frozen);
        assert_eq!(counts(), (0, 0));
    }

    fn a_part_is_not_frozen_and_comes_back() {
        // A part is one even if it has all of the values.
        for n in [1, 3] {
            let (mut parts, whole) = numbers(9).split(n)?;
            let error = parts.pop().expect("some").freeze().unwrap_err();
            assert!(error.to_string().starts_with(PART), "{error}");
            let mut part = error.into_inner().expect("it comes back");
            assert!(hold_their_numbers(std::slice::from_mut(&mut part)));
            let part = add_and_return(part, 0).spawn()?.join()?;
            drop((part, parts));
            assert_eq!(whole.join().freeze()?.len(), 9);
        }
        // And if there is nothing more to join it to.
        let (mut parts, _) = numbers(9).split(1)?;
        let error = parts.remove(0).freeze().unwrap_err();
        assert!(error.to_string().starts_with(PART), "{error}");
        assert_eq!(error.into_inner().expect("it comes back").len(), 9);
        // So is one that was a part before it was split again.
        let (mut parts, whole) = numbers(9).split(1)?;
        let (inner, split) = parts.remove(0).split(2)?;
        drop(inner);
        let part = split.join().freeze().unwrap_err().into_inner().expect("it comes back");
        let whole = whole.join_timeout(Duration::ZERO).unwrap_err();
        drop(part);
        assert_eq!(whole.join().freeze()?.len(), 9);
    }

    fn an_array_that_another_process_has_mapped_is_not_frozen_and_comes_back() {
        let (back, returned) = pipe()?;
        let (let_go, until) = pipe()?;
        let child = give_back_and_keep(Kept::new(numbers(10)), back, until).spawn()?;
        let mut array = Arc::into_inner(returned.recv()?.0).expect("the only one");
        for _ in 0..3 {
            let error = array.freeze().unwrap_err();
            assert!(error.to_string().contains(IN_USE), "{error}");
            array = error.into_inner().expect("it comes back");
            array.as_mut_slice()[0] += 1;
            // Nothing is lost of it: others know it for what it is.
            array = add_and_return(array, 0).spawn()?.join()?;
        }
        drop(let_go);
        child.join()?;
        let frozen = array.freeze()?;
        assert_eq!(frozen[..], [3, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(sum(frozen).spawn()?.join()?, 48);
    }

    only [fork Fork]
    /// A copy of this process has all that this one has, but this.
    fn a_copy_of_this_process_has_no_array_of_its_own() {
        let array = numbers(10);
        let (let_go, until) = pipe()?;
        let child = parked(until).spawn()?;
        assert_eq!(array.freeze()?.len(), 10);
        drop(let_go);
        child.join()?;
    }

    only [fork Fork]
    /// Nor has it one that could not be frozen.
    fn a_copy_of_this_process_has_no_array_that_was_not_frozen() {
        let (back, returned) = pipe()?;
        let (let_go, until) = pipe()?;
        let child = give_back_and_keep(Kept::new(numbers(10)), back, until).spawn()?;
        let array = Arc::into_inner(returned.recv()?.0).expect("the only one");
        assert_eq!(count_own_mappings().spawn()?.join()?, 0);
        let _array = array.freeze().unwrap_err().into_inner().expect("it comes back");
        assert_eq!(counts(), (1, 1));
        assert_eq!(count_own_mappings().spawn()?.join()?, 0);
        drop(let_go);
        child.join()?;
    }

    only [forkserver Forkserver]
    /// A handle that was sent away, and came back by another, still has it mapped here.
    fn an_array_that_has_two_handles_here_is_not_frozen() {
        let (tx, rx) = pipe()?;
        let kept = Kept::new(numbers(10));
        tx.send(kept.clone())?;
        let arrived = Arc::into_inner(rx.recv()?.0).expect("the only one");
        let arrived = arrived.freeze().unwrap_err().into_inner().expect("it comes back");
        drop(kept);
        assert_eq!(arrived.freeze()?.len(), 10);
    }

    only [forkserver Forkserver]
    fn a_frozen_array_stays_what_it_is_when_all_else_is_gone() {
        let frozen = numbers(0).freeze()?;
        assert!(frozen.is_empty());
        let frozen = SharedMut::<u64>::zeroed(100_000)?.freeze()?;
        let (tx, rx) = pipe()?;
        tx.send(frozen)?;
        assert!(rx.recv()?.iter().all(|number| *number == 0));
    }
}

// -- In a copy of its process.

static INHERITED: Mutex<Option<(Array, Option<Split<u32>>)>> = Mutex::new(None);

fn with_inherited<R>(code: impl FnOnce(&mut Array, &mut Option<Split<u32>>) -> R) -> R {
    let mut inherited = INHERITED.lock().unwrap_or_else(|error| error.into_inner());
    let (part, whole) = inherited.as_mut().expect("the copy has it");
    code(part, whole)
}

/// What comes of each use of a part that the process that this one is a copy of has.
fn use_inherited() -> Vec<String> {
    let mut outcomes = vec![panic_of(|| with_inherited(|part, _| part.as_mut_slice()[0] = 99))];
    let (tx, _rx) = pipe().unwrap();
    let taken = INHERITED.lock().unwrap_or_else(|error| error.into_inner()).take();
    let (part, whole) = taken.expect("the copy has it");
    match tx.send(part) {
        Err(SendError::Encode(part, error)) => {
            assert!(
                error.to_string().contains("the process that this one is a copy of"),
                "{error}"
            );
            outcomes.push(panic_of(|| part.split(2)));
        }
        other => panic!("{other:?}"),
    }
    outcomes.push(panic_of(|| whole.expect("the copy has it").join()));
    outcomes
}

#[process]
fn use_inherited_in_a_child() -> Vec<String> {
    use_inherited()
}

each_start_method! {
    only [fork Fork]
    fn a_copy_of_the_process_cannot_use_its_parts() {
        let (part, whole) = part();
        *INHERITED.lock().unwrap() = Some((part, Some(whole)));
        assert_eq!(use_inherited_in_a_child().spawn()?.join()?, [COPIED; 3]);
        // Here, nothing has become of it; nor by what the copy has dropped.
        with_inherited(|part, _| assert_eq!(*part.as_mut_slice(), [5, 6, 7, 8, 9]));
        let (part, whole) = INHERITED.lock().unwrap().take().expect("it is here");
        is_as_before(part, whole.expect("it is here"))?;
    }

    only [forkserver Forkserver]
    /// The same, in a copy that is made behind our back.
    fn a_copy_by_a_fork_of_the_programs_cannot_use_its_parts() {
        let (part, whole) = part();
        *INHERITED.lock().unwrap() = Some((part, Some(whole)));
        // SAFETY: this process has one thread. The copy ends here.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let right = catch_unwind(|| use_inherited() == [COPIED; 3]).unwrap_or(false);
            // SAFETY: _exit has no memory effects.
            unsafe { libc::_exit(if right { 0 } else { 1 }) };
        }
        let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None)?;
        assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?}");
        let (part, whole) = INHERITED.lock().unwrap().take().expect("it is here");
        is_as_before(part, whole.expect("it is here"))?;
    }

    only [fork Fork]
    /// It has the lease's descriptor no more: a part that it cannot use, it does not have.
    fn a_copy_of_the_process_does_not_hold_up_the_join() {
        let (part, whole) = part();
        *INHERITED.lock().unwrap() = Some((part, None));
        let (_hold, until) = pipe()?;
        let child = parked(until).spawn()?;
        drop(INHERITED.lock().unwrap().take());
        assert!(hold_their_numbers(&mut [whole.join()]));
        assert!(child.is_alive());
    }

    only [fork Fork]
    /// What is sent to a copy is its own.
    fn a_copy_of_the_process_can_use_what_it_is_sent() {
        let (part, whole) = part();
        let part = add_and_return(part, 10).spawn()?.join()?;
        let part = have_added(part, 10, 2).spawn()?.join()?;
        drop(part);
        assert_eq!(whole.join().as_mut_slice()[4..6], [4, 25]);
    }
}

// -- Nothing is left.

each_start_method! {
    only [forkserver Forkserver]
    fn ten_thousand_made_split_and_dropped_leave_nothing() {
        let (tx, rx) = pipe()?;
        let round = |n: usize| -> Result<(), Box<dyn StdError>> {
            let array = SharedMut::<u32>::zeroed(n % 1_000 + 1)?;
            match n % 4 {
                0 => drop(array),
                1 => drop(array.split(3)?),
                2 => {
                    let (parts, whole) = array.chunks(500)?;
                    for part in parts {
                        tx.send(part)?;
                        drop(rx.recv()?);
                    }
                    drop(whole.join());
                }
                _ => drop(array.freeze()?),
            }
            Ok(())
        };
        (0..100).try_for_each(round)?; // until the pipe has its ring
        let before = Holdings::now();
        (0..10_000).try_for_each(round)?;
        assert_eq!(Holdings::now(), before);
        assert_eq!(counts(), (0, 0));
    }

    fn children_that_are_killed_with_parts_leave_nothing() {
        assert_eq!(take(numbers(1)).spawn()?.join()?, 1);
        let before = Holdings::now().descriptors;
        for _ in 0..50 {
            let (parts, whole) = numbers(1_000).split(2)?;
            let children: Vec<_> =
                parts.into_iter().map(|part| add(part, 1).spawn()).collect::<Result<_, _>>()?;
            children[0].kill()?;
            drop(whole.join());
            children.iter().try_for_each(|child| child.wait().map(drop))?;
        }
        assert_eq!(Holdings::now().descriptors, before);
        assert_eq!(counts(), (0, 0));
    }

    only [forkserver Forkserver]
    /// The descriptor of a `Split` is its own: it does not go with what is sent.
    fn a_split_lends_its_descriptor() {
        let (parts, whole) = numbers(10).split(2).unwrap();
        let copy: OwnedFd = whole.as_fd().try_clone_to_owned().unwrap();
        drop(parts);
        assert_eq!(whole.join().len(), 10);
        // Nobody can write to it, so what is read is its end.
        assert_eq!(nix::unistd::read(&copy, &mut [0; 8]), Ok(0));
        drop(Fd::new(copy));
    }
}
