//! Memory that cannot be had: too much, of no room for it, without a descriptor.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offspring::Error;
use offspring::shm::{SharedMut, SharedSlice};
use offspring::sync::Mutex;
use tests::each_start_method;

use super::{counts, unknown_length, zeros};

/// `test_invalid_shared_memory_cration`: a length cannot be negative, and may be zero.
#[test]
fn test_invalid_shared_memory_creation_of_nothing_is_none() {
    assert!(zeros(0).unwrap().is_empty());
    assert!(SharedSlice::<u32>::from_slice(&[]).unwrap().is_empty());
    assert!(SharedMut::<u32>::zeroed(0).unwrap().is_empty());
    assert!(Mutex::<[u32]>::from_slice(&[]).unwrap().lock().unwrap().is_empty());
}

/// `test_invalid_shared_memory_cration`, of more than there is.
#[test]
fn test_invalid_shared_memory_creation_of_more_than_there_is() {
    let too_large = |result: Result<usize, Error>| match result {
        Err(Error::TooLarge { len, max, .. }) => assert!(len > max, "{len} {max}"),
        other => panic!("{other:?}"),
    };
    too_large(zeros(usize::MAX).map(|memory| memory.len()));
    too_large(SharedMut::<u64>::zeroed(usize::MAX / 8).map(|memory| memory.len()));
    too_large(SharedMut::from_fn(usize::MAX, |_| 1u8).map(|memory| memory.len()));

    let no_room = |result: Result<usize, Error>| match result {
        Err(error @ Error::SharedMemory { len, .. }) => {
            assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "{error}");
            assert!(len >= 1 << 48, "{len}");
        }
        other => panic!("{other:?}"),
    };
    no_room(SharedMut::<u8>::zeroed(1 << 50).map(|memory| memory.len()));
    no_room(zeros(1 << 46).map(|memory| memory.len()));
    no_room(SharedSlice::try_from_iter(std::iter::repeat(1u64)).map(|memory| memory.len()));
}

each_start_method! {
    only [forkserver ForkServer]
    /// Beyond the limit of file sizes, the kernel would end the process by a signal.
    fn a_limit_of_file_sizes_is_an_error_and_no_signal() {
        const LIMIT: usize = 1 << 20;
        let numbers = vec![1u32; LIMIT / 4 + 1];
        let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE)?;
        setrlimit(Resource::RLIMIT_FSIZE, LIMIT as u64, hard)?;
        let refused = |result: Result<usize, Error>| match result {
            Err(error @ Error::SharedMemory { .. }) => {
                assert_eq!(error.raw_os_error(), Some(libc::EFBIG), "{error}");
            }
            other => panic!("{other:?}"),
        };
        refused(SharedSlice::from_slice(&numbers).map(|memory| memory.len()));
        refused(SharedSlice::try_from_iter(numbers.iter().copied()).map(|memory| memory.len()));
        refused(SharedSlice::try_from_iter(unknown_length(300_000)).map(|memory| memory.len()));
        refused(SharedMut::from_slice(&numbers).map(|memory| memory.len()));
        refused(SharedMut::<u8>::zeroed(LIMIT).map(|memory| memory.len()));
        refused(zeros(LIMIT / 4).map(|memory| memory.len()));
        refused(Mutex::from_slice(&numbers).map(|_| 0));
        assert_eq!(counts(), (0, 0));
        // What fits, fits.
        assert_eq!(SharedSlice::from_slice(&numbers[..LIMIT / 8])?[..], numbers[..LIMIT / 8]);
        assert_eq!(zeros(LIMIT / 8)?.len(), LIMIT / 8);

        setrlimit(Resource::RLIMIT_FSIZE, soft, hard)?;
        assert_eq!(SharedSlice::from_slice(&numbers)?[..], numbers);
    }

    only [forkserver ForkServer]
    /// The error tells how much it was that did not fit, however it was counted.
    fn a_length_that_was_not_known_is_told_when_it_does_not_fit() {
        let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE)?;
        setrlimit(Resource::RLIMIT_FSIZE, 1 << 20, hard)?;
        match SharedSlice::try_from_iter(unknown_length(300_000)) {
            Err(Error::SharedMemory { len, .. }) => assert!(len >= 1 << 20, "{len} bytes"),
            other => panic!("{other:?}"),
        }
    }

    only [forkserver ForkServer]
    fn without_a_descriptor_nothing_is_made_and_nothing_left() {
        let refused = |result: Result<usize, Error>| match result {
            Err(error @ Error::Os { .. }) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
            }
            other => panic!("{other:?}"),
        };
        // Numbers are given out from the lowest, so these fill what gaps there are.
        let open = File::open("/dev/null")?;
        let fillers: Vec<_> = (0..20).map(|_| open.try_clone()).collect::<Result<_, _>>()?;
        let highest = fillers.iter().map(AsRawFd::as_raw_fd).max().expect("some");
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, highest as u64 + 1, hard)?;
        let results = [
            zeros(1).map(|memory| memory.len()),
            SharedSlice::from_slice(&[1]).map(|memory| memory.len()),
            SharedSlice::try_from_iter(0..1).map(|memory| memory.len()),
            SharedMut::<u8>::zeroed(1).map(|memory| memory.len()),
            Mutex::new(1).map(|_| 0),
        ];
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        results.into_iter().for_each(refused);
        assert_eq!(counts(), (0, 0));
        assert_eq!(zeros(1)?.len(), 1);
    }
}
