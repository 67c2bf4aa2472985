//! Nothing at all, far too much, and a permit too many.

use std::fmt::{Debug, Display};
use std::fs;
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::time::{Duration, Instant};

use nix::libc;
use offspring::shm::{Shared, SharedMut, SharedSlice};
use offspring::sync::{Barrier, Mutex, ReleaseError, RwLock, Semaphore, TryAcquireError};
use offspring::{Error, process};
use tests::each_start_method;

use super::{leaves_nothing, no_room};

type Nothings = (Mutex<()>, Shared<[AtomicU8]>, SharedSlice<u64>, Mutex<[u64]>, RwLock<()>);

#[process]
fn use_nothing(nothings: Nothings, mut part: SharedMut<u64>) -> (usize, SharedMut<u64>) {
    let (mutex, shared, slice, locked, rwlock) = nothings;
    let () = *mutex.lock().unwrap();
    let () = *rwlock.write().unwrap();
    let len = shared.len() + slice.len() + locked.lock().unwrap().len();
    (len + part.as_mut_slice().len(), part)
}

each_start_method! {
    fn what_has_no_size_works() {
        let mutex = Mutex::new(())?;
        let shared = Shared::<[AtomicU8]>::from_fn(0, |_| unreachable!())?;
        let slice = SharedSlice::<u64>::from_slice(&[])?;
        let none = SharedSlice::<u64>::try_from_iter(std::iter::empty())?;
        let locked = Mutex::<[u64]>::zeroed(0)?;
        let rwlock = RwLock::new(())?;
        assert_eq!((shared.len(), slice.len(), none.len()), (0, 0, 0));

        let (mut parts, split) = SharedMut::<u64>::zeroed(0)?.split(3)?;
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(SharedMut::is_empty));
        let held = mutex.lock().unwrap();
        assert!(mutex.try_lock().is_err());
        drop(held);

        let part = parts.pop().expect("three");
        let nothings = (mutex.clone(), shared.clone(), slice.clone(), locked.clone(), rwlock);
        let (len, part) = use_nothing(nothings, part).spawn()?.join()?;
        assert_eq!(len, 0);
        let split = split.join_timeout(Duration::ZERO).expect_err("there are parts");
        drop((part, parts));
        let whole = split.join();
        assert!(whole.is_empty());
        let (chunks, split) = whole.chunks(1)?;
        assert!(chunks.is_empty());
        drop(chunks);
        assert!(split.join().freeze()?.is_empty());
    }

    only [forkserver ForkServer]
    fn a_barrier_for_nobody_and_a_semaphore_without_permits_work() {
        leaves_nothing(|| {
            let barrier = Barrier::new(0).unwrap();
            for _ in 0..3 {
                let result = barrier.wait_timeout(Duration::ZERO).unwrap();
                assert!(result.is_leader());
                assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
            }

            let semaphore = Semaphore::new(0).unwrap();
            assert!(matches!(semaphore.try_acquire(), Err(TryAcquireError::WouldBlock)));
            semaphore.release(0).unwrap();
            assert_eq!(semaphore.available(), 0);
            semaphore.release(2).unwrap();
            assert_eq!(semaphore.available(), 2);
            let one = semaphore.acquire().unwrap();
            assert_eq!(semaphore.available(), 1);
            drop(one);
            assert_eq!(semaphore.available(), 2);

            let none = Semaphore::bounded(0).unwrap();
            assert!(matches!(none.try_acquire(), Err(TryAcquireError::WouldBlock)));
            match none.release(1) {
                Err(ReleaseError::Bounded { wanted: 1, released: 0, .. }) => {}
                other => panic!("{other:?}"),
            }
        });
    }
}

fn total_memory() -> usize {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
}

fn too_large<T>(result: Result<T, Error>, wanted: usize, largest: Option<usize>) {
    match result {
        Err(ref error @ Error::TooLarge { len, max, .. }) => {
            assert_eq!(len, wanted, "{error}");
            assert!(max < wanted && largest.is_none_or(|largest| max == largest), "{error}");
            let text = error.to_string();
            assert!(text.contains("too many") && text.contains(&max.to_string()), "{text}");
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{wanted} were made"),
    }
}

each_start_method! {
    only [forkserver ForkServer]
    fn more_than_can_be_counted_is_too_large() {
        leaves_nothing(|| {
            for len in [usize::MAX, usize::MAX / 8] {
                too_large(Mutex::<[u64]>::zeroed(len), len, None);
                too_large(RwLock::<[u64]>::zeroed(len), len, None);
                too_large(Shared::<[AtomicU64]>::from_fn(len, |_| unreachable!()), len, None);
                too_large(SharedMut::<u64>::zeroed(len), len, None);
                too_large(Mutex::<[u64]>::from_fn(len, |_| unreachable!()), len, None);
            }
            too_large(Semaphore::new(65_536), 65_536, Some(65_535));
            too_large(Semaphore::bounded(usize::MAX), usize::MAX, Some(65_535));
            too_large(Barrier::new(9_000), 9_000, Some(8_192));
            too_large(Barrier::new(usize::MAX), usize::MAX, Some(8_192));
            // And the most that can be had, can.
            assert_eq!(Semaphore::new(65_535).unwrap().available(), 65_535);
            assert_eq!(Barrier::new(8_192).unwrap().parties(), 8_192);
        });
    }

    only [forkserver ForkServer]
    fn more_memory_than_there_is_is_refused_at_once() {
        let bytes = 4 * total_memory();
        leaves_nothing(|| {
            let began = Instant::now();
            no_room(Mutex::<[u64]>::zeroed(bytes / 8), bytes, libc::ENOMEM);
            no_room(RwLock::<[u64]>::zeroed(bytes / 8), bytes, libc::ENOMEM);
            let never = |_| unreachable!("before there is room");
            no_room(Shared::<[AtomicU64]>::from_fn(bytes / 8, never), bytes, libc::ENOMEM);
            no_room(SharedMut::<u8>::zeroed(bytes), bytes, libc::ENOMEM);
            let endless = std::iter::repeat_n(1u64, bytes / 8);
            no_room(SharedSlice::try_from_iter(endless), bytes, libc::ENOMEM);
            // To fill this memory takes longer than that.
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        });
    }
}

fn text_of<T: Debug>(result: Result<T, impl Display>) -> String {
    result.map_err(|error| error.to_string()).unwrap_err()
}

each_start_method! {
    only [forkserver ForkServer]
    fn a_permit_too_many_is_refused() {
        leaves_nothing(|| {
            let bounded = Semaphore::bounded(2).unwrap();
            let other = bounded.clone();
            for too_many in [1, 3, usize::MAX] {
                match bounded.release(too_many) {
                    Err(ReleaseError::Bounded { wanted, released: 0, .. }) => assert_eq!(wanted, too_many),
                    other => panic!("{other:?}"),
                }
            }
            assert!(text_of(bounded.release(1)).contains("the semaphore is bounded"));
            // A permit that is held comes back by itself, so it is too many as well.
            let held = bounded.acquire().unwrap();
            assert!(matches!(other.release(1), Err(ReleaseError::Bounded { .. })));
            other.acquire().unwrap().forget();
            assert!(matches!(other.release(2), Err(ReleaseError::Bounded { released: 0, .. })));
            assert_eq!(bounded.available(), 0);
            other.release(1).unwrap();
            drop(held);
            assert_eq!(bounded.available(), 2);

            let full = Semaphore::new(65_534).unwrap();
            match full.release(usize::MAX) {
                Err(ReleaseError::NoRoom { wanted: usize::MAX, released: 1, .. }) => {}
                other => panic!("{other:?}"),
            }
            let text = text_of(full.release(1));
            assert!(text.contains("0 of 1 permits released"), "{text}");
            assert_eq!(full.available(), 65_535);
            drop(full.acquire().unwrap());
        });
    }
}
