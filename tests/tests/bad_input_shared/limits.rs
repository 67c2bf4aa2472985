//! At the limits that the system sets.

use std::fs;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offspring::pipe::{RecvError, SendError};
use offspring::shm::{Shared, SharedMut, SharedSlice};
use offspring::sync::{Barrier, Event, Mutex, ReleaseError, RwLock, Semaphore};
use offspring::{Error, Receiver, pipe, process};
use tests::each_start_method;

use super::{leaves_nothing, no_room};

/// Runs `code` with another limit, which then is what it was.
fn limited<R>(resource: Resource, limit: u64, code: impl FnOnce() -> R) -> R {
    let (soft, hard) = getrlimit(resource).unwrap();
    setrlimit(resource, limit.min(hard), hard).unwrap();
    let result = code();
    setrlimit(resource, soft, hard).unwrap();
    result
}

/// As [`limited`], with room for so many more descriptors.
fn with_room<R>(room: u64, code: impl FnOnce() -> R) -> R {
    let highest = tests::descriptors().last().map_or(0, |(number, _)| *number);
    let mut fillers = Vec::new();
    loop {
        let filler = File::open("/dev/null").unwrap();
        if filler.as_raw_fd() > highest {
            break;
        }
        fillers.push(filler);
    }
    limited(Resource::RLIMIT_NOFILE, highest as u64 + 1 + room, code)
}

/// `SIGXFSZ` would end the process.
fn limit_of_file_sizes(limit: u64) {
    leaves_nothing(|| {
        let values = [7u64; 1000];
        let results: Vec<(&str, Result<(), Error>)> =
            limited(Resource::RLIMIT_FSIZE, limit, || {
                vec![
                    ("Mutex", Mutex::from_slice(&values).map(drop)),
                    ("RwLock", RwLock::from_slice(&values).map(drop)),
                    ("Shared", Shared::from_fn(1000, |_| AtomicU64::new(1)).map(drop)),
                    ("SharedMut", SharedMut::from_slice(&values).map(drop)),
                    ("Semaphore", Semaphore::new(1000).map(drop)),
                    ("Barrier", Barrier::new(1000).map(drop)),
                    ("SharedSlice", SharedSlice::from_slice(&values).map(drop)),
                    (
                        "SharedSlice of an iterator",
                        SharedSlice::try_from_iter(0..1000u64).map(drop),
                    ),
                ]
            });
        for (name, result) in results {
            match result {
                Err(ref error @ Error::SharedMemory { len, .. }) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EFBIG), "{name}: {error}");
                    assert!(
                        error.to_string().contains("ulimit -f") && len >= 8000,
                        "{name}: {error}"
                    );
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    });
}

/// Ones that hold next to nothing, so that no look at what they hold tells that they do not fit.
fn limit_below_any_file(limit: u64) {
    leaves_nothing(|| {
        let results = limited(Resource::RLIMIT_FSIZE, limit, || {
            [
                Mutex::new(1u64).map(drop),
                Event::new().map(drop),
                Shared::new(AtomicU64::new(1)).map(drop),
                SharedMut::<u64>::zeroed(0).map(drop),
                SharedSlice::<u64>::from_slice(&[]).map(drop),
                SharedSlice::from_slice(&[1u8]).map(drop),
                SharedSlice::try_from_iter(std::iter::empty::<u64>()).map(drop),
            ]
        });
        for (index, result) in results.into_iter().enumerate() {
            match result {
                Err(error @ Error::SharedMemory { .. }) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EFBIG), "{index}: {error}");
                }
                other => panic!("{index}: {other:?}"),
            }
        }
        assert_eq!(*Mutex::new(1u64).unwrap().lock().unwrap(), 1);
    });
}

/// Raises its own limit only after it has been told that there is too little room.
#[process]
fn receive_with_little_memory(from: Receiver<Mutex<[u64]>>) -> (String, u64, usize) {
    assert_eq!(from.recv().unwrap().lock().unwrap()[0], 1); // all that is loaded lazily, is
    let open = tests::descriptors().len();
    let refused = limited(Resource::RLIMIT_AS, in_use() + (1 << 20), || from.recv());
    let told = match refused {
        Err(RecvError::Decode(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let more = tests::descriptors().len() - open;
    let first = from.recv().unwrap().lock().unwrap()[0];
    (told, first, more)
}

/// The address space of this process.
fn in_use() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 4096
}

each_start_method! {
    only [forkserver ForkServer]
    fn a_limit_of_file_sizes_is_no_signal() {
        limit_of_file_sizes(4096);
        limit_of_file_sizes(0);
        limit_of_file_sizes(300);
    }

    only [forkserver ForkServer]
    fn a_limit_of_no_file_size_at_all_is_no_signal() {
        limit_below_any_file(0);
    }

    only [forkserver ForkServer]
    fn a_limit_of_file_sizes_within_a_header_is_no_signal() {
        limit_below_any_file(100);
        limit_below_any_file(191);
    }

    only [forkserver ForkServer]
    fn a_semaphore_that_cannot_grow_says_so() {
        leaves_nothing(|| {
            let semaphore = Semaphore::new(1).unwrap();
            match limited(Resource::RLIMIT_FSIZE, 8192, || semaphore.release(1000)) {
                Err(ref error @ ReleaseError::NoRoom { wanted, released, ref source, .. }) => {
                    assert_eq!(wanted, 1000);
                    assert!(released < 128 && released > 0, "{released}");
                    assert_eq!(source.raw_os_error(), Some(libc::EFBIG), "{source}");
                    assert!(error.to_string().contains("could not make"), "{error}");
                    assert_eq!(semaphore.available(), 1 + released);
                }
                other => panic!("{other:?}"),
            }
            let before = semaphore.available();
            semaphore.release(1000).unwrap();
            assert_eq!(semaphore.available(), before + 1000);
        });
    }

    only [forkserver ForkServer]
    fn a_limit_of_address_space_is_an_error() {
        leaves_nothing(|| {
            const LEN: usize = 4 << 20;
            let results = limited(Resource::RLIMIT_AS, in_use() + (1 << 20), || {
                [
                    Mutex::<[u64]>::zeroed(LEN).map(drop),
                    RwLock::<[u64]>::zeroed(LEN).map(drop),
                    SharedMut::<u64>::zeroed(LEN).map(drop),
                    Shared::<[u64]>::zeroed(LEN).map(drop),
                ]
            });
            results.into_iter().for_each(|result| no_room(result, LEN * 8, libc::ENOMEM));
            // It keeps room for more permits than it has.
            let semaphore = limited(Resource::RLIMIT_AS, in_use() + (1 << 20), || Semaphore::new(1));
            no_room(semaphore, 64, libc::ENOMEM);
            assert_eq!(Mutex::<[u64]>::zeroed(LEN).unwrap().lock().unwrap().len(), LEN);
        });
    }

    fn what_is_received_without_address_space_is_refused_and_the_next_comes() {
        let (tx, rx) = pipe()?;
        let child = receive_with_little_memory(rx).spawn()?;
        for first in 1..=3 {
            let mutex = Mutex::<[u64]>::zeroed(4 << 20)?;
            mutex.lock().unwrap()[0] = first;
            tx.send(mutex)?;
        }
        let (told, first, more) = child.join()?;
        assert!(told.contains("what came is no Mutex: it could not be mapped"), "{told}");
        assert_eq!((first, more), (3, 0));
    }

    only [forkserver ForkServer]
    fn without_descriptors_nothing_is_made_sent_or_lost() {
        fn out_of_files<T>(result: Result<T, Error>) {
            match result {
                Err(error @ Error::Os { .. }) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
                    assert!(error.to_string().contains("make shared memory"), "{error}");
                }
                Err(other) => panic!("{other:?}"),
                Ok(_) => panic!("there was a descriptor"),
            }
        }
        leaves_nothing(|| {
            out_of_files(with_room(0, || Mutex::new(1u64)));
            out_of_files(with_room(0, || Semaphore::new(1)));
            out_of_files(with_room(0, || Shared::new(AtomicU64::new(1))));
            out_of_files(with_room(0, || SharedSlice::from_slice(&[1])));
            out_of_files(with_room(0, || SharedMut::from_slice(&[1])));

            let mutex = with_room(1, || Mutex::new(1u64)).unwrap();
            let (tx, rx) = pipe::<Mutex<u64>>().unwrap();
            match with_room(0, || tx.send(mutex.clone())) {
                Err(SendError::Encode(back, error)) => {
                    let text = error.to_string();
                    assert!(text.contains("no descriptor for a copy of a Mutex"), "{text}");
                    *back.lock().unwrap() += 1;
                }
                other => panic!("{other:?}"),
            }
            tx.send(mutex.clone()).unwrap();
            assert!(matches!(with_room(0, || rx.recv()), Err(RecvError::DescriptorsLost)));
            tx.send(mutex.clone()).unwrap();
            assert_eq!(*rx.recv().unwrap().lock().unwrap(), 2);
            assert_eq!(*mutex.lock().unwrap(), 2);
        });
    }

    only [forkserver ForkServer]
    fn an_array_that_cannot_be_split_or_sent_comes_back() {
        leaves_nothing(|| {
            let mut array = SharedMut::try_from_iter(0..10u64).unwrap();
            for room in 0..2 {
                let error = match with_room(room, || array.split(2)) {
                    Err(error) => error,
                    Ok(_) => panic!("a split needs two descriptors"),
                };
                let text = error.to_string();
                assert!(text.contains("could not be split") && text.contains("make a pipe"), "{text}");
                array = error.into_inner();
                assert!(array.as_mut_slice().iter().copied().eq(0..10));
            }
            let (tx, rx) = pipe().unwrap();
            #[allow(clippy::result_large_err)] // the array is in it
            let refused = with_room(0, || tx.send(array));
            array = match refused {
                Err(SendError::Encode(array, error)) => {
                    assert!(error.to_string().contains("no descriptor"), "{error}");
                    array
                }
                other => panic!("{other:?}"),
            };
            assert!(array.as_mut_slice().iter().copied().eq(0..10), "it is here still");
            tx.send(array).unwrap();
            let array: SharedMut<u64> = rx.recv().unwrap();
            let Ok((parts, split)) = with_room(2, || array.split(2)) else { panic!("no room") };
            drop(parts);
            assert!(split.join().as_mut_slice().iter().copied().eq(0..10));
        });
    }
}
